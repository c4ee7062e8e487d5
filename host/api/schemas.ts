import * as z from "zod";
import { relayStatus, remoteConfigStatus } from "./relay-schemas.ts";
import { requestSchemas } from "./request-schemas.ts";

/** The forms of all bodies, in one place: types, the OpenAPI document and the tests come from here. */

const time = z
  .string()
  .meta({ format: "date-time", description: "ISO 8601 in UTC, with milliseconds or microseconds" });
const count = z.int().nonnegative();
const fieldType = z.enum(["bool", "int", "float", "string"]);
const lineError = z.strictObject({
  line: z.int().describe("from 1; in a JSON array the element's number"),
  path: z.string().describe("the field at fault, a dot path; empty when it is the line as a whole"),
  message: z.string(),
});

const device = z.string().nullable().describe("the value of the stream's key; null: events without one");
const medianOffsetMs = z
  .number()
  .describe(
    "median of event time − arrival over the device's last events (1,000 to 5,000); above 0 its clock is ahead",
  );
const sources = z.strictObject({
  known: count,
  active: count.nullable().describe("not idle; null: one watermark for the stream waits for none"),
  untracked: count.describe("events of devices beyond limits.maxSources"),
});
const watermarkPer = z.enum(["stream", "source", "key"]);

const stream = z.strictObject({
  stream: z.string(),
  schema: z.record(z.string(), fieldType).describe("fields seen or declared; types only ever widen"),
  schemaVersion: count,
  keyField: z
    .string()
    .nullable()
    .describe("the field that names the device; null: none was seen, one constant key"),
  keySource: z.enum(["declared", "found", "constant"]),
  timeField: z.string().describe("where event time is read from, and its name when events are read back"),
  timeSource: z
    .enum(["declared", "found-or-arrival"])
    .describe("found-or-arrival: the first of ts, timestamp, time that an event has, else its arrival"),
  timeFound: z
    .strictObject({ fields: z.array(z.string()), arrival: z.boolean() })
    .describe(
      "the fields that gave events their times so far, and whether any had none and took its arrival",
    ),
  timeUnit: z.enum(["auto", "iso", "s", "ms", "us", "ns"]),
  watermark: time.nullable().describe("no earlier event is expected; null before the first event"),
  maxEventTime: time.nullable(),
  watermarkPer,
  sources,
  skewedDevices: z
    .array(z.strictObject({ device, events: count, medianOffsetMs }))
    .describe("the devices with the most clock-skewed events, 20 at most"),
  lagMs: z.number().nullable().describe("how far the watermark stands behind the clock"),
  rate: z.number().describe("events a second over the last 10 s"),
  accepted: count,
  deadLettered: count,
  late: count,
  clockSkewed: count,
  duplicates: count.describe("batches resent under a known key since the start"),
  blocks: count,
  storedBytes: count,
  priority: z.int().min(0).max(9),
});

/** topk gives a list, histogram its bounds and counts. */
const resultValue = z.union([
  z.number(),
  z.string(),
  z.boolean(),
  z.null(),
  z.array(
    z.strictObject({
      value: z.union([z.number(), z.string(), z.boolean()]),
      count,
      error: count.optional().describe("the count may be that much too great; left out when it is exact"),
    }),
  ),
  z.strictObject({ bounds: z.array(z.number()), counts: z.array(count) }),
]);

const clocks = z.strictObject({
  stream: z.string(),
  watermarkPer,
  watermark: time.nullable(),
  heldBackBy: z
    .strictObject({ device })
    .nullable()
    .describe("the device whose clock the watermark waits for; null: none, or one watermark for the stream"),
  sources,
  devices: z
    .array(
      z.strictObject({
        device,
        medianOffsetMs,
        samples: count.describe(
          "its events that were looked at: all with watermarks per source, else a sample",
        ),
        clockSkewed: count,
        maxEventTime: time.nullable().describe("of those looked at without clock skew; null: there was none"),
        lastSeen: time.nullable().describe("arrival of its last event without clock skew"),
        idle: z.boolean().nullable().describe("null: one watermark for the stream waits for none"),
      }),
    )
    .describe("those furthest ahead first"),
});

