import { slidingSpans } from "../property/panes-model.ts";
import { type ExpectedAlert, plainAlerts, sorted } from "./alert-fixture.ts";
import type { ChaosEvent } from "./chaos-load.ts";
import { EngineOracle, type OracleQuery, type OracleStream } from "./engine-oracle.ts";

const SECOND_US = 1_000_000;
const SELECT =
  "{ n: count(), nv: count(v), sum: sum(v), avg: avg(v), min: min(v), max: max(v), range: range(v)," +
  " first: first(v), last: last(v), variance: variance(v), stddev: stddev(v) }";
const SELECT_ABOVE = SELECT.replaceAll("(v)", "(n)");

/** Streams, queries and alerts of every edge of a chaos run; `OF_LOAD` and `OF_BULK` say the same to the oracle. */
export const STREAMS = `
streams:
  load:
    key: device
    time: { field: ts, unit: ms }
    fields: { v: float }
    watermark: { bound: 1s, maxAhead: 36500d }
  bulk:
    key: device
    time: { field: ts, unit: ms }
    fields: { v: float }
    priority: 8
    watermark: { bound: 1s, maxAhead: 36500d }
    lateness: 0s
queries:
  tumbling: { from: load, window: { tumbling: 2s }, by: [device], lateness: 4s, early: 500ms, select: ${SELECT} }
  over_tumbling: { from: tumbling, window: { tumbling: 10s }, by: [device], lateness: 0s, select: ${SELECT_ABOVE} }
  sliding: { from: load, window: { sliding: 6s, every: 2s }, by: [], lateness: 3s, select: ${SELECT} }
  sessions: { from: load, window: { session: 150ms }, by: [device], lateness: 2s, where: v > 0, select: ${SELECT} }
  counts: { from: load, window: { count: 25 }, by: [device], lateness: 0s, select: ${SELECT} }
  bulk_rate: { from: bulk, window: { tumbling: 5s }, by: [device], lateness: 0s, select: ${SELECT} }
alerts:
  high: { from: tumbling, when: avg > 15, clear: avg < 0, for: 2, severity: critical }
  spike: { from: load, when: v > 97, clear: v < 50 }
`;

export const STREAM_NAMES = ["load", "bulk"] as const;
export const QUERY_NAMES = [
  "tumbling",
  "over_tumbling",
  "sliding",
  "sessions",
  "counts",
  "bulk_rate",
] as const;

const plain = { earlyUs: null, hasHaving: false, above: null, isByDevice: true } as const;
const value: OracleQuery["read"] = ({ v }) => ({ value: v });
const spans = (sizeUs: number, everyUs = sizeUs): OracleQuery["window"] => ({
  kind: "spans",
  windowsOf: slidingSpans(sizeUs, everyUs, 0),
});

const OVER_TUMBLING: OracleQuery = {
  ...plain,
  name: "over_tumbling",
  window: spans(10 * SECOND_US),
  latenessUs: 0,
  read: value,
};

const OF_LOAD: readonly OracleQuery[] = [
  {
    ...plain,
    name: "tumbling",
    window: spans(2 * SECOND_US),
    latenessUs: 4 * SECOND_US,
    earlyUs: SECOND_US / 2,
    read: value,
    above: OVER_TUMBLING,
  },
  {
    ...plain,
    name: "sliding",
    window: spans(6 * SECOND_US, 2 * SECOND_US),
    latenessUs: 3 * SECOND_US,
    isByDevice: false,
    read: value,
  },
  {
    ...plain,
    name: "sessions",
    window: { kind: "session", gapUs: 150_000 },
    latenessUs: 2 * SECOND_US,
    read: ({ v }) => (v !== null && v > 0 ? { value: v } : null),
  },
  { ...plain, name: "counts", window: { kind: "count", size: 25 }, latenessUs: 0, read: value },
];

const OF_BULK: readonly OracleQuery[] = [
  { ...plain, name: "bulk_rate", window: spans(5 * SECOND_US), latenessUs: 0, read: value },
];

/** What an edge must have made of its events. */
export interface Expected {
  /** By query, window, key and revision: kind, whether it is a retraction, values. */
  readonly results: ReadonlyMap<string, string>;
  /** Set aside as late, by stream. */
  readonly late: Readonly<Record<(typeof STREAM_NAMES)[number], number>>;
  /** As they stand at the end. */
  readonly alerts: Readonly<Record<"high" | "spike", readonly ExpectedAlert[]>>;
}

/** Acknowledged batches of one stream in their order, and the watermark at their end, ms. */
export interface Acknowledged {
  readonly batches: readonly (readonly ChaosEvent[])[];
  readonly endMs: number;
}

/** All of it worked out from what was acknowledged alone, by the slow models that the engine is tested against. */
export function expectedOf(load: Acknowledged, bulk: Acknowledged): Expected {
  const [ofLoad, ofBulk] = [replay(OF_LOAD, load), replay(OF_BULK, bulk)];
  return {
    results: new Map([...ofLoad.rows, ...ofBulk.rows]),
    late: { load: ofLoad.lateEvents, bulk: ofBulk.lateEvents },
    alerts: { high: highAlerts(ofLoad.rows), spike: spikeAlerts(load) },
  };
}

function replay(queries: readonly OracleQuery[], { batches, endMs }: Acknowledged): EngineOracle {
  const stream: OracleStream = {
    per: "stream",
    boundUs: SECOND_US,
    idleUs: 60 * SECOND_US,
    maxAheadUs: Number.POSITIVE_INFINITY,
    queries,
  };
  const oracle = new EngineOracle(stream);
  for (const batch of batches) {
    const events = batch.map(({ device, ts, v }) => ({ device, ts: ts * 1_000, v }));
    oracle.apply({ kind: "block", arrivalUs: 0, events });
  }
  oracle.apply({ kind: "watermark", timeUs: endMs * 1_000 });
  return oracle;
}

/** From the last revisions of the query's windows, one after the other. */
function highAlerts(rows: ReadonlyMap<string, string>): ExpectedAlert[] {
  const windows = new Map<string, { startUs: number; endUs: number; key: string; avg: number }>();
  // Rows come in the order of their revisions.
  for (const [id, row] of rows) {
    const [query, startUs, endUs, key] = id.split(" ");
    const [kind, , { avg }] = JSON.parse(row) as [string, boolean, { avg: number }];
    if (query !== "tumbling" || kind === "early") continue;
    windows.set(`${startUs} ${key}`, { startUs: Number(startUs), endUs: Number(endUs), key: key!, avg });
  }
  const byKey = Map.groupBy(windows.values(), ({ key }) => key);
  return sorted(
    [...byKey].flatMap(([key, ofKey]) => {
      const samples = ofKey
        .sort((a, b) => a.startUs - b.startUs)
        .map(({ startUs, endUs, avg }) => ({ startUs, endUs, when: avg > 15, clear: avg < 0 }));
      return plainAlerts(key, samples, (inARow) => inARow >= 2);
    }),
  );
}

/** From the events in the order in which they were acknowledged. */
function spikeAlerts({ batches }: Acknowledged): ExpectedAlert[] {
  const byDevice = Map.groupBy(batches.flat(), ({ device }) => device);
  return sorted(
    [...byDevice].flatMap(([device, events]) => {
      const samples = events.map(({ ts, v }) => {
        const timeUs = ts * 1_000;
        return { startUs: timeUs, endUs: timeUs, when: v > 97, clear: v < 50 };
      });
      return plainAlerts(JSON.stringify({ device }), samples, () => true);
    }),
  );
}
