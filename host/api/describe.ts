import type { Config } from "../config/config.ts";
import type { Engine, QueryState, StreamState } from "../pipeline/engine.ts";
import { formatTime } from "../../workers/time-format.ts";

const time = (us: number | null): string | null => (us === null ? null : formatTime(us));

/** A stream as `GET /v1/streams/{stream}` shows it. `lagMs` is how far its watermark stands behind the clock. */
export function describeStream(stream: StreamState): object {
  const { config, watermarkUs } = stream;
  return {
    stream: config.name,
    schema: Object.fromEntries(stream.schema.map(({ name, type }) => [name, type])),
    schemaVersion: stream.schemaVersion,
    key: config.key,
    time: config.time,
    watermark: time(watermarkUs),
    maxEventTime: time(stream.maxEventTimeUs),
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

export function describeQuery(query: QueryState): object {
  const { config } = query;
  return {
    query: config.name,
    from: config.from,
    window: config.window,
    by: config.by,
    select: config.select,
    watermark: time(query.watermarkUs),
    openGroups: query.openGroups,
    keys: query.keys,
    stateBytes: query.stateBytes,
    results: query.results,
    revisions: query.revisions,
  };
}

/** `GET /v1/status`: one document that tells how the node is. */
export function describeNode(config: Config, engine: Engine): object {
  const status = engine.status();
  return {
    node: { id: config.node.id, startedAt: new Date(status.startedAtMs).toISOString(), ready: status.isReady },
    streams: engine.streams().map(describeStream),
    queries: engine.queries().map(describeQuery),
    queue: {
      bytes: status.queuedBytes,
      requests: status.queuedRequests,
      maxBytes: config.limits.maxQueuedBytes,
      maxRequests: config.limits.maxQueuedRequests,
      rejected: status.rejectedRequests,
    },
    store: {
      databaseBytes: status.databaseBytes,
      walBytes: status.walBytes,
      lastSeq: status.lastSeq,
      commits: status.commits,
    },
    checkpoint: { seq: status.checkpointSeq, ageMs: status.checkpointAgeMs },
    stageNs: status.stageNs,
    memory: { rssBytes: process.memoryUsage.rss() },
  };
}
