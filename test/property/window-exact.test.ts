import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../../workers/core/window.ts";
import type { QueryPlan, ResultRow } from "../../workers/messages.ts";
import { makeOutputs, makePlan, type Rows, withBatch } from "../unit/window-batch.ts";
import {
  aggregateExactly,
  type ModelEvent,
  type ModelRow,
  type ModelSettings,
  quantileExactly,
  sortedValues,
  WindowModel,
} from "./window-model.ts";

const core = instantiateCore();
const NEVER_US = -(2 ** 53);
const END_US = 10n ** 15n;
const QUANTILES = { q0: 0, q10: 0.1, q50: 0.5, q99: 0.99, q100: 1 } as const;
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
  q0: ["quantile", "v", QUANTILES.q0],
  q10: ["quantile", "v", QUANTILES.q10],
  q50: ["quantile", "v", QUANTILES.q50],
  q99: ["quantile", "v", QUANTILES.q99],
  q100: ["quantile", "v", QUANTILES.q100],
});

/** Measured values, whole numbers, and numbers of every size: sums of the last need hundreds of digits. */
const value: fc.Arbitrary<number | null> = fc
  .oneof(
    { weight: 4, arbitrary: fc.integer({ min: -5_000, max: 5_000 }).map((x) => x / 100) },
    { weight: 2, arbitrary: fc.integer({ min: -100, max: 100 }) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(1e300, -1e300, 1e16, 1, -1, 1e-130, -1e-130, 0.1, 2 ** 900, -(2 ** 900)),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.double({ min: -10, max: 10, noNaN: true }), fc.integer({ min: -130, max: 290 }))
        .map(([m, e]) => (Math.abs(m) < 1e-3 ? m : m * 10 ** e)),
    },
    { weight: 1, arbitrary: fc.constant(null) },
  )
  // Smaller ones have variances below the least normal double. + 0 makes −0 plain: JSON has one zero.
  .map((x) => (x === null || (x !== 0 && Math.abs(x) < 1e-130) ? null : x + 0));

const event: fc.Arbitrary<ModelEvent> = fc.record({
  timeUs: fc.integer({ min: -30, max: 60 }).map((second) => second * 1_000_000),
  key: fc.constantFrom("a", "b", "c", 'ä"\\', ""),
  value,
});

const settings: fc.Arbitrary<ModelSettings> = fc.record({
  sizeUs: fc.constantFrom(1_000_000, 7_000_000, 10_000_000),
  offsetUs: fc.constantFrom(0, 3_000_000, -500_000),
  latenessUs: fc.constantFrom(0, 1, 5_000_000, 100_000_000),
});

/** One block of the log: each worker's events, under one watermark. */
const block = fc.record({
  batches: fc.array(fc.record({ worker: fc.nat(2), events: fc.array(event, { maxLength: 20 }) }), {
    maxLength: 3,
  }),
  boundUs: fc.constantFrom(0, 2_000_000, 20_000_000, 1_000_000_000),
  isRestored: fc.boolean(),
});

function rowsOf(events: readonly ModelEvent[]): Rows {
  const values = events.map((item) => item.value);
  const isWhole = values.every((item) => item === null || Number.isSafeInteger(item));
  return {
    times: events.map(({ timeUs }) => BigInt(timeUs)),
    columns: [
      { name: "device", kind: "text", cells: events.map(({ key }) => key) },
      { name: "v", kind: isWhole ? "int" : "float", cells: values },
    ],
  };
}

function deviceOf(row: ResultRow): string {
  return (JSON.parse(row.key) as { device: string }).device;
}

function assertRows(actual: readonly ResultRow[], expected: readonly ModelRow[]): void {
  assert.equal(actual.length, expected.length);
  for (const { events, key, ...head } of expected) {
    const found = actual.filter((row) => row.startUs === head.startUs && deviceOf(row) === key);
    assert.equal(found.length, 1);
    const { startUs, endUs, revision, kind, values } = found[0]!;
    assert.deepEqual({ startUs, endUs, revision, kind }, head);
    assertValues(JSON.parse(values) as Record<string, number | null>, events);
  }
}

function assertValues(values: Record<string, number | null>, events: readonly ModelEvent[]): void {
  for (const [name, expected] of Object.entries(aggregateExactly(events))) {
    assert.equal(values[name], expected, name);
  }
  const sorted = sortedValues(events);
  for (const [name, q] of Object.entries(QUANTILES)) {
    if (sorted.length === 0) assert.equal(values[name], null);
    else assertQuantile(values[name], sorted, q);
  }
}

