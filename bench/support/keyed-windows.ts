import { makeOutputs, makePlan } from "../../test/unit/window-batch.ts";
import type { CoreModule } from "../../workers/core/module.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import type { QueryPlan } from "../../workers/messages.ts";
import { makeFleetBatches } from "./fleet-batches.ts";

const BATCH_EVENTS = 4_000;
const BATCHES = 100;
/** Between two events of the stream. */
const STEP_US = 1_000;
const BOUND_US = 1_000_000;
const SELECT = makeOutputs({
  n: ["count"],
  mean: ["avg", "temp"],
  lo: ["min", "temp"],
  hi: ["max", "temp"],
});
const SECOND_US = 1_000_000;
const KEY_CLOCK = { boundUs: BOUND_US, maxIdleKeys: 1_000_000 };

interface Workload extends Pick<QueryPlan, "window" | "keyClock"> {
  readonly name: string;
  readonly keys: number;
}

type Row = Record<string, string | number>;

const SESSION = { kind: "session", gapUs: 30 * SECOND_US } as const;
const COUNT = { kind: "count", size: 100 } as const;
const TUMBLING = { kind: "tumbling", sizeUs: 60 * SECOND_US, offsetUs: 0 } as const;
const WORKLOADS: readonly Workload[] = [
  { name: "sessions of 30 s", keys: 10_000, window: SESSION },
  { name: "sessions of 30 s", keys: 1_000, window: SESSION },
  { name: "sessions of 30 s", keys: 10, window: SESSION },
  { name: "sessions of 1 s", keys: 10_000, window: { kind: "session", gapUs: SECOND_US } },
  { name: "counts of 100", keys: 10_000, window: COUNT },
  { name: "counts of 100", keys: 10, window: COUNT },
  { name: "none", keys: 10_000, window: { kind: "none" } },
  { name: "tumbling 1 m by the key's clock", keys: 10_000, window: TUMBLING, keyClock: KEY_CLOCK },
];

/** Rows, with texts as a lane's parser keeps them, for windows that belong to their key: time goes on from batch to batch, and merging includes firing. */
export function measureKeyedWindows(
  core: CoreModule,
  random: () => number,
  minMs: number,
  clockMs: () => number,
): Row[] {
  return WORKLOADS.map((workload) => measure(core, workload, random, minMs, clockMs));
}

function measure(
  core: CoreModule,
  workload: Workload,
  random: () => number,
  minMs: number,
  clockMs: () => number,
): Row {
  const { name, keys, ...windowing } = workload;
  const plan = makePlan({ select: SELECT, ...windowing });
  const local = createLocal(core, plan);
  const shape = { keys, events: BATCH_EVENTS, batches: BATCHES, fields: ["temp"], goesOn: true };
  const fleet = makeFleetBatches(core, shape, random);
  const events = BATCHES * BATCH_EVENTS;
  const indexes = Array.from({ length: BATCHES }, (_, index) => index);
  const partials = indexes.map((index) => local.aggregate(fleet.load(index)));
  const partialBytes = partials.reduce((sum, partial) => sum + partial.length, 0);
  const aggregateNs = nsPerPass(minMs, () => {
    let spentMs = 0;
    for (const index of indexes) {
      const batch = fleet.load(index);
      const started = clockMs();
      local.aggregate(batch);
      spentMs += clockMs() - started;
    }
    return spentMs;
  });
  let results = 0;
  let windows = createWindows(core, plan);
  const mergeNs = nsPerPass(minMs, () => {
    const started = clockMs();
    results = 0;
    windows.dispose();
    windows = createWindows(core, plan);
    let watermark = -BigInt(BOUND_US);
    partials.forEach((partial, index) => {
      windows.merge(partial, watermark);
      if (plan.keyClock === undefined) watermark = BigInt((index + 1) * BATCH_EVENTS * STEP_US - BOUND_US);
      results += windows.fire(watermark).length;
    });
    return clockMs() - started;
  });
  const { bytes, groups } = windows.stats();
  const snapshotStarted = clockMs();
  const snapshot = windows.snapshot();
  const snapshotMs = clockMs() - snapshotStarted;
  const restoreStarted = clockMs();
  windows.restore(snapshot);
  const restoreMs = clockMs() - restoreStarted;
  windows.dispose();
  local.dispose();
  fleet.dispose();
  return {
    query: name,
    keys,
    "aggregate M/s": (events * 1_000) / aggregateNs,
    "merge M/s": (events * 1_000) / mergeNs,
    "both M/s": (events * 1_000) / (aggregateNs + mergeNs),
    "bytes/event": partialBytes / events,
    results,
    "fire first ms": "-",
    "fire ms": "-",
    "snapshot ms": snapshotMs,
    "snapshot KiB": snapshot.length / 1_024,
    "restore ms": restoreMs,
    "state B/key": bytes / Math.max(groups, 1),
  };
}

/** `work` says how many ms a pass took. */
function nsPerPass(minMs: number, work: () => number): number {
  work();
  let passes = 0;
  let spentMs = 0;
  while (spentMs < minMs) {
    spentMs += work();
    passes++;
  }
  return (spentMs * 1e6) / passes;
}
