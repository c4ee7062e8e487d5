import type { QueryPlan, ResultsSetup, StreamPlan } from "../../workers/messages.ts";
import type { QueryConfig, StreamConfig } from "./config.ts";
import { DEFAULT_LIMITS, DEFAULTS } from "./defaults.ts";

const MINUTE_US = 60_000_000;

/** What the parser must know of a stream. */
export function streamPlan(stream: StreamConfig): StreamPlan {
  return {
    stream: stream.name,
    key: stream.key.fields,
    isKeyDeclared: stream.key.isDeclared,
    time: stream.time,
    fields: stream.fields,
    extra: stream.extra,
    maxAheadUs: stream.watermark.maxAheadUs,
  };
}

/** What the window engine must know of a query. */
export function queryPlan(
  query: QueryConfig,
  stream: StreamConfig,
  id: number,
  maxIdleKeys = DEFAULT_LIMITS.maxKeyClocks,
): QueryPlan {
  const { boundUs, per } = stream.watermark;
  return {
    id,
    name: query.name,
    stream: stream.name,
    window: query.window,
    ...(query.earlyUs === undefined ? {} : { earlyUs: query.earlyUs }),
    latenessUs: query.latenessUs ?? stream.latenessUs,
    ...(per === "key" ? { keyClock: { boundUs, maxIdleKeys } } : {}),
    by: query.by === null ? [stream.key.fields] : query.by.map((field) => [field]),
    select: query.select,
    ...(query.expressions?.rows ? { expressions: query.expressions.rows } : {}),
    ...(query.expressions?.results ? { having: query.expressions.results } : {}),
  };
}

/** The name of the stream of a query's results; no stream of events can have it. */
export function resultStreamName(query: string): string {
  return `results of ${query}`;
}

/** The final results of a query as a stream. `source`: what the query itself is from. */
export function resultStream(query: QueryConfig, source: StreamConfig): StreamConfig {
  return {
    name: resultStreamName(query.name),
    key: { fields: query.by ?? source.key.fields, isDeclared: false },
    time: { fields: ["window.time"], isDeclared: true, unit: "us" },
    fields: null,
    extra: "keep",
    // Rows come when they are final, in the order of their windows' ends: none is ever out of order, late or ahead.
    watermark: { boundUs: 0, per: "stream", idleUs: DEFAULTS.idleUs, maxAheadUs: Number.MAX_SAFE_INTEGER },
    latenessUs: 0,
    priority: source.priority,
  };
}

/** What the window thread must know of it. */
export function resultsSetup(query: QueryPlan): ResultsSetup {
  const { id: queryId, latenessUs, window, by, select } = query;
  const values = select === "*" ? [] : select.map(({ name }) => name);
  const names = [...new Set([...by.flat(), ...values, "window.start", "window.end"])];
  return { queryId, latenessUs, isRevised: window.kind !== "count", names };
}

/** A stream that came into being without configuration. */
export function automaticStream(name: string): StreamConfig {
  return {
    name,
    key: { fields: DEFAULTS.keyFields, isDeclared: false },
    time: { fields: DEFAULTS.timeFields, isDeclared: false, unit: "auto" },
    fields: null,
    extra: "keep",
    watermark: {
      boundUs: DEFAULTS.boundUs,
      per: "stream",
      idleUs: DEFAULTS.idleUs,
      maxAheadUs: DEFAULTS.maxAheadUs,
    },
    latenessUs: DEFAULTS.latenessUs,
    priority: DEFAULTS.priority,
  };
}

/** Its query: one-minute windows with count, and avg, min and max of every numeric field. */
export function automaticQuery(stream: string): QueryConfig {
  return {
    name: `${stream}_1m`,
    from: stream,
    window: { kind: "tumbling", sizeUs: MINUTE_US, offsetUs: 0 },
    by: null,
    select: "*",
  };
}
