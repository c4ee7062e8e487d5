import { hostname } from "node:os";
import type { FieldType } from "../../workers/messages.ts";
import { explainType } from "./aggregates.ts";
import { type AlertConfig, buildAlert } from "./alert.ts";
import type { Config, Limits, QueryConfig, QueryExpressions, StreamConfig, TableConfig } from "./config.ts";
import { DEFAULT_LIMITS, DEFAULTS } from "./defaults.ts";
import type { QueryProblem } from "./expression/compile.ts";
import { typeOfKind } from "./expression/kinds.ts";
import { checkKeyFiles } from "./key-files.ts";
import { extentOf, MAX_EARLY_OVERLAP } from "./pane-window.ts";
import type { Path } from "./places.ts";
import { splitFix } from "./problems.ts";
import { compileExpressions } from "./query-expressions.ts";
import { QuerySources } from "./query-sources.ts";
import { buildRelay } from "./relay-config.ts";
import type { ConfigFile } from "./schema.ts";
import { nearest } from "./suggest.ts";
import { buildSync } from "./sync-config.ts";
import { buildWindow } from "./window.ts";

/** Says that the setting at a path is wrong: `message; fix`. `column` is 0-based within its text. */
export type Report = (path: Path, problem: { message: string; fix: string | null }, column?: number) => void;

export type Tables = ReadonlyMap<string, TableConfig>;

/** Fills in the defaults, and checks what settings say about each other. */
export function buildConfig(input: ConfigFile, report: Report, tables: Tables): Config {
  const refuse = (path: Path, text: string): void => report(path, splitFix(text));
  const streams = new Map(
    Object.entries(input.streams ?? {}).map(([name, stream]) => [name, buildStream(name, stream)]),
  );
  const plain = new Map(
    Object.entries(input.queries ?? {}).map(([name, query]) => [name, buildQuery(name, query)]),
  );
  const sources = new QuerySources(streams, plain);
  const queries = new Map<string, QueryConfig>();
  for (const [name, query] of Object.entries(input.queries ?? {})) {
    const placed = sources.place(plain.get(name)!);
    const source = sources.of(placed);
    const expressions = buildExpressions(placed, query, source, tables, report);
    queries.set(name, expressions === null ? placed : { ...placed, expressions });
  }
  for (const query of queries.values()) checkQuery(query, sources, refuse);
  const alerts = new Map<string, AlertConfig>();
  for (const [name, alert] of Object.entries(input.alerts ?? {})) {
    const built = buildAlert(name, alert, {
      streams,
      queries,
      tables,
      report,
      sourceOf: (query) => sources.of(query),
    });
    if (built !== null) alerts.set(name, built);
  }
  return {
    node: { id: input.node?.id ?? hostname() },
    dataDir: input.data ?? DEFAULTS.dataDir,
    listen: input.http?.listen ?? DEFAULTS.listen,
    adminToken: input.http?.admin?.token ?? null,
    acceptsAnyStream: streams.size === 0,
    streams,
    queries,
    alerts,
    ...(tables.size === 0 ? {} : { tables }),
    buffer: {
      capBytes: input.buffer?.cap ?? null,
      retentionUs: input.buffer?.retention ?? DEFAULTS.retentionUs,
      isRetentionSet: input.buffer?.retention !== undefined,
    },
    ...(input.encryption == null ? {} : { encryption: checkKeyFiles(input.encryption, refuse) }),
    limits: buildLimits(input.limits ?? {}, refuse),
    ingestWorkers: input.workers?.ingest ?? DEFAULTS.ingestWorkers,
    maxIngestWorkers: input.workers?.ingest ?? DEFAULTS.maxIngestWorkers,
    checkpointEveryMs: toMs(input.checkpoint?.every) ?? DEFAULTS.checkpointEveryMs,
    groupCommitMs: toMs(input.durability?.groupCommit) ?? DEFAULTS.groupCommitMs,
    sync: input.sync == null ? null : buildSync(input.sync),
    relay: buildRelay(input.relay, input.sync?.url !== undefined, refuse),
  };
}

/** What results have beside their values, as queries and alerts over them see it. */
const WINDOW_FIELDS: readonly string[] = ["window.start", "window.end"];
/** Windows that an event may be in where keys have clocks: they share no slices. */
const MAX_KEY_OVERLAP = 1_000;