const selectItem = z.strictObject({
  name: z.string(),
  fn: z.string(),
  field: z.string().nullable(),
  parameter: z.number().nullable(),
  bounds: z.array(z.number()).optional(),
});

const window = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("tumbling"), sizeUs: z.int(), offsetUs: z.int() }),
  z.strictObject({ kind: z.literal("sliding"), sizeUs: z.int(), everyUs: z.int(), offsetUs: z.int() }),
  z.strictObject({
    kind: z.literal("calendar"),
    timezone: z.string(),
    unit: z.enum(["time", "day", "week", "month"]),
    size: z.int().describe("in units; in µs where they are parts of a day"),
    every: z.int().describe("as size"),
    offsetUs: z.int(),
  }),
  z.strictObject({ kind: z.literal("session"), gapUs: z.int() }),
  z.strictObject({ kind: z.literal("count"), size: z.int() }),
  z.strictObject({ kind: z.literal("none") }),
]);

const queryNames = z.array(z.string());
const namedChange = z.strictObject({ added: queryNames, changed: queryNames, removed: queryNames });
const reloadAnswer = z.strictObject({
  version: count.describe("of the configuration; one more with each change"),
  added: queryNames.describe("queries that are new"),
  changed: queryNames.describe("queries that start anew, since what they compute changed"),
  removed: queryNames.describe("queries that are no more; their results stay"),
  backfilling: queryNames.describe("of those added and changed: first they read stored events"),
  alerts: namedChange.optional().describe("left out when none changed"),
  tables: namedChange.optional().describe("by their declaration or rows; left out when none changed"),
});

const table = z.strictObject({
  table: z.string(),
  key: z.string().describe("the column that names the row"),
  on: z.string().optional().describe("the events' field with that name; left out: the stream's key"),
  file: z.string().optional().describe("left out: rows come with PUT"),
  rows: count,
  columns: z.array(z.strictObject({ name: z.string(), type: z.enum(["bool", "int", "float", "string"]) })),
});
const tablePutAnswer = z.strictObject({
  table: z.string(),
  rows: count,
  version: count.describe("of the configuration from here on"),
});

const query = z.strictObject({
  query: z.string(),
  from: z.string(),
  where: z.string().optional(),
  derive: z.record(z.string(), z.string()).optional(),
  having: z.string().optional(),
  window,
  earlyUs: z.int().optional().describe("how often windows that are still filling give results"),
  latenessUs: z.int().optional().describe("left out: the stream's"),
  by: z.array(z.string()).nullable().describe("null: the stream's key"),
  select: z.union([z.literal("*"), z.array(selectItem)]),
  watermark: time.nullable(),
  openGroups: count,
  keys: count,
  idleKeys: count.describe("keys without an open window that are remembered for their clocks"),
  stateBytes: count,
  results: count.describe("rows since the start"),
  revisions: count,
  backfill: z
    .strictObject({
      state: z.enum(["waiting", "reading", "done", "failed"]),
      from: time
        .nullable()
        .describe("windows that start before it give no results; null: there is none such"),
      blocks: count.describe("read so far"),
      totalBlocks: count,
      events: count,
      unreadable: count.describe("events of blocks that could not be read"),
      reason: z.string().nullable().describe("why it failed"),
    })
    .nullable()
    .describe(
      "how far the query has come with events that were stored before it; null: none since the start",
    ),
});

const alertCounts = z.strictObject({
  alert: z.string(),
  from: z.string().describe("a query or a stream"),
  severity: z.string(),
  pending: count.describe("keys whose condition is true, but not for long enough yet"),
  firing: count.describe("keys"),
  ignoredRevisions: count.describe("revised results too far back to be judged again, since the start"),
});

