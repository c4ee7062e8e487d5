import * as z from "zod";
import { isPublicKey } from "./config-signature.ts";
import { DURATION, formatDuration, LONGEST_US, parseDurationUs } from "./durations.ts";
import { encryption } from "./encryption-schema.ts";
import { parseExpression } from "./expression/parse.ts";
import { DURATION_MESSAGE, duration, orRefuse, size } from "./measures.ts";
import { parseWindowLength, WINDOW_LENGTH } from "./pane-window.ts";
import { parseSelect } from "./select.ts";
import { sinksSchema } from "./sink-schema.ts";
import { parseBandwidth, parseTimeOfDayRange } from "./sync-parts.ts";
import { windowProblem } from "./window.ts";

/**
 * The configuration file's form. Unknown keys are refused; durations come out in µs, sizes in bytes. Messages have the
 * form `what is wrong; what to do`. Descriptions are shown by editors.
 */

const MIB = 1024 ** 2;
const DAY_US = 86_400e6;
const NAME = /^[A-Za-z0-9_.-]{1,128}$/;
const LISTEN = /^(\[[0-9a-fA-F:.]+\]|[^:\s]+):(\d{1,5})$/;

const TABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const TABLE_NAME_MESSAGE = "must be 1 to 128 letters, digits or _, and begin with none of the digits";
const NAME_MESSAGE = "must be 1 to 128 letters, digits, _ . or -";
const WINDOW_LENGTH_MESSAGE = "must be a length of time; write it like 10s, 5m, 1h, 7d, 1w or 1mo";
const LISTEN_MESSAGE = "must be HOST:PORT; write it like 127.0.0.1:7070";
const EXPRESSION_MESSAGE = "must be an expression; write it like temp > 90";
const WINDOW_MESSAGE = "must be a kind of window; write it like { tumbling: 5m }, { session: 30s } or none";
const SELECT_MESSAGE = "must be a call; write it like avg(temp)";

const BACKFILL_MESSAGE = "must be a duration or all; write it like 24h";

export { duration, size } from "./measures.ts";

/** Programs that send take these out of an address, and what is left leads elsewhere. */
const STEP = /^\.{1,2}$/;
const STEP_MESSAGE = "must be neither . nor .., which are steps in a path; choose another";

export const name = z
  .string(NAME_MESSAGE)
  .regex(NAME, NAME_MESSAGE)
  .refine((text) => !STEP.test(text), STEP_MESSAGE);
const field = z
  .string("must be a field's name")
  .min(1, "must be a field's name")
  .max(256, "must have 256 characters at most");

export const listen = z
  .string(LISTEN_MESSAGE)
  .regex(LISTEN, LISTEN_MESSAGE)
  .transform(orRefuse(parseListen, LISTEN_MESSAGE));

const SIGNED_DURATION = new RegExp(DURATION.source.replace("^", "^(-?)"));

/** A duration that may go back. */
function signedDuration() {
  const range = `must be from ${formatDuration(-LONGEST_US)} to ${formatDuration(LONGEST_US)}`;
  const parse = (text: string): number | null => {
    const us = parseDurationUs(text.replace("-", ""));
    return us !== null && text.startsWith("-") ? -us : us;
  };
  return z
    .string(DURATION_MESSAGE)
    .regex(SIGNED_DURATION, DURATION_MESSAGE)
    .transform(orRefuse(parse, DURATION_MESSAGE))
    .refine((us) => Math.abs(us) <= LONGEST_US, range);
}

/** Digits in a text count as a number, since that is how environment variables come. */
export function whole(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  const toNumber = (value: unknown): unknown =>
    typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value;
  return z.preprocess(toNumber, z.int(message).min(min, message).max(max, message));
}

function oneOf<const T extends readonly string[]>(values: T) {
  return z.enum(values, `must be one of ${values.join(", ")}`);
}