type StreamInput = NonNullable<ConfigFile["streams"]>[string];
type QueryInput = NonNullable<ConfigFile["queries"]>[string];
type Refuse = (path: Path, text: string) => void;

function buildStream(name: string, input: StreamInput): StreamConfig {
  const { key, fields } = input;
  const time = input.time ?? {};
  const watermark = input.watermark ?? {};
  return {
    name,
    key:
      key === undefined
        ? { fields: DEFAULTS.keyFields, isDeclared: false }
        : { fields: [key], isDeclared: true },
    time: {
      fields: time.field === undefined ? DEFAULTS.timeFields : [time.field],
      isDeclared: time.field !== undefined,
      unit: time.unit ?? "auto",
    },
    fields: fields == null ? null : Object.entries(fields).map(([field, type]) => ({ name: field, type })),
    extra: input.extra ?? "keep",
    watermark: {
      boundUs: watermark.bound ?? DEFAULTS.boundUs,
      per: watermark.per ?? "stream",
      idleUs: watermark.idle ?? DEFAULTS.idleUs,
      maxAheadUs: watermark.maxAhead ?? DEFAULTS.maxAheadUs,
    },
    latenessUs: input.lateness ?? DEFAULTS.latenessUs,
    priority: input.priority ?? DEFAULTS.priority,
  };
}

function buildQuery(name: string, input: QueryInput): QueryConfig {
  const { from, window, by, select } = input;
  return {
    name,
    from,
    window: buildWindow(window),
    ...(input.early === undefined ? {} : { earlyUs: input.early }),
    ...(input.lateness === undefined ? {} : { latenessUs: input.lateness }),
    ...(input.backfill === undefined ? {} : { backfillUs: input.backfill }),
    by: by ?? null,
    select: Object.entries(select).map(([output, expression]) => ({ name: output, ...expression })),
  };
}

/** Checks and compiles a query's expressions; null when it has none. Those over an unknown stream are not looked at. */
function buildExpressions(
  plain: QueryConfig,
  input: QueryInput,
  stream: StreamConfig | undefined,
  tables: Tables,
  report: Report,
): QueryExpressions | null {
  const where = input.where ?? null;
  const derive = Object.entries(input.derive ?? {}).map(([name, expression]) => ({ name, expression }));
  const having = input.having ?? null;
  if (stream === undefined || (where === null && derive.length === 0 && having === null)) return null;
  const refuse = ({ path, problem: { at, message, fix } }: QueryProblem): void =>
    report(["queries", plain.name, ...path], { message, fix }, at);
  const { expressions, problems } = compileExpressions({ where, derive, having }, plain, stream, tables);
  problems.forEach(refuse);
  return expressions;
}

function checkQuery(query: QueryConfig, sources: QuerySources, refuse: Refuse): void {
  const { name, expressions, select } = query;
  for (const item of select === "*" ? [] : select) {
    if (WINDOW_FIELDS.includes(item.name))
      refuse(
        ["queries", name, "select", item.name],
        `hides ${item.name} of the window itself; give the value another name`,
      );
  }
  checkEarly(query, refuse);
  const objection = sources.explain(query);
  if (objection !== null) refuse(["queries", name, "from"], objection);
  const stream = sources.of(query);
  if (stream === undefined) return;
  if (query.isOnQuery && expressions?.rows?.tables.length)
    refuse(["queries", name], "is from a query, where tables cannot be joined; join them in that query");
  if (stream.watermark.per === "key") checkKeyClock(query, refuse);
  checkFields(query, stream, refuse);
}

/** Whether the fields that `by` and `select` name are there, and of a type that fits. */
export function checkFields(query: QueryConfig, stream: StreamConfig, refuse: Refuse): void {
  const { name, from, by, select, expressions } = query;
  const { fields, extra, key } = stream;
  if (fields === null) return;
  const types = new Map<string, FieldType | null>(fields.map((field) => [field.name, field.type]));
  for (const [derived, kind] of expressions?.kinds ?? []) types.set(derived, typeOfKind(kind));
  const isNowhere = (field: string): boolean =>
    extra !== "keep" && !types.has(field) && !key.fields.includes(field);
  const explain = (field: string): string => {
    const hint = nearest(field, types.keys());
    const fix = hint === null ? `declare it under streams.${from}.fields` : `did you mean \`${hint}\`?`;
    return `stream ${from} has no field ${field}; ${fix}`;
  };
  by?.forEach((field, index) => {
    if (isNowhere(field)) refuse(["queries", name, "by", index], explain(field));
  });
  for (const { name: output, fn, field } of select === "*" ? [] : select) {
    if (field === null) continue;
    const path = ["queries", name, "select", output];
    if (isNowhere(field)) refuse(path, explain(field));
    const type = types.get(field) ?? null;
    const objection = type === null ? null : explainType(fn, field, type);
    if (objection !== null) refuse(path, objection);
  }
}

