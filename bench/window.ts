import { makeOutputs, makePlan } from "../test/unit/window-batch.ts";
import { type CoreModule, instantiateCore } from "../workers/core/module.ts";
import { createLocal, createWindows } from "../workers/core/window.ts";
import type { Output, QueryPlan } from "../workers/messages.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { makeFleetBatches } from "./support/fleet-batches.ts";
import { measureKeyedWindows } from "./support/keyed-windows.ts";
import { measureSliding } from "./window-sliding.ts";

const BATCH_EVENTS = 4_000;
const BATCHES = 50;
const MIN_MS = 1_000;
const NEVER = -(2n ** 63n);
const FIELDS = ["temp", "rpm", "volts", "amps"];

interface Workload {
  readonly name: string;
  readonly keys: number;
  readonly select: readonly Output[] | "*";
}

const QUANTILE_QUERY = makeOutputs({
  n: ["count"],
  mean: ["avg", "temp"],
  lo: ["min", "temp"],
  hi: ["max", "temp"],
  p99: ["quantile", "temp", 0.99],
});
/** What the engine must do at 30 million events a second and core, and with a quantile at 8 million. */
const EXACT_QUERY = makeOutputs({
  n: ["count"],
  sum: ["sum", "temp"],
  mean: ["avg", "temp"],
  lo: ["min", "temp"],
  hi: ["max", "temp"],
});
const WORKLOADS: readonly Workload[] = [
  { name: "count, sum, avg, min, max of one field", keys: 10, select: EXACT_QUERY },
  { name: "count, sum, avg, min, max of one field", keys: 100, select: EXACT_QUERY },
  { name: "count, sum, avg, min, max of one field", keys: 1_000, select: EXACT_QUERY },
  { name: "count, sum, avg, min, max of one field", keys: 10_000, select: EXACT_QUERY },
  { name: "count, avg, min, max, p99 of one field", keys: 100, select: QUANTILE_QUERY },
  { name: "count, avg, min, max, p99 of one field", keys: 10_000, select: QUANTILE_QUERY },
  { name: "count, avg, min, max, p99 of one field", keys: 10, select: QUANTILE_QUERY },
  { name: "*: avg, min, max of four fields", keys: 10_000, select: "*" },
  { name: "*: avg, min, max of four fields", keys: 10, select: "*" },
  {
    name: "count, avg, min, max of one field",
    keys: 10,
    select: QUANTILE_QUERY.filter(({ fn }) => fn !== "quantile"),
  },
  { name: "stddev of one field", keys: 10, select: makeOutputs({ sd: ["stddev", "temp"] }) },
];

const PARTS: Readonly<Record<string, (core: CoreModule) => BenchReport["rows"]>> = {
  tumbling: (core) => WORKLOADS.map((workload) => measure(core, workload)),
  sliding: (core) =>
    measureSliding(core, cpuMs, [
      { name: "count, sum, avg, min, max", select: EXACT_QUERY },
      { name: "count, avg, min, max, p99", select: QUANTILE_QUERY },
    ]),
  keyed: (core) => measureKeyedWindows(core, randomNumbers(), MIN_MS, cpuMs),
};

/** How fast events become partials, partials become windows, and windows become results. `--part`: one of `PARTS`, not all. */
export async function run({ settings }: BenchOptions): Promise<BenchReport> {
  const core = instantiateCore();
  const only = settings.get("part");
  const rows = Object.entries(PARTS).flatMap(([name, measurePart]) =>
    only === undefined || only === name ? measurePart(core) : [],
  );
  return {
    name: "window",
    rows,
    notes: [
      `One thread, ${BATCH_EVENTS.toLocaleString("en-US")}-event batches of a text key and four float fields, one window. Millions of events a second; "both" is aggregate and merge one after the other.`,
      "Time is that of the processor, so that rates are a core's also where others share it.",
      "Sliding windows: 10,000 keys, beside windows of 1 s, which give as many results; ns/event is aggregate, merge and fire with its JSON texts.",
      "bytes/event: of a partial. fire: all groups of a window, to result rows with JSON texts; first: with new keys. snapshot: of all groups.",
      "sessions, counts, none, the key's clock: count, avg, min and max of one field over 400 s of events; time goes on from batch to batch, and merging includes firing.",
    ],
  };
}

function measure(core: CoreModule, { name, keys, select }: Workload): Record<string, string | number> {
  const plan: QueryPlan = makePlan({
    select,
    window: { kind: "tumbling", sizeUs: 3_600_000_000, offsetUs: 0 },
  });
  const fleet = makeFleetBatches(
    core,
    { keys, events: BATCH_EVENTS, batches: BATCHES, fields: FIELDS },
    randomNumbers(),
  );
  const local = createLocal(core, plan);
  const windows = createWindows(core, plan);
  const events = BATCHES * BATCH_EVENTS;
  const indexes = Array.from({ length: BATCHES }, (_, index) => index);
  const partials = indexes.map((index) => local.aggregate(fleet.load(index)));
  const partialBytes = partials.reduce((sum, partial) => sum + partial.length, 0) / events;
  const aggregateNs =
    nsPerCall(() => {
      let spentMs = 0;
      for (const index of indexes) {
        const batch = fleet.load(index);
        spentMs += timed(() => local.aggregate(batch));
      }
      return spentMs;
    }) / events;
  const mergeNs =
    nsPerCall(() =>
      timed(() => {
        for (const partial of partials) windows.merge(partial, NEVER);
      }),
    ) / events;
  const snapshotStarted = performance.now();
  const snapshot = windows.snapshot();
  const snapshotMs = performance.now() - snapshotStarted;
  const restoreStarted = performance.now();
  windows.restore(snapshot);
  const restoreMs = performance.now() - restoreStarted;
  const { bytes, groups } = windows.stats();
  const fireFirstMs = fireMs(windows.fire);
  for (const partial of partials) windows.merge(partial, NEVER);
  const fireAgainMs = fireMs(windows.fire);
  const result = {
    query: name,
    keys,
    "aggregate M/s": 1_000 / aggregateNs,
    "merge M/s": 1_000 / mergeNs,
    "both M/s": 1_000 / (aggregateNs + mergeNs),
    "bytes/event": partialBytes,
    results: groups,
    "fire first ms": fireFirstMs,
    "fire ms": fireAgainMs,
    "snapshot ms": snapshotMs,
    "snapshot KiB": snapshot.length / 1_024,
    "restore ms": restoreMs,
    "state B/key": bytes / groups,
  };
  windows.dispose();
  local.dispose();
  fleet.dispose();
  return result;
}

function fireMs(fire: (watermarkUs: bigint) => unknown): number {
  const started = performance.now();
  fire(2n ** 62n);
  return performance.now() - started;
}

/** `work` says how many ms it took of a core. */
function nsPerCall(work: () => number): number {
  work();
  let calls = 0;
  let spentMs = 0;
  while (spentMs < MIN_MS) {
    spentMs += work();
    calls++;
  }
  return (spentMs * 1e6) / calls;
}

function timed(work: () => unknown): number {
  const started = cpuMs();
  work();
  return cpuMs() - started;
}

/** Time of a core that this process has used: says what a core can do, also where others share it. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** The same on every run: a linear congruential generator (Knuth's MMIX). */
function randomNumbers(): () => number {
  let state = 42n;
  return () => {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    return Number(state >> 11n) / 2 ** 53;
  };
}