const buffer = z.strictObject({
  level: z.enum(["normal", "alert", "evict", "downsample", "give-up"]),
  percent: z.int().describe("at which the level begins: 0, 70, 85, 95 or 100"),
  refusing: z.boolean().describe("events are answered 507: nothing more may be given up"),
  usedBytes: count.describe(
    "pages in use, the write-ahead log at its limit or beyond, its index, the reserve",
  ),
  capacityBytes: count.describe("capBytes, or less where the disk has no room for it"),
  capBytes: count.describe("buffer.cap"),
  databaseBytes: count.describe("the file"),
  freeBytes: count.describe("of the file: pages that new data will take"),
  walBytes: count,
  reserveBytes: count.describe("kept so that deleting works on a full disk"),
  fixedBytes: count.describe("the reserve and the log's index"),
  diskFreeBytes: count,
  losses: count.describe("rows of the loss ledger; beyond 10,000 old ones are merged"),
  imbalance: count.describe("accepted events that are in none of the places below; must be 0"),
  streams: z.array(
    z
      .strictObject({
        stream: z.string(),
        accepted: count.describe("the sum of the six that follow"),
        held: count,
        evicted: count.describe("synced and deleted"),
        downsampled: count,
        givenUp: count,
        expired: count,
        corrupt: count,
        late: count,
        clockSkewed: count,
        deadLettered: count,
      })
      .describe("where the stream's events are"),
  ),
});

const deviceAnswer = z.strictObject({
  device: z.string(),
  attributes: z.record(
    z.string(),
    z.strictObject({
      value: z.union([z.string(), z.number(), z.boolean()]),
      at: time.describe("when it was set, by the node's hybrid clock"),
      clock: z.string().describe("that clock's time: ms since the epoch and a counter; the later one holds"),
    }),
  ),
});

const sink = z.strictObject({
  sink: z.string(),
  state: z.enum(["idle", "sending", "waiting", "unreachable", "paused"]),
  breaker: z.enum(["closed", "open", "half-open"]),
  breakerOpened: count.describe("since the start"),
  backlog: z.strictObject({
    alerts: count,
    losses: count,
    attributes: count,
    results: count,
    events: count,
    bytes: count,
    oldest: time.nullable(),
    parked: count.describe("batches that the sink will not have: see /v1/dlq"),
  }),
  underWay: count,
  aside: count.describe("batches that stepped aside after failures"),
  lastError: z.string().nullable(),
  lastErrorAt: time.nullable(),
  lastSuccess: time.nullable(),
  batches: count.describe("delivered since the start"),
  duplicates: count.describe("of them, those that the sink had already"),
  failures: count,
  parked: count.describe("since the start"),
  wireBytes: count,
  rows: z.strictObject({ alerts: count, losses: count, attributes: count, results: count, events: count }),
});

