import assert from "node:assert/strict";
import { test } from "node:test";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { sumEvents } from "../../workers/core/event-sums.ts";
import { instantiateCore } from "../../workers/core/module.ts";

/**
 * How well each lane by itself tells rows apart that are nearly alike. All rows are written down, none is drawn: a run gives what
 * the last one gave.
 */

const NAMES = ["temp", "speed", "x", "y", "load"];
const WIDE = Array.from({ length: 18 }, (_, n) => `f${n}`);
const TIME_US = 1_767_225_600_000_000n;
const HOUR_US = 3_600_000_000n;

const core = instantiateCore();
const { auditSum } = core.exports as unknown as { auditSum(batch: number): number };

interface Lanes {
  readonly low: BigUint64Array;
  readonly high: BigUint64Array;
}

/** The hash of every row by itself, all of one time. `fill` writes a row's values. */
function hashesOf(
  names: readonly string[],
  rows: number,
  fill: (row: number, to: Float64Array) => void,
): Lanes {
  const builder = buildBatch(core);
  const columns = names.map((name) => builder.addColumn(name, "float"));
  const at = builder.addRow(TIME_US, 0);
  const values = new Float64Array(names.length);
  const bits = new BigInt64Array(values.buffer);
  const [low, high] = [new BigUint64Array(rows), new BigUint64Array(rows)];
  for (let row = 0; row < rows; row++) {
    fill(row, values);
    for (const [index, column] of columns.entries()) builder.setBits(column, at, bits[index]!);
    const sum = new DataView(core.memory.buffer, auditSum(builder.batch) >>> 0);
    low[row] = sum.getBigUint64(16, true);
    high[row] = sum.getBigUint64(24, true);
  }
  return { low, high };
}

/** No two are the same in any lane, and halves of a lane are as often the same as those of random numbers. */
function assertSpread(lanes: Lanes): void {
  for (const lane of [lanes.low, lanes.high]) {
    assert.equal(pairsIn(lane.slice().sort()), 0);
    const expected = (lane.length * (lane.length - 1)) / 2 / 2 ** 32;
    for (const half of [0, 1]) {
      const words = new Uint32Array(lane.buffer).filter((_, index) => index % 2 === half).sort();
      const pairs = pairsIn(words);
      assert.ok(pairs <= expected + 6 * Math.sqrt(expected) + 3, `${pairs} pairs, ${expected} expected`);
    }
  }
}

function pairsIn(sorted: BigUint64Array | Uint32Array): number {
  let [pairs, run] = [0, 0];
  for (let index = 1; index < sorted.length; index++) {
    run = sorted[index] === sorted[index - 1] ? run + 1 : 0;
    pairs += run;
  }
  return pairs;
}

test("counters", () => {
  assertSpread(
    hashesOf(NAMES, 2 ** 19, (row, to) => {
      to.fill(1);
      to[0] = row;
    }),
  );
});

test("counters that go on together, and against each other", () => {
  assertSpread(hashesOf(NAMES, 2 ** 18, (row, to) => to.fill(row)));
  assertSpread(
    hashesOf(NAMES, 2 ** 18, (row, to) => to.set([row, -row, row / 2, 2 ** 18 - row, 1 / (row + 1)])),
  );
});

test("round decimals, each with each", () => {
  assertSpread(
    hashesOf(NAMES, 2 ** 19, (row, to) => to.set([(row & 1023) / 100, (row >> 10) / 10, 21.5, 0.25, 0])),
  );
  assertSpread(
    hashesOf(NAMES, 2 ** 19, (row, to) =>
      to.set([20 + (row & 127) / 100, (row >> 7) & 63, ((row >> 13) & 63) / 1000, 50, 0]),
    ),
  );
});

test("values that change places between columns", () => {
  // Digits of base 7 in all orders and repetitions.
  assertSpread(
    hashesOf(NAMES, 7 ** 5, (row, to) => {
      for (let index = 0; index < to.length; index++) to[index] = Math.floor(row / 7 ** index) % 7;
    }),
  );
  assertSpread(
    hashesOf(["a", "b"], 2 ** 18, (row, to) => to.set([12 + (row >> 9) / 8, 12 + (row & 511) / 8])),
  );
});

test("signs", () => {
  assertSpread(
    hashesOf(NAMES, 2 ** 18, (row, to) => {
      for (let index = 0; index < to.length; index++) {
        const value = 1 + (row >> 5) / 10 + index;
        to[index] = row & (1 << index) ? -value : value;
      }
    }),
  );
});

test("noughts and ones in many columns", () => {
  assertSpread(
    hashesOf(WIDE, 2 ** 18, (row, to) => {
      for (let index = 0; index < to.length; index++) to[index] = (row >> index) & 1;
    }),
  );
});

test("one bit and two bits of any column", () => {
  const start = new BigInt64Array(new Float64Array([21.5, 0.1, 1_234, -3, 1e-3]).buffer);
  const flips: (readonly [number, number])[] = [];
  // Not the bits of the exponent that make a number infinite: all patterns of its others.
  const places = Array.from({ length: 64 * NAMES.length }, (_, n) => n).filter((n) => n % 64 !== 62);
  for (const [index, a] of places.entries()) for (const b of places.slice(index)) flips.push([a, b]);
  assertSpread(
    hashesOf(NAMES, flips.length, (row, to) => {
      const bits = new BigInt64Array(to.buffer);
      bits.set(start);
      for (const place of new Set(flips[row]))
        bits[place >> 6] = BigInt.asIntN(64, bits[place >> 6]! ^ (1n << BigInt(place & 63)));
    }),
  );
});

test("which columns are there, though their values are 0", () => {
  const names = WIDE.slice(0, 11);
  const [low, high] = [new BigUint64Array(2 ** names.length), new BigUint64Array(2 ** names.length)];
  for (let set = 0; set < low.length; set++) {
    const there = names.filter((_, index) => (set >> index) & 1);
    const lanes = hashesOf(there, 1, () => undefined);
    [low[set], high[set]] = [lanes.low[0]!, lanes.high[0]!];
  }
  assertSpread({ low, high });
});

test("times", () => {
  const rows = 2 ** 16;
  const builder = buildBatch(core);
  const column = builder.addColumn("a", "float");
  for (let row = 0; row < rows; row++) builder.setFloat(column, builder.addRow(BigInt(row) * HOUR_US, 0), 1);
  const hashes = sumEvents(core, builder.batch).map(({ hash }) => hash);
  assert.equal(hashes.length, rows);
  const lane = (from: number) =>
    BigUint64Array.from(hashes, (hash) => BigInt(`0x${hash.slice(from, from + 16)}`));
  assertSpread({ low: lane(16), high: lane(0) });
});