const stream = z.strictObject({
  key: field
    .optional()
    .describe("The field that names the device (dot path). Default: device, then id, else one constant key."),
  time: z
    .strictObject({
      field: field
        .optional()
        .describe("The field with the event time. Default: ts, timestamp, time, else the time of arrival."),
      unit: oneOf(["auto", "iso", "s", "ms", "us", "ns"])
        .optional()
        .describe("Default: auto (ISO 8601, or by magnitude)."),
    })
    .nullish(),
  fields: z
    .record(field, oneOf(["bool", "int", "float", "string"]))
    .nullish()
    .describe("Declared fields. Default: inferred, and widened as needed."),
  extra: oneOf(["keep", "drop", "reject"])
    .optional()
    .describe("What becomes of undeclared fields. Default: keep."),
  watermark: z
    .strictObject({
      bound: duration(0).optional().describe("How far out of order events may come. Default: 5s."),
      per: z
        .enum(["stream", "source", "key"], "must be one of stream, source, key")
        .optional()
        .describe(
          "Whose clock closes windows: the stream's, the least of its devices' that are not idle, or each key's own. Default: stream.",
        ),
      idle: duration(1)
        .optional()
        .describe(
          "With per: source, a device that sends nothing for this long is not waited for. Default: 60s.",
        ),
      maxAhead: duration(0)
        .optional()
        .describe("An event further in the future never moves the watermark. Default: 5m."),
    })
    .nullish(),
  lateness: duration(0)
    .optional()
    .describe("How long after the watermark a window still takes events. Default: 30s."),
  priority: whole(0, 9).optional().describe("0 is most important. Default: 5."),
});

const select = z.string(SELECT_MESSAGE).transform((text, context) => {
  const parsed = parseSelect(text);
  if (parsed.ok) return parsed.expression;
  const { column, message, fix } = parsed.problem;
  context.addIssue({ code: "custom", message: `${message}; ${fix}`, params: { column } });
  return z.NEVER;
});

const expression = z
  .union([z.string(), z.boolean(), z.number()], EXPRESSION_MESSAGE)
  .transform((written, context) => {
    const parsed = parseExpression(String(written));
    if (parsed.ok) return parsed.value;
    const { at, message, fix } = parsed.problem;
    context.addIssue({ code: "custom", message: `${message}; ${fix}`, params: { column: at } });
    return z.NEVER;
  });

const windowLength = z
  .string(WINDOW_LENGTH_MESSAGE)
  .regex(WINDOW_LENGTH, { error: WINDOW_LENGTH_MESSAGE, abort: true })
  .transform(orRefuse(parseWindowLength, "must be from 1us to 36500d, 5200w or 1200mo"));

/** `none` may stand alone, for `{ none: true }`. */
export const window = z.preprocess(
  (value) => (value === "none" ? { none: true } : value),
  z
    .strictObject(
      {
        tumbling: windowLength
          .optional()
          .describe("Windows of this length, one after the other; also weeks (1w) and months (1mo)."),
        sliding: windowLength
          .optional()
          .describe("Windows of this length that overlap: one begins every `every`."),
        every: windowLength.optional().describe("How often a sliding window begins."),
        offset: signedDuration()
          .optional()
          .describe(
            "Shifts windows from their alignment to the epoch or the calendar; back with a minus. Default: 0s.",
          ),
        timezone: z
          .string("must be a time zone; write it like Europe/Berlin")
          .optional()
          .describe(
            "Windows by the clocks of this zone: local days, weeks (from Monday), months, parts of a day.",
          ),
        session: duration(1)
          .optional()
          .describe("Events of a key that are less than this apart are of one window."),
        count: whole(1, 1e9)
          .optional()
          .describe("Every so many events of a key, in the order of their time."),
        none: z
          .literal(true, "must be true")
          .optional()
          .describe("No window: a row for each event, at once."),
      },
      WINDOW_MESSAGE,
    )
    .superRefine((input, context) => {
      const problem = windowProblem(input);
      if (problem === null) return;
      const path = problem.setting === null ? [] : [problem.setting];
      context.addIssue({ code: "custom", path, message: problem.message });
    }),
);

const query = z.strictObject({
  from: name.describe("A stream, or another query: its final results are then the events."),
  where: expression.optional().describe("Which events count: those for which this is true."),
  derive: z
    .record(name, expression)
    .optional()
    .describe("Fields computed from an event's others; each may use those above it."),
  window,
  early: duration(1_000)
    .optional()
    .describe("Results of windows that are still filling, this often in event time. Default: none."),
  lateness: duration(0)
    .optional()
    .describe("How long after the watermark a window still takes events. Default: the stream's."),
  by: z
    .array(field)
    .max(16, "must have 16 fields at most")
    .refine((fields) => new Set(fields).size === fields.length, "names a field twice")
    .optional()
    .describe("Fields to group by. Default: the stream's key; [] is one group."),
  backfill: z
    .union([z.literal("all"), duration(1)], BACKFILL_MESSAGE)
    .optional()
    .describe("When the query is new or changed: how far back stored events count too. Default: not at all."),
  select: z
    .record(name, select)
    .refine((items) => Object.keys(items).length > 0, "must select something; add n: count()")
    .describe("Names and what they are computed from: count(), avg(temp), quantile(temp, 0.99)."),
  having: expression.optional().describe("Which results are given: those for which this is true."),
});

