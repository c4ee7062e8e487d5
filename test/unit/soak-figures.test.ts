import assert from "node:assert/strict";
import { test } from "node:test";
import { greatest, slopePerHour, stallsOf } from "../../bench/support/soak-figures.ts";

test("the slope of what grows evenly is its growth in an hour", () => {
  const minute = 60_000;
  const points = [0, 1, 2, 5, 9].map((at) => [at * minute, 100 + at * 2] as const);
  assert.equal(Math.round(slopePerHour(points)), 120);
  const swinging = [0, 1, 2, 3].map((at) => [at * minute, at % 3 === 0 ? 10 : 20] as const);
  assert.equal(Math.round(slopePerHour(swinging)), 0);
  assert.ok(Number.isNaN(slopePerHour([[0, 1]])));
  assert.ok(Number.isNaN(slopePerHour([])));
});

test("waits that follow each other are one stall, in the order in which bodies were due", () => {
  const body = (dueMs: number, waitedMs: number) => [dueMs, dueMs + waitedMs, 0] as const;
  assert.deepEqual(stallsOf([], 100), []);
  const sent = [body(30, 110), body(10, 150), body(0, 5), body(20, 130), body(40, 100), body(50, 101)];
  assert.deepEqual(stallsOf(sent, 100), [
    { fromMs: 10, longestMs: 150, bodies: 3 },
    { fromMs: 50, longestMs: 101, bodies: 1 },
  ]);
});

test("the greatest of more values than a call takes", () => {
  const values = Array.from({ length: 500_000 }, (_, at) => at % 1_000);
  assert.equal(greatest(values), 999);
  assert.ok(Number.isNaN(greatest([])));
});
