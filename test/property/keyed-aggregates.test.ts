import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import type { AggregateName, Output, QueryPlan } from "../../workers/messages.ts";
import { makePlan, withBatch } from "../unit/window-batch.ts";

const core = instantiateCore();
const BEFORE_ALL = -(2n ** 63n);

const of = (fn: AggregateName, field: string, more: Partial<Output> = {}): Output => ({
  name: `${fn}_${field}`,
  fn,
  field,
  parameter: null,
  ...more,
});
const SELECT: readonly Output[] = [
  { name: "n", fn: "count", field: null, parameter: null },
  ...(["count", "sum", "min", "first", "last", "stddev", "delta", "rate", "twa"] as const).map((fn) =>
    of(fn, "v"),
  ),
  of("quantile", "v", { parameter: 0.9 }),
  of("distinct", "v"),
  of("histogram", "v", { bounds: [-2, 0, 3] }),
  ...(["count", "min", "max", "first", "last", "mode", "distinct"] as const).map((fn) => of(fn, "s")),
  of("topk", "s", { parameter: 3 }),
  ...(["any", "all"] as const).map((fn) => of(fn, "b")),
];

interface Sample {
  readonly key: string;
  readonly time: number;
  readonly v: number | null;
  readonly s: string | null;
  readonly b: boolean | null;
}

const sample: fc.Arbitrary<Sample> = fc.record({
  key: fc.constantFrom("a", "b"),
  time: fc.integer({ min: 0, max: 999 }),
  v: fc.option(fc.integer({ min: -5, max: 5 })),
  s: fc.option(fc.constantFrom("ok", "error", "", "a text that is longer than sixteen bytes")),
  b: fc.option(fc.boolean()),
});
const blocks = fc.array(fc.array(sample, { minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 6 });

/** The values by key, once all blocks are merged. */
function valuesOf(
  window: QueryPlan["window"],
  given: readonly (readonly Sample[])[],
): Record<string, string[]> {
  const plan = makePlan({ window, select: SELECT });
  const local = createLocal(core, plan);
  let windows = createWindows(core, plan);
  for (const block of given) {
    const partial = withBatch(
      core,
      {
        times: block.map(({ time }) => BigInt(time)),
        columns: [
          { name: "device", kind: "text", cells: block.map(({ key }) => key) },
          { name: "v", kind: "float", cells: block.map(({ v }) => v) },
          { name: "s", kind: "text", cells: block.map(({ s }) => s) },
          { name: "b", kind: "bool", cells: block.map(({ b }) => b) },
        ],
      },
      (batch) => local.aggregate(batch),
    );
    windows.merge(partial, BEFORE_ALL);
    const state = windows.snapshot();
    windows.dispose();
    windows = createWindows(core, plan);
    windows.restore(state);
  }
  const rows = windows.fire(1_000_000n);
  assert.equal(windows.stats().groups, window.kind === "count" ? windows.stats().keys : 0);
  local.dispose();
  windows.dispose();
  const byKey = Map.groupBy(rows, ({ key }) => key);
  return Object.fromEntries([...byKey].map(([key, found]) => [key, found.map(({ values }) => values)]));
}

test("a session of all events has every aggregate as a tumbling window of them, restarts in between", () => {
  fc.assert(
    fc.property(blocks, (given) => {
      const tumbling = valuesOf({ kind: "tumbling", sizeUs: 1_000, offsetUs: 0 }, given);
      assert.deepEqual(valuesOf({ kind: "session", gapUs: 1_000 }, given), tumbling);
    }),
    { numRuns: 200 },
  );
});

test("a count of one event, and none, have every aggregate as a tumbling window of one event", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(sample, { selector: ({ key, time }) => `${key} ${time}`, maxLength: 12 }),
      (events) => {
        const inOrder = events.toSorted((a, b) => a.time - b.time);
        const alone: Record<string, string[]> = {};
        for (const event of inOrder) {
          const [[key, values] = ["", []]] = Object.entries(
            valuesOf({ kind: "tumbling", sizeUs: 1_000, offsetUs: 0 }, [[event]]),
          );
          alone[key] = [...(alone[key] ?? []), ...values];
        }
        const given = events.length === 0 ? [] : [events];
        assert.deepEqual(valuesOf({ kind: "count", size: 1 }, given), alone);
        assert.deepEqual(valuesOf({ kind: "none" }, given), alone);
      },
    ),
    { numRuns: 100 },
  );
});