const tableName = z.string(TABLE_NAME_MESSAGE).regex(TABLE_NAME, TABLE_NAME_MESSAGE);

const table = z.strictObject({
  file: z
    .string("must be a file")
    .min(1, "must be a file")
    .optional()
    .describe("CSV, JSON or NDJSON; relative to this file. Default: rows come with PUT /v1/tables/{name}."),
  key: field.describe("The column that names the row."),
  on: field.optional().describe("The events' field with that name. Default: the stream's key."),
});

const PATIENCE_MESSAGE = "must be a number of windows in a row, or a duration; write it like 2 or 10m";
const MAX_PATIENCE_SAMPLES = 1_000;

const patience = z.union([z.number(), z.string()], PATIENCE_MESSAGE).transform((written, context) => {
  const count = typeof written === "number" ? written : /^\d{1,4}$/.test(written) ? Number(written) : null;
  if (count !== null && Number.isInteger(count) && count >= 1 && count <= MAX_PATIENCE_SAMPLES)
    return { kind: "samples" as const, count };
  const us = typeof written === "string" && DURATION.test(written) ? parseDurationUs(written) : null;
  if (us !== null && us >= 1 && us <= LONGEST_US) return { kind: "duration" as const, us };
  context.addIssue({ code: "custom", message: PATIENCE_MESSAGE });
  return z.NEVER;
});

const WEBHOOK_MESSAGE = "must be an http or https address; write it like http://127.0.0.1:9000/hook";
const webhook = z
  .string(WEBHOOK_MESSAGE)
  .max(2_048, "must have 2048 characters at most")
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), WEBHOOK_MESSAGE)
  .refine(
    (text) => !URL.canParse(text) || (new URL(text).username === "" && new URL(text).password === ""),
    "has a user or password in its address; put a token into its path or query instead",
  );

const alert = z.strictObject({
  from: name.describe("The query whose results, or the stream whose events, are looked at."),
  when: expression.describe("The alert begins when this is true."),
  clear: expression.optional().describe("It ends when this is true. Default: when `when` is not."),
  for: patience
    .optional()
    .describe("`when` must be true for so many windows (or events) in a row, or for so long. Default: 1."),
  severity: name.max(32, "must have 32 characters at most").optional().describe("Default: warning."),
  notify: z
    .array(z.strictObject({ webhook: webhook.describe("Each step of the alert is posted here.") }))
    .max(16, "must have 16 at most")
    .optional(),
});

const limits = z.strictObject({
  maxBody: size(1024, 1024 * MIB)
    .optional()
    .describe("Largest request body after decompression. Default: 16MiB."),
  maxQueuedBytes: size(1024, 1024 ** 4)
    .optional()
    .describe("Request bodies in memory before 429. Default: 64MiB."),
  maxQueuedRequests: whole(1, 1e6)
    .optional()
    .describe("Requests waiting for their commit before 429. Default: 10000."),
  maxStreams: whole(1, 1e6)
    .optional()
    .describe("Streams that may come into being undeclared. Default: 1000."),
  maxSources: whole(1, 1e6)
    .optional()
    .describe("Devices of a stream whose clocks are known. Default: 100000."),
  maxKeyClocks: whole(1, 1e8)
    .optional()
    .describe(
      "With per: key, keys of a query without an open window whose clocks are remembered. Default: 1000000.",
    ),
  maxState: size(64 * 1024, 1024 * MIB)
    .optional()
    .describe("Memory of the windows before 503 for events that do not close any. Default: 1GiB."),
  maxWatermarkAhead: duration(0)
    .optional()
    .describe(
      "How far a watermark that is sent may be ahead of the clock and of the newest event. Default: 366d.",
    ),
  maxTable: size(1024, 256 * MIB)
    .optional()
    .describe("Largest reference table, as its file or body; each ingest thread holds it. Default: 64MiB."),
  maxLiveClients: whole(1, 1e5).optional().describe("Open live feeds. Default: 100."),
  maxParked: whole(1, 1e6).optional().describe("Batches that no sink would have, parked. Default: 10000."),
  maxParkedBytes: size(64 * 1024, 1024 ** 4)
    .optional()
    .describe("Their bytes as stored. Default: 256MiB."),
  maxConnections: whole(1, 1e6)
    .optional()
    .describe("Open connections; further ones are closed at once. Default: 10000."),
  maxWebhooksPerSecond: whole(1, 1e5)
    .optional()
    .describe("Posts to webhooks a second, all of them together. Default: 20."),
  maxQueuedWebhooks: whole(1, 1e7)
    .optional()
    .describe("Posts that may wait; beyond them the oldest are set aside. Default: 10000."),
  maxDevices: whole(1, 1e6).optional().describe("Devices that have attributes. Default: 10000."),
  maxDeviceAttributes: whole(1, 1_000).optional().describe("Attributes of a device. Default: 64."),
  maxAttributeBytes: size(16, 64 * 1024)
    .optional()
    .describe("An attribute's value, as JSON. Default: 1KiB."),
});

