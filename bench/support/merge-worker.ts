import { Random } from "../../test/support/random.ts";
import { makeOutputs, makePlan } from "../../test/unit/window-batch.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import { receiveOptions, report } from "./child.ts";
import { makeFleetBatches } from "./fleet-batches.ts";

/** A process that merges partials of a share of the keys, as a window worker would that owned them. */

export interface MergeOptions {
  /** How many such processes share the work. */
  readonly of: number;
  readonly keys: number;
  /** Of a whole batch. */
  readonly eventsPerBatch: number;
  readonly measureMs: number;
}

export type MergeMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "done"; readonly events: number; readonly cpuMs: number; readonly elapsedMs: number };

const BATCHES = 50;
const NEVER = -(2n ** 63n);

const { of, keys, eventsPerBatch, measureMs } = await receiveOptions<MergeOptions>();
const core = instantiateCore();
const plan = makePlan({
  // That of the node's bench.
  select: makeOutputs({
    n: ["count"],
    mean: ["avg", "temp"],
    low: ["min", "temp"],
    high: ["max", "temp"],
    p99: ["quantile", "temp", 0.99],
  }),
  window: { kind: "tumbling", sizeUs: 3_600_000_000, offsetUs: 0 },
});
const random = new Random(3);
const events = Math.ceil(eventsPerBatch / of);
const fleet = makeFleetBatches(
  core,
  { keys: Math.max(1, Math.ceil(keys / of)), events, batches: BATCHES, fields: ["temp"] },
  () => random.next(),
);
const local = createLocal(core, plan);
const windows = createWindows(core, plan);
const partials = Array.from({ length: BATCHES }, (_, index) => local.aggregate(fleet.load(index)));
const mergeAll = (): void => {
  for (const partial of partials) windows.merge(partial, NEVER);
};
mergeAll();
const begin = new Promise<void>((resolve) => process.once("message", () => resolve()));
await report({ kind: "ready" } satisfies MergeMessage);
await begin;
const cpuBefore = process.cpuUsage();
const startedMs = performance.now();
let merged = 0;
while (performance.now() - startedMs < measureMs) {
  mergeAll();
  merged += BATCHES * events;
}
const elapsedMs = performance.now() - startedMs;
const cpu = process.cpuUsage(cpuBefore);
await report({
  kind: "done",
  events: merged,
  cpuMs: (cpu.user + cpu.system) / 1_000,
  elapsedMs,
} satisfies MergeMessage);
process.disconnect();
