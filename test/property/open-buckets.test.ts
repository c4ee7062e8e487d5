import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createParser } from "../../workers/core/parse.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import type { Output, QueryPlan } from "../../workers/messages.ts";
import { isQuantileWithin } from "../support/oracle.ts";
import { ARRIVAL_US, core, makePlan } from "../unit/parse-support.ts";

/** Values that stay in a few buckets of a sketch, and leave them: those are counted in the record, the rest beside it. */

const QUANTILES = [0, 0.25, 0.5, 0.99, 1];
const plan: QueryPlan = {
  id: 0,
  name: "q",
  stream: "test",
  window: { kind: "tumbling", sizeUs: 1_000_000, offsetUs: 0 },
  latenessUs: 0,
  by: [["k"]],
  select: QUANTILES.map((parameter, i): Output => ({ name: `q${i}`, fn: "quantile", field: "v", parameter })),
};
const START_US = ARRIVAL_US - (ARRIVAL_US % 1_000_000);

const near = fc.constantFrom(0, 0, 20, 20.1, 20.6, 21.2, -3, 1e-9, 5e300);
const value = fc.oneof({ weight: 8, arbitrary: near }, fc.double({ min: -1e6, max: 1e6, noNaN: true }));
/** Values of one or two keys, each of them several times. */
const run = fc.record({
  key: fc.constantFrom("a", "b"),
  value: value.map((x) => x + 0),
  times: fc.integer({ min: 1, max: 12 }),
});

function snapshotOf(
  events: readonly { key: string; value: number }[],
  size: number,
): { bytes: Uint8Array; rows: Map<string, Record<string, number>> } {
  const parser = createParser(core, makePlan({ key: ["k"], time: { fields: ["ts"], unit: "us" } }));
  const local = createLocal(core, plan);
  let windows = createWindows(core, plan);
  for (let from = 0; from < events.length; from += size) {
    const lines = events
      .slice(from, from + size)
      .map((one) => JSON.stringify({ k: one.key, ts: START_US, v: one.value }));
    parser.begin(ARRIVAL_US);
    parser.parse("ndjson", new TextEncoder().encode(`${lines.join("\n")}\n`));
    windows.merge(local.aggregate(parser.finish()), 0n);
    if (from % 3 !== 1) continue;
    const again = createWindows(core, plan);
    again.restore(windows.snapshot());
    windows.dispose();
    windows = again;
  }
  const bytes = windows.snapshot();
  const before = windows.stats().bytes;
  const fired = windows.fire(BigInt(START_US + 1_000_000));
  assert.ok(
    windows.stats().bytes <= before,
    "what a quantile needs while it is read is in no window's memory",
  );
  const rows = new Map(
    fired.map((row) => [
      (JSON.parse(row.key) as { k: string }).k,
      JSON.parse(row.values) as Record<string, number>,
    ]),
  );
  for (const each of [parser, local, windows]) each.dispose();
  return { bytes, rows };
}

test("a sketch is the same however its values come, and its quantiles are within 1 %", () => {
  fc.assert(
    fc.property(
      fc.array(run, { minLength: 1, maxLength: 60, size: "max" }),
      fc.integer({ min: 1, max: 9 }),
      (runs, size) => {
        const events = runs.flatMap(({ times, ...one }) => Array.from({ length: times }, () => one));
        const whole = snapshotOf(events, events.length);
        const parts = snapshotOf(events, size);
        const sorted = snapshotOf(
          events.toSorted((a, b) => a.value - b.value || (a.key < b.key ? -1 : 1)),
          size,
        );
        assert.deepEqual(parts.bytes, whole.bytes);
        assert.deepEqual(sorted.bytes, whole.bytes);
        assert.deepEqual(parts.rows, whole.rows);
        for (const [key, values] of whole.rows) {
          const own = events.filter((one) => one.key === key).map((one) => one.value);
          own.sort((a, b) => a - b);
          for (const [i, q] of QUANTILES.entries())
            assert.ok(
              isQuantileWithin(values[`q${i}`]!, own, q, 0.01 + 1e-12),
              `quantile ${q} of ${own.length}`,
            );
        }
      },
    ),
    { numRuns: 300 },
  );
});
