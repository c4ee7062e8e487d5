import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { divideToDouble, ExactSums } from "../support/exact.ts";
import { computeWindows, isQuantileWithin } from "../support/oracle.ts";
import { aggregatePlainly, thinPlainly } from "../support/oracle-aggregates.ts";

/** The yardstick is measured first. */

const whole = fc.bigInt({ min: 1n, max: 2n ** 53n });

test("a quotient of whole numbers is rounded as the processor rounds it", () => {
  fc.assert(fc.property(whole, whole, (a, b) => divideToDouble(a, b) === Number(a) / Number(b)));
});

test("a sum of two doubles is rounded as the processor rounds it", () => {
  const term = fc
    .double({ noNaN: true, min: -1e100, max: 1e100 })
    .filter((x) => x === 0 || Math.abs(x) > 1e-100);
  fc.assert(
    fc.property(term, term, (a, b) => {
      const sums = new ExactSums();
      sums.add(a);
      sums.add(b);
      return sums.sum === a + b || (sums.sum === 0 && a + b === 0);
    }),
  );
});

test("sums do not lose small terms beside large ones", () => {
  const sums = new ExactSums();
  for (const x of [1e16, 1, -1e16, 1e-9]) sums.add(x);
  assert.equal(sums.sum, 1.000000001);
});

test("a window's aggregates, worked out by hand", () => {
  const events = [4, 2, 9].map((value, index) => ({ key: "a", timeUs: -index, value }));
  const [earlier, later] = computeWindows([...events, { key: "a", timeUs: -3, value: null }], 10).toSorted(
    (a, b) => a.startUs - b.startUs,
  );
  assert.deepEqual(
    { ...earlier },
    {
      key: "a",
      startUs: -10,
      endUs: 0,
      events: 3,
      count: 2,
      sum: 11,
      avg: 5.5,
      min: 2,
      max: 9,
      first: 9,
      last: 2,
      variance: 24.5,
      stddev: Math.sqrt(24.5),
      sorted: [2, 9],
    },
  );
  assert.deepEqual([later?.startUs, later?.count, later?.variance], [0, 1, null]);
});

test("a quantile is within its error of a value between the nearest ranks, or it is not", () => {
  const sorted = [100, 200, 300];
  assert.ok(isQuantileWithin(198, sorted, 0.5, 0.01));
  assert.ok(!isQuantileWithin(197.9, sorted, 0.5, 0.01));
  assert.ok(isQuantileWithin(303, sorted, 0.99, 0.01));
  assert.ok(!isQuantileWithin(null, sorted, 0.5, 0.01));
  assert.ok(isQuantileWithin(null, [], 0.5, 0.01));
});

test("a counter, a curve and counts, worked out by hand", () => {
  const events = [9, 4, 6, 6].map((value, index) => ({ timeUs: index * 2_000_000, value }));
  const shuffled = [events[2]!, events[0]!, { timeUs: 1, value: null }, events[3]!, events[1]!];
  // 4 after the reset, then 2.
  assert.equal(aggregatePlainly("rate", shuffled), 1);
  assert.equal(aggregatePlainly("integral", shuffled), 13 + 10 + 12);
  assert.equal(aggregatePlainly("integral", shuffled, { parameter: 1 }), 18 + 8 + 12);
  assert.equal(aggregatePlainly("twa", shuffled), 35 / 6);
  assert.deepEqual(aggregatePlainly("topk", shuffled, { parameter: 2 }), [
    { value: 6, count: 2 },
    { value: 4, count: 1 },
  ]);
  assert.deepEqual(aggregatePlainly("histogram", shuffled, { bounds: [4, 6] }), {
    bounds: [4, 6],
    counts: [0, 1, 3],
  });
  assert.equal(aggregatePlainly("delta", shuffled), -3);
  assert.equal(aggregatePlainly("distinct", shuffled), 3);
});

test("points are thinned out by the coarsest cut that is needed", () => {
  const points = [5, 1, 3, 2, 9, 4].map((value, timeUs) => ({ timeUs, value }));
  assert.deepEqual(
    thinPlainly(points, 6).map(({ kept }) => kept.map(({ value }) => value)),
    [5, 1, 3, 2, 9, 4].map((value) => [value, value, value, value]),
  );
  assert.deepEqual(
    thinPlainly(points, 2).map(({ kept }) => kept.map(({ value }) => value)),
    [
      [5, 2, 1, 5],
      [9, 4, 4, 9],
    ],
  );
});
