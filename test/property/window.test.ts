import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows, type LocalAggregator } from "../../workers/core/window.ts";
import type { AggregateName, Output, QueryPlan, ResultRow } from "../../workers/messages.ts";
import { computeWindows, isQuantileWithin, type OracleEvent, type OracleWindow } from "../support/oracle.ts";

const core = instantiateCore();
const SIZE_US = 1_000_000;
const OFFSET_US = 250_000;
const BEFORE_ALL = -(2n ** 63n);
const QUANTILES = [0, 0.25, 0.5, 0.99, 1];

const output = (
  name: string,
  fn: AggregateName,
  field: string | null,
  parameter: number | null = null,
): Output => ({
  name,
  fn,
  field,
  parameter,
});
const plan: QueryPlan = {
  id: 0,
  name: "q",
  stream: "s",
  window: { kind: "tumbling", sizeUs: SIZE_US, offsetUs: OFFSET_US },
  latenessUs: 3 * SIZE_US,
  by: [["k"]],
  select: [
    output("events", "count", null),
    output("count", "count", "v"),
    ...(["sum", "avg", "min", "max", "range", "first", "last", "variance", "stddev"] as const).map((fn) =>
      output(fn, fn, "v"),
    ),
    ...QUANTILES.map((q) => output(`q${q}`, "quantile", "v", q)),
  ],
};

/** Values of every size, many of them equal, some that cancel. */
const value = fc.oneof(
  fc.integer({ min: -1000, max: 1000 }),
  fc.double({ min: -1e9, max: 1e9, noNaN: true }).filter((x) => x === 0 || Math.abs(x) > 1e-6),
  fc.constantFrom(0.1, 0.2, 1e15, -1e15, 1e-6),
);
const event = fc.record({
  key: fc.constantFrom("a", "b", "c", "ü"),
  timeUs: fc.integer({ min: -3 * SIZE_US, max: 5 * SIZE_US }),
  value: fc.option(value, { freq: 5 }),
});
/** Batches in the order they are applied; each goes to one of three workers. */
const batches = fc.array(fc.tuple(fc.nat(2), fc.array(event, { maxLength: 30 })), { maxLength: 8 });

function partialOf(local: LocalAggregator, events: readonly OracleEvent[]): Uint8Array {
  const builder = buildBatch(core);
  const key = builder.addColumn("k", "string");
  const column = builder.addColumn("v", "float");
  for (const { key: text, timeUs, value: number } of events) {
    const row = builder.addRow(BigInt(timeUs), 0);
    builder.setText(key, row, text);
    if (number !== null) builder.setFloat(column, row, number);
  }
  (core.exports as unknown as { codecSeal(batch: number): number }).codecSeal(builder.batch);
  const partial = local.aggregate(builder.batch);
  (core.exports as unknown as { batchDispose(batch: number): void }).batchDispose(builder.batch);
  return partial;
}

/** JSON text written from a number has no −0. */
function plain(number: number | null): number | null {
  return number === 0 ? 0 : number;
}

function checkRow(row: ResultRow, expected: OracleWindow): void {
  const values = JSON.parse(row.values) as Record<string, number | null>;
  assert.deepEqual(
    [row.startUs, row.endUs, values["events"], values["count"], values.min ?? null, values.max ?? null],
    [
      expected.startUs,
      expected.endUs,
      expected.events,
      expected.count,
      plain(expected.min),
      plain(expected.max),
    ],
  );
  for (const name of ["sum", "avg", "first", "last", "variance", "stddev"] as const) {
    const is = values[name] ?? null;
    const should = expected[name];
    const tolerance = name === "variance" || name === "stddev" ? Math.abs(should ?? 0) * 1e-12 : 0;
    const isRight = is === should || (is !== null && should !== null && Math.abs(is - should) <= tolerance);
    assert.ok(isRight, `${name}: ${is} instead of ${should}`);
  }
  for (const q of QUANTILES) {
    const is = values[`q${q}`] ?? null;
    if (expected.count === 0) assert.equal(is, null);
    else assert.ok(is !== null && isQuantileWithin(is, expected.sorted, q, 0.01 + 1e-12), `q${q}: ${is}`);
  }
}

const byWindow = (rows: readonly ResultRow[]): Map<string, ResultRow> => {
  const latest = new Map<string, ResultRow>();
  for (const row of rows) {
    const id = `${row.startUs} ${(JSON.parse(row.key) as { k: string }).k}`;
    assert.equal(row.revision, (latest.get(id)?.revision ?? -1) + 1, "revisions count up from 0");
    latest.set(id, row);
  }
  return latest;
};

