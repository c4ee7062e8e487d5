import assert from "node:assert/strict";
import { test } from "node:test";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import type { Output } from "../../workers/messages.ts";
import { type ColumnKind, makeOutputs, makePlan, type Rows, withBatch } from "./window-batch.ts";

const core = instantiateCore();
type Values = Record<string, number | string | null>;
type Cells = Rows["columns"][number]["cells"];

/** The aggregates of a column's values, sent in parts of the given size (default: all at once). */
function aggregate(
  cells: Cells,
  outputs: Readonly<Record<string, readonly [Output["fn"], number?]>>,
  { kind = "float", partSize = cells.length }: { kind?: ColumnKind; partSize?: number } = {},
): Values {
  const select = makeOutputs(
    Object.fromEntries(
      Object.entries(outputs).map(([name, [fn, parameter]]) => [name, [fn, "v", parameter]] as const),
    ),
  );
  const plan = makePlan({ by: [], select });
  const local = createLocal(core, plan);
  const windows = createWindows(core, plan);
  for (let from = 0; from < cells.length; from += partSize) {
    const part = cells.slice(from, from + partSize);
    const rows: Rows = {
      times: part.map((_, index) => BigInt(from + index)),
      columns: [{ name: "v", kind, cells: part }],
    };
    withBatch(core, rows, (batch) => windows.merge(local.aggregate(batch), 0n));
  }
  const [row] = windows.fire(2n ** 60n);
  local.dispose();
  windows.dispose();
  return JSON.parse(row!.values) as Values;
}

test("a sum is exact before it is rounded, however large and small terms cancel", () => {
  const cells = [1e300, 1, 1e-300, -1e300, 0.1, -1, 1e16, 1, -1e16];
  for (const partSize of [1, 2, 4, 9]) {
    assert.deepEqual(aggregate(cells, { s: ["sum"] }, { partSize }), { s: 1.1 });
  }
});

test("a sum that passes beyond the doubles and back is right; one that stays there is null", () => {
  const huge = Number.MAX_VALUE;
  assert.deepEqual(aggregate([huge, huge, -huge, 1], { s: ["sum"], m: ["avg"] }), { s: huge, m: huge / 4 });
  assert.deepEqual(aggregate([huge, huge], { s: ["sum"], m: ["avg"] }), { s: null, m: huge });
});

test("ten thousand tenths are a thousand", () => {
  const cells = Array.from({ length: 10_000 }, () => 0.1);
  assert.deepEqual(aggregate(cells, { s: ["sum"], m: ["avg"], v: ["variance"] }, { partSize: 777 }), {
    s: 1000,
    m: 0.1,
    v: 0,
  });
});

test("the variance of close values far from zero keeps its digits", () => {
  const cells = [1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16];
  for (const partSize of [1, 4]) {
    assert.deepEqual(aggregate(cells, { v: ["variance"], d: ["stddev"] }, { partSize }), {
      v: 30,
      d: Math.sqrt(30),
    });
  }
  assert.deepEqual(aggregate([1e200, 1e200, 1e200], { v: ["variance"] }), { v: 0 });
  assert.deepEqual(aggregate([3e-170, 1e-170], { m: ["avg"] }), { m: 2e-170 });
});

test("no values: counts are 0, the rest is null; one value: no variance", () => {
  const outputs = {
    n: ["count"],
    s: ["sum"],
    lo: ["min"],
    f: ["first"],
    r: ["range"],
    v: ["variance"],
    d: ["stddev"],
    q: ["quantile", 0.5],
  } as const;
  const nothing = { n: 0, s: null, lo: null, f: null, r: null, v: null, d: null, q: null };
  assert.deepEqual(aggregate([null, null], outputs), nothing);
  assert.deepEqual(aggregate([5], outputs), { n: 1, s: 5, lo: 5, f: 5, r: 0, v: null, d: null, q: 5 });
  assert.deepEqual(aggregate(["x", null, "y"], outputs, { kind: "text" }), {
    ...nothing,
    n: 2,
    lo: "x",
    f: "x",
  });
});

test("bools are 0 and 1; ints are taken as doubles", () => {
  assert.deepEqual(aggregate([true, false, null, true], { m: ["avg"], n: ["count"] }, { kind: "bool" }), {
    m: 2 / 3,
    n: 3,
  });
  assert.deepEqual(aggregate([2n ** 53n + 1n, -1n], { hi: ["max"], lo: ["min"] }, { kind: "int" }), {
    hi: 2 ** 53,
    lo: -1,
  });
});

test("infinities and NaN count as values but are no numbers; −0 is 0", () => {
  const outputs = { n: ["count"], s: ["sum"], lo: ["min"], q: ["quantile", 0] } as const;
  assert.deepEqual(aggregate([Number.NaN, 1, Number.POSITIVE_INFINITY, -0, null], outputs), {
    n: 4,
    s: 1,
    lo: 0,
    q: 0,
  });
});

test("of equal times, first takes the smallest value and last the largest", () => {
  const plan = makePlan({ by: [], select: makeOutputs({ f: ["first", "v"], l: ["last", "v"] }) });
  const local = createLocal(core, plan);
  const windows = createWindows(core, plan);
  const rows: Rows = {
    times: [5n, 5n, 1n, 1n, 9n, 9n, 9n, 4n],
    columns: [{ name: "v", kind: "int", cells: [100, -100, 3, 2, 7, 9, 8, 1000] }],
  };
  withBatch(core, rows, (batch) => windows.merge(local.aggregate(batch), 0n));
  assert.equal(windows.fire(2n ** 60n)[0]!.values, '{"f":2,"l":9}');
});

test("quantiles of ten thousand values are within 1 %, in one part or many", () => {
  const cells = Array.from({ length: 10_000 }, (_, i) => ((i * 7_919) % 10_000) / 100 + 0.01);
  const outputs = { p1: ["quantile", 0.01], p50: ["quantile", 0.5], p999: ["quantile", 0.999] } as const;
  const answers = aggregate(cells, outputs);
  assert.deepEqual(aggregate(cells, outputs, { partSize: 3 }), answers);
  for (const [name, truth] of Object.entries({ p1: 1, p50: 50, p999: 99.9 })) {
    assert.ok(
      Math.abs(Number(answers[name]) - truth) <= truth * 0.0101,
      `${name}: ${answers[name]} for ${truth}`,
    );
  }
});

test("a sketch of more than 2,048 buckets loses only the lowest, in any order", () => {
  const cells = Array.from({ length: 4_000 }, (_, i) => 1.03 ** (i - 2_000));
  const outputs = { p10: ["quantile", 0.1], p60: ["quantile", 0.6], p100: ["quantile", 1] } as const;
  const answers = aggregate(cells, outputs);
  for (const [name, q] of Object.entries({ p60: 0.6, p100: 1 })) {
    const truth = cells[Math.floor(q * 3_999)]!;
    assert.ok(
      Math.abs(Number(answers[name]) - truth) <= truth * 0.0101,
      `${name}: ${answers[name]} for ${truth}`,
    );
  }
  assert.ok(Number(answers.p10) < cells[2_100]!);
  assert.deepEqual(aggregate(cells.toReversed(), outputs, { partSize: 100 }), answers);
});

test("numbers are written in their shortest form", () => {
  assert.equal(Object.is(aggregate([0.1 + 0.2], { s: ["sum"] }).s, 0.1 + 0.2), true);
  assert.deepEqual(aggregate([1e21, 0], { hi: ["max"], lo: ["min"] }), { hi: 1e21, lo: 0 });
});
