import type { SourceCounts } from "../../workers/messages.ts";
import type { BufferReport } from "../../workers/store/buffer-operations.ts";
import { formatTime } from "../../workers/time-format.ts";
import type { ClockReport } from "../../workers/window.ts";
import type { Config, StreamConfig } from "../config/config.ts";
import type { Encryption } from "../encryption/encryption.ts";
import type { Engine, QueryState, StreamState } from "../pipeline/engine.ts";
import { describeBuffer } from "./describe-buffer.ts";
import { describeExpressions } from "./describe-expressions.ts";
import type { ClocksAnswer, QueryAnswer, StatusAnswer, StreamAnswer } from "./schemas.ts";

const time = (us: number | null): string | null => (us === null ? null : formatTime(us));

/** A stream as `GET /v1/streams/{stream}` shows it. */
export function describeStream(stream: StreamState): StreamAnswer {
  const { config, watermarkUs } = stream;
  return {
    stream: config.name,
    schema: Object.fromEntries(stream.schema.map(({ name, type }) => [name, type])),
    schemaVersion: stream.schemaVersion,
    ...describeKey(stream),
    timeField: timeFieldOf(config),
    timeSource: config.time.isDeclared ? "declared" : "found-or-arrival",
    timeFound: {
      fields: stream.timeSources.filter((source) => source !== null),
      arrival: stream.timeSources.includes(null),
    },
    timeUnit: config.time.unit,
    watermark: time(watermarkUs),
    maxEventTime: time(stream.maxEventTimeUs),
    watermarkPer: config.watermark.per,
    sources: describeSources(config, stream.sources),
    skewedDevices: stream.skewedDevices.map(({ device, events, medianOffsetUs }) => ({
      device,
      events,
      medianOffsetMs: milliseconds(medianOffsetUs),
    })),
    lagMs: watermarkUs === null ? null : Date.now() - Math.floor(watermarkUs / 1_000),
    rate: stream.rate,
    accepted: stream.accepted,
    deadLettered: stream.deadLettered,
    late: stream.late,
    clockSkewed: stream.clockSkewed,
    duplicates: stream.duplicates,
    blocks: stream.blocks,
    storedBytes: stream.storedBytes,
    priority: config.priority,
  };
}

/** `GET /v1/streams/{stream}/clocks`: which devices' clocks stand how. */
export function describeClocks(stream: StreamState, report: ClockReport): ClocksAnswer {
  const { name, watermark } = stream.config;
  return {
    stream: name,
    watermarkPer: watermark.per,
    watermark: time(stream.watermarkUs),
    heldBackBy: report.slowest === undefined ? null : { device: report.slowest },
    sources: describeSources(stream.config, report.sources),
    devices: report.devices.map((source) => ({
      device: source.device,
      medianOffsetMs: milliseconds(source.medianOffsetUs),
      samples: source.samples,
      clockSkewed: source.skewedEvents,
      maxEventTime: time(source.maxEventUs),
      lastSeen: time(source.lastSeenUs),
      idle: watermark.per === "source" ? source.isIdle : null,
    })),
  };
}

function describeSources(
  { watermark }: StreamConfig,
  { known, active, untrackedEvents }: SourceCounts,
): StreamAnswer["sources"] {
  return { known, active: watermark.per === "source" ? active : null, untracked: untrackedEvents };
}

/** Medians come from buckets of at least a millisecond. */
function milliseconds(us: number): number {
  return Math.round(us / 1_000);
}

/** The name under which events are given back their time. */
export function timeFieldOf({ time: { fields } }: StreamConfig): string {
  return fields[0] ?? "ts";
}

function describeKey({ config: { key }, schema }: StreamState): Pick<StreamAnswer, "keyField" | "keySource"> {
  if (key.isDeclared) return { keyField: key.fields[0] ?? null, keySource: "declared" };
  const found = key.fields.find((field) => schema.some(({ name }) => name === field));
  return found === undefined
    ? { keyField: null, keySource: "constant" }
    : { keyField: found, keySource: "found" };
}

export function describeQuery(query: QueryState): QueryAnswer {
  const { config } = query;
  return {
    query: config.name,
    from: config.from,
    ...describeExpressions(config.expressions),
    window: config.window,
    ...(config.earlyUs === undefined ? {} : { earlyUs: config.earlyUs }),
    ...(config.latenessUs === undefined ? {} : { latenessUs: config.latenessUs }),
    by: config.by === null ? null : [...config.by],
    select: config.select === "*" ? "*" : [...config.select],
    watermark: time(query.watermarkUs),
    openGroups: query.openGroups,
    keys: query.keys,
    idleKeys: query.idleKeys,
    stateBytes: query.stateBytes,
    results: query.results,
    revisions: query.revisions,
    backfill: describeBackfill(query.backfill),
  };
}

function describeAlerts({
  alerts,
  webhooks,
}: ReturnType<Engine["alerts"]>): Pick<StatusAnswer, "alerts" | "webhooks"> {
  return {
    alerts: alerts.map(({ config, pending, firing, ignoredRevisions }) => ({
      alert: config.name,
      from: config.from.name,
      severity: config.severity,
      pending,
      firing,
      ignoredRevisions,
    })),
    webhooks: { ...webhooks },
  };
}

function describeBackfill(backfill: QueryState["backfill"]): QueryAnswer["backfill"] {
  if (backfill === null) return null;
  const { fromUs, ...progress } = backfill;
  return { ...progress, from: time(fromUs) };
}

/** `GET /v1/status`: one document that tells how the node is. */
export function describeNode(
  config: Config,
  engine: Engine,
  isSettled: boolean,
  buffer: BufferReport | null,
  encryption?: Pick<Encryption, "status">,
): StatusAnswer {
  const status = engine.status();
  return {
    node: {
      id: config.node.id,
      startedAt: new Date(status.startedAtMs).toISOString(),
      ready: status.isReady,
    },
    settled: isSettled,
    streams: engine.streams().map(describeStream),
    queries: engine.queries().map(describeQuery),
    ...describeAlerts(engine.alerts()),
    queue: {
      bytes: status.queuedBytes,
      requests: status.queuedRequests,
      maxBytes: config.limits.maxQueuedBytes,
      maxRequests: config.limits.maxQueuedRequests,
      rejected: status.rejectedRequests,
    },
    state: {
      bytes: status.state.bytes,
      maxBytes: status.state.maxBytes,
      refused: status.state.refusedRequests,
      largest: status.state.largest.map((query) => ({ ...query })),
      largestKeys:
        status.state.largestKeys === null
          ? null
          : { ...status.state.largestKeys, keys: status.state.largestKeys.keys.map((key) => ({ ...key })) },
    },
    store: {
      databaseBytes: status.databaseBytes,
      walBytes: status.walBytes,
      lastSeq: status.lastSeq,
      commits: status.commits,
    },
    buffer: describeBuffer(buffer),
    encryption: encryption?.status() ?? null,
    checkpoint: { seq: status.checkpointSeq, ageMs: status.checkpointAgeMs, last: status.checkpoint },
    stageNs: { ...status.stageNs },
    stageEvents: { ...status.stageEvents },
    memory: { rssBytes: process.memoryUsage.rss() },
  };
}
