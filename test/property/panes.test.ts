import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows, type Windows } from "../../workers/core/window.ts";
import type { QueryPlan, ResultRow } from "../../workers/messages.ts";
import { makeOutputs, makePlan, type Rows, withBatch } from "../unit/window-batch.ts";
import { PanesModel, type PanesRow, type PanesSettings, slidingSpans } from "./panes-model.ts";
import { aggregateExactly, type ModelEvent, quantileExactly, sortedValues } from "./window-model.ts";

const core = instantiateCore();
const NEVER_US = -(2 ** 53);
const SECOND_US = 1_000_000;
const END_US = 10n ** 15n;
const RUNS = Number(process.env["MILLRACE_RUNS"] ?? 300);
/** The promised relative error, with a hair for the rounding of the bucket bounds themselves. */
const QUANTILE_ERROR = 0.01 * (1 + 1e-9);
const SELECT = makeOutputs({
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
const second = fc.integer({ min: -40, max: 60 }).map((x) => x * SECOND_US);
const event: fc.Arbitrary<ModelEvent> = fc.record({
  timeUs: fc.oneof(
    second,
    fc.integer({ min: -40e6, max: 60e6 }),
    second.map((x) => x - 1),
  ),
  key: fc.constantFrom("a", "b", "c", "ü", ""),
  value,
});
/** One block of the log: each worker's events, under one watermark. */
const block = fc.record({
  batches: fc.array(fc.record({ worker: fc.nat(2), events: fc.array(event, { maxLength: 15 }) }), {
    maxLength: 3,
  }),
  boundUs: fc.constantFrom(0, 2 * SECOND_US, 20 * SECOND_US, 1_000 * SECOND_US),
  isRestored: fc.boolean(),
});
const blocks = fc.array(block, { maxLength: 10, size: "max" });
const latenessUs = fc.constantFrom(0, 1, 5 * SECOND_US, 100 * SECOND_US);
const earlyUs = fc.constantFrom(0, 0, SECOND_US, 7 * SECOND_US);
const offsetUs = fc.constantFrom(0, 3 * SECOND_US, -500_000);

type Block = typeof block extends fc.Arbitrary<infer T> ? T : never;

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

/** Runs the blocks through the core and the model. */
function compare(plan: QueryPlan, settings: PanesSettings, log: readonly Block[]): void {
  const locals = [0, 1, 2].map(() => createLocal(core, plan));
  let windows: Windows = createWindows(core, plan);
  const model = new PanesModel(settings);
  let watermarkUs = NEVER_US;
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
    const times = batches.flatMap(({ events }) => events.map(({ timeUs }) => timeUs));
    watermarkUs = Math.max(watermarkUs, Math.max(NEVER_US, ...times) - boundUs);
    assertRows(windows.fire(BigInt(watermarkUs)), model.fire(watermarkUs));
    const lastEnd = windows.lastEndUs();
    const modelEnd = model.lastEndUs;
    assert.equal(lastEnd === null ? null : Number(lastEnd), modelEnd);
    if (!isRestored) continue;
    const snapshot = windows.snapshot();
    windows.dispose();
    windows = createWindows(core, plan);
    windows.restore(snapshot);
    assert.deepEqual(windows.snapshot(), snapshot);
  }
  assertRows(windows.fire(END_US), model.fire(Number(END_US)));
  assert.deepEqual({ ...windows.stats(), bytes: 0 }, { keys: 0, panes: 0, groups: 0, bytes: 0 });
  for (const engine of [...locals, windows]) engine.dispose();
}

test("sliding windows equal the plain model, whatever the batches, workers, lateness and restarts", () => {
  const shape = fc
    .tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 20 }))
    .filter(([size, every]) => size > every)
    .map(([size, every]) => ({ sizeUs: size * SECOND_US, everyUs: every * SECOND_US }));
  fc.assert(
    fc.property(
      shape,
      offsetUs,
      latenessUs,
      earlyUs,
      blocks,
      ({ sizeUs, everyUs }, offset, lateness, early, log) => {
        const plan = makePlan({
          window: { kind: "sliding", sizeUs, everyUs, offsetUs: offset },
          latenessUs: lateness,
          earlyUs: early,
          select: SELECT,
        });
        compare(
          plan,
          { windowsOf: slidingSpans(sizeUs, everyUs, offset), latenessUs: lateness, earlyUs: early },
          log,
        );
      },
    ),
    { numRuns: RUNS },
  );
});

test("sliding windows of many slices equal the plain model", () => {
  fc.assert(
    fc.property(
      fc.constantFrom([90, 100_000], [30, 62_500], [64, 1_000_000], [7, 13_000]),
      latenessUs,
      blocks,
      (shape, lateness, log) => {
        const [seconds, everyUs] = shape as [number, number];
        const sizeUs = seconds * SECOND_US;
        const plan = makePlan({
          window: { kind: "sliding", sizeUs, everyUs, offsetUs: 0 },
          latenessUs: lateness,
          select: SELECT,
        });
        // Each event is in a thousand windows: a few are enough.
        const few = log.slice(0, 3).map((item) => ({
          ...item,
          batches: item.batches.map(({ worker, events }) => ({ worker, events: events.slice(0, 2) })),
        }));
        compare(plan, { windowsOf: slidingSpans(sizeUs, everyUs, 0), latenessUs: lateness, earlyUs: 0 }, few);
      },
    ),
    { numRuns: Math.ceil(RUNS / 20) },
  );
});

test("tumbling windows with early results equal the plain model", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 7, 10),
      offsetUs,
      latenessUs,
      earlyUs,
      blocks,
      (size, offset, lateness, early, log) => {
        const sizeUs = size * SECOND_US;
        const plan = makePlan({
          window: { kind: "tumbling", sizeUs, offsetUs: offset },
          latenessUs: lateness,
          earlyUs: early,
          select: SELECT,
        });
        compare(
          plan,
          { windowsOf: slidingSpans(sizeUs, sizeUs, offset), latenessUs: lateness, earlyUs: early },
          log,
        );
      },
    ),
    { numRuns: RUNS },
  );
});