const status = z.strictObject({
  node: z.strictObject({ id: z.string(), startedAt: time, ready: z.boolean() }),
  settled: z
    .boolean()
    .describe("everything acknowledged before is applied; false: windows lag behind, see the log"),
  streams: z.array(stream),
  queries: z.array(query),
  alerts: z.array(alertCounts),
  webhooks: z.strictObject({
    waiting: count,
    delivered: count.describe("since the start"),
    failedAttempts: count,
    setAside: count.describe("given up since the start"),
  }),
  queue: z.strictObject({
    bytes: count,
    requests: count,
    maxBytes: count,
    maxRequests: count,
    rejected: count,
  }),
  state: z.strictObject({
    bytes: count.describe("memory of the windows of all queries"),
    maxBytes: count.describe("limits.maxState"),
    refused: count.describe("requests answered 503 because of it"),
    largest: z.array(
      z.strictObject({ query: z.string(), stateBytes: count, keys: count, openGroups: count }),
    ),
    largestKeys: z
      .strictObject({
        query: z.string(),
        keys: z.array(z.strictObject({ key: z.string().describe("as JSON text"), bytes: count })),
      })
      .nullable()
      .describe("of the first of these, while state takes more than half of its limit"),
  }),
  store: z.strictObject({ databaseBytes: count, walBytes: count, lastSeq: count, commits: count }),
  buffer: buffer.nullable().describe("null: not looked at yet"),
  encryption: z
    .strictObject({
      keyId: z.string().describe("of the master key in force"),
      plainRows: count.describe("stored before there was a key and yet to be sealed"),
      isComplete: z.boolean().describe("all that is stored is sealed, and no free space holds anything"),
    })
    .nullable()
    .describe("null: the data is not encrypted"),
  checkpoint: z.strictObject({
    seq: count,
    ageMs: z.number().nullable(),
    last: z
      .strictObject({
        kind: z
          .enum(["whole", "changes"])
          .describe("all of the state, or what has changed since the one before"),
        bytes: count.describe("as written"),
        pauses: count.describe("times that the window thread was held for it"),
        medianPauseMs: z.number(),
        longestPauseMs: z.number(),
        tookMs: z.number(),
      })
      .nullable(),
  }),
  stageNs: z.record(z.string(), z.number()).describe("nanoseconds spent since the start, by stage"),
  stageEvents: z
    .record(z.string(), count)
    .describe("events that went through each stage since the start; of emit, rows of results"),
  memory: z.strictObject({ rssBytes: count }),
  sync: z
    .strictObject({
      hub: z
        .strictObject({
          identity: z
            .enum(["replayed", "cloned", "re-imaged", "name-shared"])
            .nullable()
            .describe("what the hub noticed of this data directory; null: it is as it was"),
          clockOffsetMs: z.int().nullable().describe("this node's clock less the hub's"),
          refusedAttributes: count.describe("set too far ahead of the hub's clock, or too many"),
        })
        .optional()
        .describe("what the hub said of this node"),
      sinks: z.array(sink),
    })
    .optional()
    .describe("where everything is sent; left out where it is not"),
  relay: relayStatus.optional().describe("what other edges send through this one; left out where none may"),
  remoteConfig: remoteConfigStatus
    .optional()
    .describe("the hub's configuration; left out where it is the node's own"),
});

const lateApplyAnswer = z.strictObject({
  applied: count.describe("late events that are in their windows now and were not marked so before"),
  revisions: count.describe("result rows written: windows whose values changed"),
  waiting: count.describe(
    "events left for later: some of their windows, or of those over their results, are still open",
  ),
  unreadable: count.describe("late events left alone since a block of their windows cannot be read"),
  refused: z
    .array(z.strictObject({ query: z.string(), reason: z.string() }))
    .describe(
      "queries that were left alone; where they could be corrected one day, no event counts as applied",
    ),
  next: count.nullable().describe("where to go on: send it as `after`; null: all are done"),
});