/** An event is merged into each of the windows that close by its key's clock. */
function checkKeyClock({ name, from, window }: QueryConfig, refuse: Refuse): void {
  const why = `streams.${from}.watermark.per is key`;
  const hasOverlap = window.kind === "sliding" || window.kind === "calendar";
  if (hasOverlap && extentOf(window).overlap > MAX_KEY_OVERLAP) {
    refuse(
      ["queries", name, "window", "every"],
      `puts each event into more than ${MAX_KEY_OVERLAP} windows, while ${why}; make it longer`,
    );
  }
}

function checkEarly({ name, window, earlyUs }: QueryConfig, refuse: Refuse): void {
  if (earlyUs === undefined) return;
  const path = ["queries", name, "early"];
  if (window.kind === "session" || window.kind === "count") return;
  if (window.kind === "none") {
    refuse(path, "has no windows that could be filling: each event has its row; remove it");
    return;
  }
  const { sizeUs, overlap } = extentOf(window);
  if (earlyUs >= sizeUs) refuse(path, "is not shorter than the windows, which end before; make it shorter");
  if (overlap > MAX_EARLY_OVERLAP) {
    refuse(
      path,
      `would give each event's key results in more than ${MAX_EARLY_OVERLAP} windows; remove it, or make every longer`,
    );
  }
}

function buildLimits(input: NonNullable<ConfigFile["limits"]>, refuse: Refuse): Limits {
  const maxBodyBytes = input.maxBody ?? DEFAULT_LIMITS.maxBodyBytes;
  const maxQueuedBytes = input.maxQueuedBytes ?? Math.max(DEFAULT_LIMITS.maxQueuedBytes, maxBodyBytes);
  if (maxQueuedBytes < maxBodyBytes) {
    refuse(
      ["limits", "maxQueuedBytes"],
      `the largest body (${maxBodyBytes} bytes) must fit; raise it, or lower limits.maxBody`,
    );
  }
  return {
    maxBodyBytes,
    maxQueuedBytes,
    maxQueuedRequests: input.maxQueuedRequests ?? DEFAULT_LIMITS.maxQueuedRequests,
    maxStreams: input.maxStreams ?? DEFAULT_LIMITS.maxStreams,
    maxSources: input.maxSources ?? DEFAULT_LIMITS.maxSources,
    maxKeyClocks: input.maxKeyClocks ?? DEFAULT_LIMITS.maxKeyClocks,
    maxStateBytes: input.maxState ?? DEFAULT_LIMITS.maxStateBytes,
    maxWatermarkAheadUs: input.maxWatermarkAhead ?? DEFAULT_LIMITS.maxWatermarkAheadUs,
    maxLiveClients: input.maxLiveClients ?? DEFAULT_LIMITS.maxLiveClients,
    maxParked: input.maxParked ?? DEFAULT_LIMITS.maxParked,
    maxParkedBytes: input.maxParkedBytes ?? DEFAULT_LIMITS.maxParkedBytes,
    maxConnections: input.maxConnections ?? DEFAULT_LIMITS.maxConnections,
    maxTableBytes: input.maxTable ?? DEFAULT_LIMITS.maxTableBytes,
    maxWebhooksPerSecond: input.maxWebhooksPerSecond ?? DEFAULT_LIMITS.maxWebhooksPerSecond,
    maxQueuedWebhooks: input.maxQueuedWebhooks ?? DEFAULT_LIMITS.maxQueuedWebhooks,
    maxDevices: input.maxDevices ?? DEFAULT_LIMITS.maxDevices,
    maxDeviceAttributes: input.maxDeviceAttributes ?? DEFAULT_LIMITS.maxDeviceAttributes,
    maxAttributeBytes: input.maxAttributeBytes ?? DEFAULT_LIMITS.maxAttributeBytes,
  };
}

function toMs(us: number | undefined): number | null {
  return us === undefined ? null : us / 1_000;
}
