import assert from "node:assert/strict";
import fc from "fast-check";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows, type Windows } from "../../workers/core/window.ts";
import type { QueryPlan, ResultRow } from "../../workers/messages.ts";
import { Captures } from "../support/captures.ts";
import { fireInPortions } from "../support/portions.ts";
import { Random } from "../support/random.ts";
import { makeOutputs, type Rows, withBatch } from "../unit/window-batch.ts";
import { PanesModel, type PanesRow, type PanesSettings } from "./panes-model.ts";
import { aggregateExactly, type ModelEvent, quantileExactly, sortedValues } from "./window-model.ts";

const core = instantiateCore();
const NEVER_US = -(2 ** 53);
export const SECOND_US = 1_000_000;
/** After every event, and exact as a double is not needed: 2286. */
const END_US = 10n ** 16n;
export const RUNS = Number(process.env["MILLRACE_RUNS"] ?? 300);
/** The promised relative error, with a hair for the rounding of the bucket bounds themselves. */
const QUANTILE_ERROR = 0.01 * (1 + 1e-9);
export const SELECT = makeOutputs({
  n: ["count"],
  nv: ["count", "v"],
  sum: ["sum", "v"],
  avg: ["avg", "v"],
  min: ["min", "v"],
  max: ["max", "v"],
  range: ["range", "v"],
  first: ["first", "v"],
  last: ["last", "v"],
  variance: ["variance", "v"],
  stddev: ["stddev", "v"],
  q50: ["quantile", "v", 0.5],
});

/** Whole and measured numbers, none, and some whose sums need hundreds of digits. */
const value: fc.Arbitrary<number | null> = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: -5_000, max: 5_000 }).map((x) => x / 100 + 0) },
  { weight: 1, arbitrary: fc.constantFrom(1e300, -1e300, 1e16, 1, 1e-130, 0.1, null) },
);
/** Seconds around the epoch, and times in between. */
const second = fc.integer({ min: -40, max: 60 }).map((x) => x * SECOND_US);
export const timeAroundEpoch = fc.oneof(
  second,
  fc.integer({ min: -40e6, max: 60e6 }),
  second.map((x) => x - 1),
);

/** Logs of events at such times, under watermarks that are so far behind the greatest. */
export function logsOf(
  timeUs: fc.Arbitrary<number>,
  bounds: readonly number[],
): fc.Arbitrary<readonly Block[]> {
  const event: fc.Arbitrary<ModelEvent> = fc.record({
    timeUs,
    key: fc.constantFrom("a", "b", "c", "ü", ""),
    value,
  });
  const block = fc.record({
    batches: fc.array(fc.record({ worker: fc.nat(2), events: fc.array(event, { maxLength: 15 }) }), {
      maxLength: 3,
    }),
    boundUs: fc.constantFrom(...bounds),
    isRestored: fc.boolean(),
  });
  return fc.array(block, { maxLength: 10, size: "max" });
}

/** One block of the log: each worker's events, under one watermark. */
export interface Block {
  readonly batches: readonly { readonly worker: number; readonly events: readonly ModelEvent[] }[];
  readonly boundUs: number;
  /** Whether the windows go through a snapshot after it. */
  readonly isRestored: boolean;
}

function rowsOf(events: readonly ModelEvent[]): Rows {
  return {
    times: events.map(({ timeUs }) => BigInt(timeUs)),
    columns: [
      { name: "device", kind: "text", cells: events.map(({ key }) => key) },
      { name: "v", kind: "float", cells: events.map((item) => item.value) },
    ],
  };
}

function assertRows(actual: readonly ResultRow[], expected: readonly PanesRow[]): void {
  const brief = ({ startUs, endUs, revision, kind }: PanesRow | ResultRow, key: string): string =>
    `${startUs} ${endUs} ${key} ${revision} ${kind}`;
  const found = new Map(
    actual.map((row) => [brief(row, (JSON.parse(row.key) as { device: string }).device), row]),
  );
  assert.deepEqual([...found.keys()].toSorted(), expected.map((row) => brief(row, row.key)).toSorted());
  assert.equal(found.size, actual.length);
  for (const row of expected) {
    assertValues(JSON.parse(found.get(brief(row, row.key))!.values) as Values, row.events);
  }
}

type Values = Record<string, number | null>;

function assertValues(values: Values, events: readonly ModelEvent[]): void {
  for (const [name, expected] of Object.entries(aggregateExactly(events))) {
    assert.equal(values[name], expected, name);
  }
  const sorted = sortedValues(events);
  const median = values["q50"] ?? null;
  if (sorted.length === 0) assert.equal(median, null);
  else {
    const truth = quantileExactly(sorted, 0.5);
    assert.ok(Math.abs(median! - truth) <= Math.abs(truth) * QUANTILE_ERROR, `median ${median} for ${truth}`);
  }
}

/** Runs the blocks through the core and the model, while the state is captured in pieces. */
export function compare(plan: QueryPlan, settings: PanesSettings, log: readonly Block[]): void {
  const locals = [0, 1, 2].map(() => createLocal(core, plan));
  const open = (): Windows => createWindows(core, plan);
  let windows: Windows = open();
  // A function of the log, so that a failure can be repeated and made smaller.
  const random = new Random(log.length + log.reduce((sum, { batches }) => sum + batches.length, 0));
  let captures = new Captures(windows, open, random);
  const model = new PanesModel(settings);
  let watermarkUs = NEVER_US;
  let portion = 0;
  for (const { batches, boundUs, isRestored } of log) {
    for (const { worker, events } of batches) {
      withBatch(core, rowsOf(events), (batch) => {
        const local = locals[worker]!;
        const { lateGroups } = windows.merge(local.aggregate(batch), BigInt(watermarkUs));
        const late = model.merge(events, watermarkUs);
        const mask = lateGroups === null ? events.map(() => 0) : [...local.maskLate(batch, lateGroups)];
        assert.deepEqual(
          mask,
          events.map((item) => (late.includes(item) ? 1 : 0)),
        );
      });
    }
    captures.turn();
    const times = batches.flatMap(({ events }) => events.map(({ timeUs }) => timeUs));
    watermarkUs = Math.max(watermarkUs, Math.max(NEVER_US, ...times) - boundUs);
    portion++;
    assertRows(fireInPortions(windows, BigInt(watermarkUs), portion), model.fire(watermarkUs));
    const lastEnd = windows.lastEndUs();
    const modelEnd = model.lastEndUs;
    assert.equal(lastEnd === null ? null : Number(lastEnd), modelEnd);
    captures.turn();
    if (!isRestored) continue;
    if (random.chance(0.5)) {
      windows = captures.replace();
    } else {
      const snapshot = windows.snapshot();
      windows.dispose();
      windows = open();
      windows.restore(snapshot);
      assert.deepEqual(windows.snapshot(), snapshot);
    }
    captures = new Captures(windows, open, random);
  }
  assertRows(windows.fire(END_US), model.fire(Number(END_US)));
  windows.capture.end("dropped");
  assert.deepEqual({ ...windows.stats(), bytes: 0 }, { keys: 0, panes: 0, groups: 0, bytes: 0 });
  for (const engine of [...locals, windows]) engine.dispose();
}