export const schemas = {
  IngestAnswer: z.strictObject({
    accepted: count.describe("events that are durable"),
    deadLettered: count.describe("lines set aside"),
    duplicate: z
      .boolean()
      .describe("the idempotency key was known: nothing was written, the counts are the first's"),
    errors: z.array(lineError).max(10).describe("the first 10"),
  }),
  Problem: z.looseObject({
    type: z.string().describe("urn:millrace:problem:CODE"),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe("what is wrong, where, and what to do"),
    code: z.string(),
    errors: z.array(lineError),
  }),
  ...requestSchemas,
  WatermarkAnswer: z.strictObject({ watermark: time.nullable() }),
  LateApplyAnswer: lateApplyAnswer,
  Stream: stream,
  Clocks: clocks,
  StreamList: z.strictObject({ streams: z.array(stream) }),
  Query: query,
  QueryList: z.strictObject({ queries: z.array(query) }),
  Status: status,
  Event: z.record(z.string(), z.unknown()),
  Result: z.strictObject({
    query: z.string(),
    window: z.strictObject({ start: time, end: time }),
    key: z.record(z.string(), z.unknown()),
    values: z.record(z.string(), resultValue),
    revision: count,
    kind: z.enum(["early", "on-time", "late"]),
    retracted: z
      .literal(true)
      .optional()
      .describe(
        "takes the window back: what it held is in another, or having is not true of it; values is empty",
      ),
  }),
  Alert: z.strictObject({
    alert: z.string(),
    severity: z.string(),
    key: z.record(z.string(), z.unknown()),
    state: z.enum(["pending", "firing", "resolved"]),
    since: time.describe("start of the first window, or time of the first event, of which `when` was true"),
    at: time.describe("end of the window, or time of the event, that led to this state"),
    value: z
      .record(z.string(), z.unknown())
      .describe("the result's values, or the event's fields that were looked at"),
    id: z.string().describe("the same in every step of one alert of one key"),
    revision: count,
    retracted: z.literal(true).optional().describe("revised results say that it never was"),
  }),
  LateEvent: z.strictObject({
    event: z.record(z.string(), z.unknown()),
    reason: z.enum(["late", "clock-skew"]),
    at: time,
    applied: time.optional().describe("when windows were corrected by it"),
  }),
  DeadLetter: z.union([
    z.object({
      stream: z.string(),
      at: time,
      line: z.int(),
      path: z.string(),
      code: z.string(),
      message: z.string(),
      text: z.string().describe("the line itself, cut at the limit"),
    }),
    z.object({
      stream: z.string().nullable(),
      at: time,
      code: z.literal("E_SYNC_REJECTED"),
      message: z.string().describe("why the sink would not have it"),
      sink: z.string(),
      batch: z.int(),
      kind: z.enum(["events", "results", "alerts", "losses", "attributes"]),
      rows: count.describe("events or rows"),
      bytes: count,
    }),
  ]),
  ReplayAnswer: z.strictObject({ batches: count }),
  Loss: z.object({
    stream: z.string().nullable().describe("null: of no stream, as results and alerts are"),
    from: time,
    to: time,
    count: count.describe("of its kind; each event counts in one row alone, so for aggregates it is 0"),
    bytes: count.describe("as stored"),
    reason: z.enum(["downsampled", "given-up", "expired", "corrupt"]),
    at: time,
    kind: z
      .enum(["events", "aggregates", "late", "dead-letters", "results", "alerts"])
      .describe("what was lost; late: copies in the side output, aggregates: of events downsampled before"),
    subject: z.string().optional().describe("the query or alert"),
  }),
  Device: deviceAnswer,
  SetAttributes: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]))
    .describe("attributes by their names; null removes one"),
  AuditRow: z.object({
    edge: z.string(),
    incarnation: z.string().describe("names the data directory"),
    stream: z.string(),
    kind: z.enum(["events", "aggregates"]),
    hour: time.optional().describe("of event time"),
    count: count.optional().describe("events of that hour that the hub has taken"),
    hash: z
      .string()
      .nullable()
      .optional()
      .describe("the sum of their hashes: 32 hexadecimal digits; null: not known, booked by another release"),
    hashVersion: z
      .number()
      .optional()
      .describe("hashes of different versions cannot be compared; without: the first"),
    open: count.optional().describe("in a row of its own: events that the hub may have, or not yet"),
    from: time.optional(),
    to: time.optional(),
  }),
  ReloadAnswer: reloadAnswer,
  TableList: z.strictObject({ tables: z.array(table) }),
  TableRow: z.record(z.string(), z.unknown()).describe("a row's columns"),
  TablePutAnswer: tablePutAnswer,
  Config: z.record(z.string(), z.unknown()).describe("in the form of the configuration file, secrets as ***"),
  Health: z.strictObject({ status: z.literal("ok") }),
  Readiness: z.strictObject({ ready: z.boolean() }),
} as const;

export type SchemaName = keyof typeof schemas;
export type StreamAnswer = z.infer<typeof stream>;
export type ClocksAnswer = z.infer<typeof clocks>;
export type TableAnswer = z.infer<typeof table>;
export type TablePutAnswer = z.infer<typeof tablePutAnswer>;
export type ReloadAnswer = z.infer<typeof reloadAnswer>;
export type DeviceAnswer = z.infer<typeof deviceAnswer>;
export type LateApplyAnswer = z.infer<typeof lateApplyAnswer>;
export type QueryAnswer = z.infer<typeof query>;
export type BufferAnswer = z.infer<typeof buffer>;
export type StatusAnswer = z.infer<typeof status>;