test("windows equal the oracle whatever the batches, the workers, the firing and the restarts in between", () => {
  fc.assert(
    fc.property(batches, fc.array(fc.boolean()), fc.boolean(), (parts, restarts, fireEach) => {
      const locals = [0, 1, 2].map(() => createLocal(core, plan));
      let windows = createWindows(core, plan);
      const rows: ResultRow[] = [];
      // Every window has its end behind it from the start, and is open for lateness: each batch revises.
      const watermark = fireEach ? BigInt(-SIZE_US) : BEFORE_ALL;
      parts.forEach(([worker, events], index) => {
        const { lateGroups } = windows.merge(partialOf(locals[worker]!, events), watermark);
        const tooLate = events.filter(
          ({ timeUs }) => BigInt(windowStart(timeUs) + SIZE_US + plan.latenessUs) <= watermark,
        );
        assert.equal(lateGroups === null, tooLate.length === 0);
        rows.push(...windows.fire(watermark));
        if (!restarts[index]) return;
        const state = windows.snapshot();
        windows.dispose();
        windows = createWindows(core, plan);
        windows.restore(state);
        assert.deepEqual(windows.snapshot(), state);
      });
      rows.push(...windows.fire(BigInt(20 * SIZE_US)));
      assert.equal(windows.stats().groups, 0);
      const all = parts.flatMap(([, events]) => events);
      const counted = all.filter(
        ({ timeUs }) => BigInt(windowStart(timeUs) + SIZE_US + plan.latenessUs) > watermark,
      );
      const expected = computeWindows(counted, SIZE_US, OFFSET_US);
      const latest = byWindow(rows);
      assert.equal(latest.size, expected.length);
      for (const window of expected) {
        const row = latest.get(`${window.startUs} ${window.key}`);
        assert.ok(row, `no row for ${window.key} at ${window.startUs}`);
        checkRow(row, window);
      }
      for (const local of locals) local.dispose();
      windows.dispose();
    }),
    { numRuns: 300 },
  );
});

function windowStart(timeUs: number): number {
  return Math.floor((timeUs - OFFSET_US) / SIZE_US) * SIZE_US + OFFSET_US;
}

test("the order of merging partials does not show in the bits of the results", () => {
  fc.assert(
    fc.property(batches, fc.integer(), (parts, seed) => {
      const local = createLocal(core, plan);
      const partials = parts.map(([, events]) => partialOf(local, events));
      const shuffled = partials.toSorted(
        (a, b) => ((a.length * 31 + seed) % 7) - ((b.length * 31 + seed) % 7),
      );
      const results = [partials, shuffled, partials.toReversed()].map((order) => {
        const windows = createWindows(core, plan);
        for (const partial of order) windows.merge(partial, BEFORE_ALL);
        const rows = windows.fire(BigInt(20 * SIZE_US));
        windows.dispose();
        return rows.map(({ key, startUs, values }) => `${startUs} ${key} ${values}`).toSorted();
      });
      assert.deepEqual(results[1], results[0]);
      assert.deepEqual(results[2], results[0]);
      local.dispose();
    }),
    { numRuns: 200 },
  );
});

test("rows that were refused as late are found again in their batch", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), fc.integer({ min: -6, max: 9 }), (events, second) => {
      const local = createLocal(core, plan);
      const windows = createWindows(core, plan);
      const watermark = BigInt(second * SIZE_US);
      const builder = buildBatch(core);
      const key = builder.addColumn("k", "string");
      for (const { key: text, timeUs } of events)
        builder.setText(key, builder.addRow(BigInt(timeUs), 0), text);
      (core.exports as unknown as { codecSeal(batch: number): number }).codecSeal(builder.batch);
      const { lateGroups } = windows.merge(local.aggregate(builder.batch), watermark);
      const expected = events.map(({ timeUs }) =>
        BigInt(windowStart(timeUs) + SIZE_US + plan.latenessUs) <= watermark ? 1 : 0,
      );
      const mask =
        lateGroups === null ? expected.map(() => 0) : [...local.maskLate(builder.batch, lateGroups)];
      assert.deepEqual(mask, expected);
      local.dispose();
      windows.dispose();
    }),
    { numRuns: 200 },
  );
});