function assertQuantile(answer: number | null | undefined, sorted: readonly number[], q: number): void {
  const truth = quantileExactly(sorted, q);
  const isNear = typeof answer === "number" && Math.abs(answer - truth) <= Math.abs(truth) * QUANTILE_ERROR;
  assert.ok(isNear, `quantile ${q}: ${answer} for ${truth}`);
}

function withEngines(
  plan: QueryPlan,
  use: (locals: readonly LocalAggregator[], createFresh: () => Windows) => void,
): void {
  const locals = [0, 1, 2].map(() => createLocal(core, plan));
  const made: Windows[] = [];
  try {
    use(locals, () => {
      const windows = createWindows(core, plan);
      made.push(windows);
      return windows;
    });
  } finally {
    for (const engine of [...locals, ...made]) engine.dispose();
  }
}

test("windows equal the plain model, event by event, whatever the batches, workers and restarts", () => {
  fc.assert(
    fc.property(settings, fc.array(block, { maxLength: 12, size: "max" }), (chosen, blocks) => {
      const plan = makePlan({
        window: { kind: "tumbling", sizeUs: chosen.sizeUs, offsetUs: chosen.offsetUs },
        latenessUs: chosen.latenessUs,
        select: SELECT,
      });
      withEngines(plan, (locals, createFresh) => {
        let windows = createFresh();
        const model = new WindowModel(chosen);
        let watermarkUs = NEVER_US;
        for (const { batches, boundUs, isRestored } of blocks) {
          for (const { worker, events } of batches) {
            const local = locals[worker]!;
            withBatch(core, rowsOf(events), (batch) => {
              const { lateGroups, lateCount } = windows.merge(local.aggregate(batch), BigInt(watermarkUs));
              const late = model.merge(events, watermarkUs);
              assert.equal(lateCount, late.length);
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
          assert.equal(windows.stats().groups, model.groupCount);
          if (!isRestored) continue;
          const snapshot = windows.snapshot();
          windows = createFresh();
          windows.restore(snapshot);
          assert.deepEqual(windows.snapshot(), snapshot);
        }
        assertRows(windows.fire(END_US), model.fire(Number(END_US)));
        assert.deepEqual({ ...windows.stats(), bytes: 0 }, { keys: 0, panes: 0, groups: 0, bytes: 0 });
      });
    }),
    { numRuns: 300 },
  );
});

for (const output of SELECT) {
  test(`${output.name}: merging partials is aggregating their union, to the last bit of the state`, () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(event, { maxLength: 60, size: "max" }), { maxLength: 5, size: "max" }),
        fc.boolean(),
        (parts, isReversed) => {
          withEngines(makePlan({ select: [output] }), (locals, createFresh) => {
            const whole = createFresh();
            const split = createFresh();
            const all = parts.flat();
            withBatch(core, rowsOf(isReversed ? all.toReversed() : all), (batch) => {
              whole.merge(locals[0]!.aggregate(batch), BigInt(NEVER_US));
            });
            parts.forEach((events, index) => {
              withBatch(core, rowsOf(events), (batch) => {
                split.merge(locals[index % 3]!.aggregate(batch), BigInt(NEVER_US));
              });
            });
            assert.deepEqual(split.snapshot(), whole.snapshot());
            assert.deepEqual(sortRows(split.fire(END_US)), sortRows(whole.fire(END_US)));
          });
        },
      ),
      { numRuns: 60 },
    );
  });
}

function sortRows(rows: readonly ResultRow[]): ResultRow[] {
  return rows.toSorted((a, b) => a.startUs - b.startUs || (a.key < b.key ? -1 : 1));
}

test("quantiles of large groups are within 1 %, of both signs and over 16 orders of magnitude", () => {
  const wide = fc
    .tuple(
      fc.double({ min: 1, max: 10, noNaN: true, maxExcluded: true }),
      fc.integer({ min: -8, max: 8 }),
      fc.constantFrom(1, -1),
    )
    .map(([m, e, sign]) => sign * m * 10 ** e);
  fc.assert(
    fc.property(
      fc.array(wide, { minLength: 1, maxLength: 1_500, size: "max" }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (values, q) => {
        const plan = makePlan({ by: [], select: makeOutputs({ q: ["quantile", "v", q] }) });
        withEngines(plan, ([local], createFresh) => {
          const windows = createFresh();
          const rows: Rows = {
            times: values.map(() => 0n),
            columns: [{ name: "v", kind: "float", cells: values }],
          };
          withBatch(core, rows, (batch) => windows.merge(local!.aggregate(batch), BigInt(NEVER_US)));
          const answer = (JSON.parse(windows.fire(END_US)[0]!.values) as { q: number }).q;
          assertQuantile(
            answer,
            values.toSorted((a, b) => a - b),
            q,
          );
        });
      },
    ),
    { numRuns: 60 },
  );
});