const SYNC_URL_MESSAGE = "must be the hub's address; write it like http://127.0.0.1:7080";
const BANDWIDTH_MESSAGE = "must be a bandwidth; write it like 500kbps or 10Mbps";
const TIMES_MESSAGE = "must be a part of the day; write it like 22:00-06:00";
const MIN_BANDWIDTH = 1_000;

const remoteConfig = z.union(
  [
    z.boolean(),
    z.strictObject({
      every: duration(100_000, DAY_US).optional().describe("How often to ask the hub. Default: 30s."),
      publicKey: z
        .string("must be a public key")
        .refine(
          isPublicKey,
          "must be a public key of Ed25519; make one with millrace sign-config --new-key FILE",
        )
        .optional()
        .describe("Whose signature configurations must have. Default: none is needed."),
      group: name.optional().describe("The only group whose configuration is taken. Default: any."),
      watch: duration(100_000, DAY_US)
        .optional()
        .describe("How long a new one is watched before it counts as good. Default: 60s."),
      reach: duration(100_000, DAY_US)
        .optional()
        .describe("How long the hub may be out of reach behind a change. Default: 10m."),
      maxBad: whole(0, 100)
        .optional()
        .describe("Per cent of the events behind a change that may be bad. Default: 10."),
    }),
  ],
  "must be true, false, or settings; write true",
);

const token = z.string("must be a text").min(8, "must have 8 characters at least; write a longer one");
const relay = z.union(
  [
    z.boolean(),
    z.strictObject({
      tokens: z
        .record(name, token)
        .nullish()
        .describe("What each edge must bring. Default: none, and edges on this machine alone are let in."),
      relays: z
        .record(name, z.union([z.literal("any"), z.array(name)], "must be a list of edges, or any"))
        .nullish()
        .describe("Edges that are relays themselves, and for which edges. Default: none."),
      cap: size(1024 * 1024, 1024 ** 5)
        .optional()
        .describe("Of batches that wait for the hub. Default: 1GiB."),
      maxHops: whole(1, 16).optional().describe("Relays on the way to the hub. Default: 4."),
    }),
  ],
  "must be true, false, or settings; write true",
);

const sync = z.strictObject({
  url: z
    .string(SYNC_URL_MESSAGE)
    .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), SYNC_URL_MESSAGE)
    .describe("The hub's address."),
  token: z.string("must be a text").min(1, "must be a text").optional().describe("This edge's at the hub."),
  config: remoteConfig
    .nullish()
    .describe("Whether streams, queries, tables and alerts come from the hub. Default: false."),
  batch: z
    .strictObject({
      events: whole(1, 1e6).optional().describe("Events or rows that make a batch. Default: 1000."),
      bytes: size(1024, 64 * MIB)
        .optional()
        .describe("Bytes that do. Default: 1MiB."),
      every: duration(1_000, DAY_US)
        .optional()
        .describe("How old the oldest gets before a smaller one is sent. Default: 30s."),
    })
    .nullish(),
  largest: z
    .strictObject({
      events: whole(1, 1e7).optional().describe("Default: 200000."),
      bytes: size(1024, 64 * MIB)
        .optional()
        .describe("Default: 8MiB."),
    })
    .nullish()
    .describe("What batches grow to when there is much to catch up with."),
  bandwidth: z
    .string(BANDWIDTH_MESSAGE)
    .transform(orRefuse(parseBandwidth, BANDWIDTH_MESSAGE))
    .refine((bytes) => bytes >= MIN_BANDWIDTH, "must be 8kbps at least")
    .optional()
    .describe("Of the line, at most. Default: no limit."),
  concurrency: whole(1, 64).optional().describe("Batches under way at once. Default: 3."),
  windows: z
    .array(z.string(TIMES_MESSAGE).transform(orRefuse(parseTimeOfDayRange, TIMES_MESSAGE)))
    .max(32, "must have 32 at most")
    .optional()
    .describe("Parts of the day, by local time, in which results and events are sent. Default: always."),
  timeout: duration(100_000, 3_600e6)
    .optional()
    .describe("How long an attempt may stand still. Default: 30s."),
  retry: z
    .strictObject({
      first: duration(1_000, DAY_US).optional().describe("Before the first retry, at most. Default: 1s."),
      longest: duration(1_000, DAY_US).optional().describe("Before any retry, at most. Default: 10m."),
      aside: whole(1, 1_000)
        .optional()
        .describe("Failures after which a batch steps aside for others. Default: 3."),
      attempts: whole(1, 1_000)
        .optional()
        .describe("Failures, while others go through, after which what is bad of it is parked. Default: 10."),
    })
    .nullish(),
  breaker: z
    .strictObject({
      failures: whole(1, 1_000).optional().describe("Failures in a row that open it. Default: 5."),
      open: duration(100_000, DAY_US).optional().describe("Until it tries again. Default: 30s."),
    })
    .nullish(),
  probe: duration(100_000, DAY_US)
    .optional()
    .describe("While the breaker is open, how often to look whether the hub is there. Default: 3s."),
});

