import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { instantiateCore, type Pointer } from "../../workers/core/module.ts";
import { selectionWriter } from "../../workers/core/window-results.ts";

/** Results are written as JSON by the core where all values are numbers: JS's own texts are the oracle. */

const core = instantiateCore();
const { allocate, release } = core.exports as unknown as {
  allocate(length: number): Pointer;
  release(pointer: Pointer): void;
};

function near(value: number, steps: number): number {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, value);
  bits.setBigInt64(0, bits.getBigInt64(0) + BigInt(steps));
  return bits.getFloat64(0);
}

const steps = fc.integer({ min: -200, max: 200 });
const number = fc.oneof(
  fc.double(),
  fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  // As they are measured, and what comes of adding such up.
  fc.tuple(fc.integer(), fc.nat(12)).map(([digits, decimals]) => digits / 10 ** decimals),
  fc.tuple(fc.integer(), fc.integer({ min: 1, max: 10_000 })).map(([sum, count]) => sum / 100 / count),
  // Where the number of digits, the distance to the neighbour or the way of writing changes.
  fc.tuple(fc.integer({ min: -9, max: 55 }), steps).map(([power, step]) => near(2 ** power, step)),
  fc.tuple(fc.integer({ min: -9, max: 23 }), steps).map(([power, step]) => near(10 ** power, step)),
  fc.tuple(fc.maxSafeNat(), fc.nat(2)).map(([whole, halves]) => whole / 2 ** halves),
  fc.constantFrom(0, -0, Number.MIN_VALUE, Number.MAX_VALUE, Number.NaN, Infinity, -Infinity),
);

/** The texts of some rows, by the core where it can. */
function write(names: readonly string[], rows: readonly (readonly number[])[]): string[] {
  const outputs = names.map((name) => ({ name, fn: "sum", field: "v", parameter: null }) as const);
  const writer = selectionWriter(core, outputs, () => assert.fail("no value is in a box"));
  const at = allocate(rows.length * names.length * 8 + 8) >>> 0;
  const values = new Float64Array(core.memory.buffer, at, rows.length * names.length);
  values.set(rows.flat());
  const texts = rows.map((_, row) => writer.write(values, row * names.length));
  writer.dispose();
  release(at);
  return texts;
}

const label = fc.oneof(
  fc.constantFrom("n", "mean", "a longer name than sixteen bytes", 'a "quoted" one', "größe", "10²"),
  fc.string({ unit: "grapheme" }),
);

test("results are the JSON that JS writes of them", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(label, { minLength: 1, maxLength: 6 }).chain((names) =>
        fc.tuple(
          fc.constant(names),
          fc.array(fc.array(number, { minLength: names.length, maxLength: names.length }), {
            maxLength: 5,
          }),
        ),
      ),
      ([names, rows]) => {
        const expected = rows.map((row) => {
          const members = row.map(
            (value, index) => `${JSON.stringify(names[index])}:${JSON.stringify(value)}`,
          );
          return `{${members.join(",")}}`;
        });
        assert.deepEqual(write(names, rows), expected);
      },
    ),
    { numRuns: 20_000 },
  );
});

test("the core knows the digits of what is measured", () => {
  const { valuesText, valuesTextRoom } = core.exports as unknown as {
    valuesText(values: Pointer, labels: Pointer, count: number): number;
    valuesTextRoom(values: number, labelBytes: number): void;
  };
  const [value, labels] = [allocate(8) >>> 0, allocate(24) >>> 0];
  valuesTextRoom(1, 8);
  new Uint32Array(core.memory.buffer, labels, 1)[0] = 0;
  for (const measured of [1, -17, 21.53, 0.017, 1013.25, 70 / 3, -0.1 - 0.2, 86_400 / 7, 1e15 / 7]) {
    new Float64Array(core.memory.buffer, value, 1)[0] = measured;
    assert.notEqual(valuesText(value, labels, 1), 0, `${measured}`);
  }
  release(value);
  release(labels);
});
