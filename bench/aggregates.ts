import { type ColumnKind, makeBatch, makeOutputs, makePlan } from "../test/unit/window-batch.ts";
import { type CoreModule, instantiateCore, type Pointer } from "../workers/core/module.ts";
import { createLocal, createWindows } from "../workers/core/window.ts";
import type { Output } from "../workers/messages.ts";
import type { BenchOptions, BenchReport } from "./report.ts";

const BATCH_EVENTS = 4_000;
const BATCHES = 20;
/** For all of them together. */
const DEFAULT_SECONDS = 10;
const KEY_COUNTS = [10, 10_000];
const NEVER = -(2n ** 63n);

/** One aggregate over one kind of values. */
interface Workload {
  readonly call: string;
  readonly kind: ColumnKind;
  readonly output: Pick<Output, "fn"> & Partial<Output>;
  readonly cell: (random: () => number) => number | boolean | string;
}

const temperature = (random: () => number): number => Math.round((20 + random() * 10) * 100) / 100;
const state = (random: () => number): string =>
  ["ok", "ok", "ok", "warn", "error"][Math.floor(random() * 5)]!;
const user = (random: () => number): string => `user-${Math.floor(random() * 100_000)}`;

const WORKLOADS: readonly Workload[] = [
  { call: "avg(temp)", kind: "float", output: { fn: "avg" }, cell: temperature },
  { call: "last(state)", kind: "text", output: { fn: "last" }, cell: state },
  { call: "max(state)", kind: "text", output: { fn: "max" }, cell: state },
  { call: "any(on)", kind: "bool", output: { fn: "any" }, cell: (random) => random() < 0.5 },
  { call: "mode(state)", kind: "text", output: { fn: "mode" }, cell: state },
  { call: "topk(user, 3)", kind: "text", output: { fn: "topk", parameter: 3 }, cell: user },
  { call: "distinct(state)", kind: "text", output: { fn: "distinct" }, cell: state },
  { call: "distinct(user)", kind: "text", output: { fn: "distinct" }, cell: user },
  { call: "distinct(temp)", kind: "float", output: { fn: "distinct" }, cell: temperature },
  {
    call: "histogram(temp, 20 to 30 in 20)",
    kind: "float",
    output: { fn: "histogram", bounds: Array.from({ length: 21 }, (_, index) => 20 + index / 2) },
    cell: temperature,
  },
  { call: "rate(temp)", kind: "float", output: { fn: "rate" }, cell: temperature },
];

/** How fast each aggregate takes events in, and what it keeps. */
export async function run({ seconds }: BenchOptions): Promise<BenchReport> {
  const core = instantiateCore();
  const runs = WORKLOADS.flatMap((workload) => KEY_COUNTS.map((keys) => ({ workload, keys })));
  const forMs = ((seconds ?? DEFAULT_SECONDS) * 1_000) / runs.length;
  const rows = runs.map(({ workload, keys }) => measure(core, workload, keys, forMs));
  return {
    name: "aggregates",
    rows,
    notes: [
      `One thread, ${BATCH_EVENTS.toLocaleString("en-US")}-event batches of a text key and one field, ${BATCHES} of them in one window. Millions of events a second: aggregating a batch, and merging its partial into windows that have the values already.`,
    ],
  };
}

function measure(
  core: CoreModule,
  { call, kind, output, cell }: Workload,
  keys: number,
  forMs: number,
): Record<string, string | number> {
  const select = makeOutputs({ value: [output.fn, "v"] }).map((item) => ({ ...item, ...output }));
  const plan = makePlan({ select, window: { kind: "tumbling", sizeUs: 3_600_000_000, offsetUs: 0 } });
  const random = randomNumbers();
  const batches = Array.from({ length: BATCHES }, (_, index) =>
    makeEvents(core, kind, keys, index, cell, random),
  );
  const local = createLocal(core, plan);
  const windows = createWindows(core, plan);
  const partials = batches.map((batch) => local.aggregate(batch));
  const events = BATCHES * BATCH_EVENTS;
  const bytes = partials.reduce((sum, partial) => sum + partial.length, 0);
  const aggregateNs = bestNs(forMs / 2, () => {
    for (const batch of batches) local.aggregate(batch);
  });
  for (const partial of partials) windows.merge(partial, NEVER);
  const stats = windows.stats();
  const mergeNs = bestNs(forMs / 2, () => {
    for (const partial of partials) windows.merge(partial, NEVER);
  });
  windows.dispose();
  local.dispose();
  return {
    call,
    keys,
    "aggregate M/s": (events / aggregateNs) * 1_000,
    "merge M/s": (events / mergeNs) * 1_000,
    "both M/s": (events / (aggregateNs + mergeNs)) * 1_000,
    "bytes/event": bytes / events,
    "events/key": events / stats.groups,
    "state B/key": stats.bytes / stats.groups,
  };
}

/** The fastest of several calls: other work on the machine only ever adds. */
function bestNs(forMs: number, work: () => void): number {
  work();
  let best = Number.POSITIVE_INFINITY;
  const started = performance.now();
  do {
    const from = performance.now();
    work();
    best = Math.min(best, (performance.now() - from) * 1e6);
  } while (performance.now() - started < forMs);
  return best;
}

function makeEvents(
  core: CoreModule,
  kind: ColumnKind,
  keys: number,
  batch: number,
  cell: Workload["cell"],
  random: () => number,
): Pointer {
  const rows = Array.from({ length: BATCH_EVENTS }, (_, row) => row);
  return makeBatch(core, {
    times: rows.map((row) => BigInt(batch * BATCH_EVENTS + row) * 1_000n),
    columns: [
      { name: "device", kind: "text", cells: rows.map(() => `device-${Math.floor(random() * keys)}`) },
      { name: "v", kind, cells: rows.map(() => cell(random)) },
    ],
  });
}

/** The same on every run: a linear congruential generator (Knuth's MMIX). */
function randomNumbers(): () => number {
  let last = 42n;
  return () => {
    last = BigInt.asUintN(64, last * 6364136223846793005n + 1442695040888963407n);
    return Number(last >> 11n) / 2 ** 53;
  };
}