const { url: hubUrl, token: _token, config: _config, ...deliveryOptions } = sync.shape;
const syncWithSinks = sync
  .extend({ url: hubUrl.optional(), sinks: sinksSchema(deliveryOptions).nullish() })
  .refine(
    ({ url, sinks }) => url !== undefined || Object.keys(sinks ?? {}).length > 0,
    "must say where to; write url: http://127.0.0.1:7080, or sinks",
  );

/** A stream whose settings are all left out is written `name:` with nothing behind. */
const streamOrNothing = stream.nullable().transform((value) => value ?? {});

export const configFile = z.strictObject({
  node: z.strictObject({ id: name.optional().describe("Default: the host name.") }).nullish(),
  data: z
    .string("must be a folder")
    .min(1, "must be a folder")
    .optional()
    .describe("Data directory. Default: ./millrace-data."),
  http: z
    .strictObject({
      listen: listen.optional().describe("HOST:PORT. Default: 127.0.0.1:7070."),
      admin: z
        .strictObject({
          token: z
            .string("must be a text")
            // As GET /v1/config shows it: a document that was read may be put back.
            .refine(
              (text) => text === "***" || text.length >= 8,
              "must have 8 characters at least; write a longer one",
            )
            .optional()
            .describe("What PUT /v1/config must bring. Default: it is taken from this machine alone."),
        })
        .nullish(),
    })
    .nullish(),
  streams: z.record(name, streamOrNothing).nullish().describe("Without any, every stream name is accepted."),
  queries: z.record(name, query).nullish(),
  alerts: z
    .record(name, alert)
    .nullish()
    .describe("What to tell of: conditions over results or events, and who is notified."),
  tables: z
    .record(tableName, table)
    .nullish()
    .describe("Reference tables, for where and derive: `devices.site` is a column of the event's row."),
  checkpoint: z
    .strictObject({ every: duration(10_000, DAY_US).optional().describe("Default: 30s.") })
    .nullish(),
  durability: z
    .strictObject({
      groupCommit: duration(0, 1e7)
        .optional()
        .describe(
          "How long a commit may wait for company; from 50ms on, requests also gather into larger blocks. Default: 5ms.",
        ),
    })
    .nullish(),
  workers: z
    .strictObject({
      ingest: whole(1, 64)
        .optional()
        .describe(
          "Ingest threads, always so many. Default: cores - 1, at least 1, and one more while requests wait for one another.",
        ),
    })
    .nullish(),
  buffer: z
    .strictObject({
      cap: size(16 * MIB, 1024 ** 5)
        .optional()
        .describe("What the store may take on disk, its log included. Default: 10GiB or 80 % of the disk."),
      retention: duration(60e6)
        .optional()
        .describe(
          "Synced data goes when it is older; when it is set and there is no sync, all data does. Default: 72h.",
        ),
    })
    .nullish(),
  encryption: encryption
    .nullish()
    .describe("Seals what is stored, AES-256-GCM. Read at the start and at a reload of this file."),
  limits: limits.nullish(),
  sync: syncWithSinks.nullish().describe("Where everything is sent. Default: nowhere."),
  relay: relay.nullish().describe("Whether other edges may send through this one. Default: false."),
});

export type ConfigFile = z.output<typeof configFile>;

/** `HOST:PORT`, with `[…]` around an IPv6 address; null when it is none. */
export function parseListen(text: string): { host: string; port: number } | null {
  const [, host = "", digits] = LISTEN.exec(text) ?? [];
  const port = Number(digits);
  return host === "" || port > 65_535 ? null : { host: host.replace(/^\[|\]$/g, ""), port };
}
