import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createParser } from "../../workers/core/parse.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import type { AggregateName, Output, QueryPlan } from "../../workers/messages.ts";
import { computeWindows, isQuantileWithin, type OracleEvent } from "../support/oracle.ts";
import { ARRIVAL_US, core, makePlan } from "../unit/parse-support.ts";

/** Few rows a group, and no aggregate that needs times: so partials pass rows on, with the texts that a lane's parser keeps. */

const SIZE_US = 1_000_000;
const LATENESS_US = 2 * SIZE_US;
const START_US = ARRIVAL_US - 100 * SIZE_US;
const NAMES = ["count", "sum", "avg", "min", "max", "variance"] as const;
const QUANTILE = 0.5;

const output = (name: string, fn: AggregateName, field: string | null, parameter: number | null): Output => ({
  name,
  fn,
  field,
  parameter,
});
const SELECTS: readonly (readonly Output[])[] = [
  [output("events", "count", null, null), output("count", "count", "v", null)],
  [
    output("events", "count", null, null),
    ...(["count", "sum", "avg", "min", "max"] as const).map((fn) => output(fn, fn, "v", null)),
  ],
  [
    output("events", "count", null, null),
    ...NAMES.map((fn) => output(fn, fn, "v", null)),
    output("middle", "quantile", "v", QUANTILE),
  ],
];

const event = fc.record({
  key: fc
    .integer({ min: 0, max: 40 })
    .map((n) => (n % 7 === 0 ? `a device with a longer name ${n}` : `d${n}`)),
  timeUs: fc.integer({ min: 0, max: 4 * SIZE_US - 1 }).map((us) => START_US + us),
  value: fc.oneof(fc.integer({ min: -50, max: 50 }), fc.constantFrom(0.1, 1e15, -1e15, 3e-7, 1e300)),
});
const batch = fc.record({
  lane: fc.nat(1),
  events: fc.array(event, { minLength: 1, maxLength: 60 }),
  /** In one window, as most batches are. */
  isNarrow: fc.boolean(),
  /** What happens before it: the windows are restored from a snapshot, so that their keys get other numbers. */
  isRestored: fc.boolean(),
  watermark: fc.integer({ min: -1, max: 7 }),
});

test("windows equal the oracle when partials pass rows on, by texts that stay from batch to batch", () => {
  fc.assert(
    fc.property(fc.array(batch, { maxLength: 10 }), fc.constantFrom(...SELECTS), (batches, select) => {
      const plan: QueryPlan = {
        id: 0,
        name: "q",
        stream: "test",
        window: { kind: "tumbling", sizeUs: SIZE_US, offsetUs: 0 },
        latenessUs: LATENESS_US,
        by: [["k"]],
        select,
      };
      const lanes = [0, 1].map(() => ({
        parser: createParser(core, makePlan({ key: ["k"], time: { fields: ["ts"], unit: "us" } })),
        local: createLocal(core, plan),
      }));
      const windows = createWindows(core, plan);
      const counted: OracleEvent[] = [];
      let watermark = -(2n ** 63n);
      for (const { lane, events: drawn, isNarrow, isRestored, watermark: second } of batches) {
        const { parser, local } = lanes[lane]!;
        const events = isNarrow
          ? drawn.map((one) => ({ ...one, timeUs: START_US + (one.timeUs % SIZE_US) }))
          : drawn;
        if (isRestored) windows.restore(windows.snapshot());
        const next = BigInt(START_US + second * SIZE_US);
        if (next > watermark) watermark = next;
        const closed = ({ timeUs }: OracleEvent): boolean =>
          BigInt(Math.floor(timeUs / SIZE_US) * SIZE_US + SIZE_US + LATENESS_US) <= watermark;
        const lines = events.map(({ key, timeUs, value }) =>
          JSON.stringify({ k: key, ts: timeUs, v: value }),
        );
        parser.begin(ARRIVAL_US);
        parser.parse("ndjson", new TextEncoder().encode(`${lines.join("\n")}\n`));
        const rows = parser.finish();
        const { lateGroups, lateCount } = windows.merge(local.aggregate(rows), watermark);
        assert.equal(lateCount, events.filter(closed).length);
        const mask = lateGroups === null ? events.map(() => 0) : [...local.maskLate(rows, lateGroups)];
        assert.deepEqual(
          mask,
          events.map((one) => Number(closed(one))),
        );
        counted.push(...events.filter((one) => !closed(one)));
      }
      const fired = new Map(
        windows
          .fire(BigInt(START_US + 50 * SIZE_US))
          .map((row) => [`${row.startUs} ${(JSON.parse(row.key) as { k: string }).k}`, row]),
      );
      const expected = computeWindows(counted, SIZE_US, 0);
      assert.equal(fired.size, expected.length);
      for (const window of expected) {
        const row = fired.get(`${window.startUs} ${window.key}`);
        assert.ok(row, `no row for ${window.key} at ${window.startUs}`);
        const values = JSON.parse(row.values) as Record<string, number | null>;
        for (const { name } of select) {
          const is = values[name] ?? null;
          if (name === "events") assert.equal(is, window.events);
          else if (name === "middle")
            assert.ok(is !== null && isQuantileWithin(is, window.sorted, QUANTILE, 0.01 + 1e-12));
          else if (name === "variance") assert.ok(isNear(is, window.variance), `${is}, ${window.variance}`);
          else assert.equal(is, window[name as "sum"], name);
        }
      }
      for (const { parser, local } of lanes) {
        parser.dispose();
        local.dispose();
      }
      windows.dispose();
    }),
    { numRuns: 400 },
  );
});

/** What is beyond a double is null in JSON. */
function isNear(is: number | null, should: number | null): boolean {
  if (is === null || should === null || !Number.isFinite(should))
    return is === null && (should === null || !Number.isFinite(should));
  return is === should || Math.abs(is - should) <= Math.abs(should) * 1e-12;
}
