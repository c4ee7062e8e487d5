import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  decodeBlock,
  encodeBatch,
  encodeRows,
  newBatch,
  readHeader,
  resetBatch,
} from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import type { FieldType } from "../../workers/messages.ts";
import {
  type BatchModel,
  batchModel,
  bitsOf,
  type ColumnModel,
  fill,
  fleetModel,
  read,
  select,
} from "./codec-model.ts";

const core = instantiateCore();
const into = newBatch(core);
const { batchDispose } = core.exports as unknown as { batchDispose(batch: number): void };

function decoded(...blocks: readonly Uint8Array[]): BatchModel {
  resetBatch(core, into);
  for (const block of blocks) decodeBlock(core, block, into);
  return read(core, into);
}

function encoded(model: BatchModel): Uint8Array {
  const batch = fill(core, model);
  const block = encodeBatch(core, batch, { stream: "plant/🏭" });
  batchDispose(batch);
  return block;
}

test("a decoded block equals its batch to the bit", () => {
  fc.assert(
    fc.property(batchModel, (model) => {
      const block = encoded(model);
      assert.deepEqual(decoded(block), model);
      const header = readHeader(block);
      assert.equal(header.stream, "plant/🏭");
      assert.equal(header.count, model.times.length);
      const sorted = [...model.times].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
      assert.equal(header.minUs, sorted[0] ?? 0n);
      assert.equal(header.maxUs, sorted.at(-1) ?? 0n);
      const typed = model.columns.filter(({ type }) => type !== "null");
      assert.deepEqual(
        header.schema,
        typed.map(({ name, type }) => ({ name, type })),
      );
    }),
    { numRuns: 400 },
  );
});

test("blocks of a fleet, of many pages, keep every bit, whole, masked and joined", () => {
  fc.assert(
    fc.property(fleetModel, fleetModel, fc.integer({ min: 1, max: 5 }), (model, other, every) => {
      const block = encoded(model);
      assert.deepEqual(decoded(block), model);
      const mask = model.times.map((_, row) => (row % every === 0 ? 1 : 0));
      const masked = encodeRows(core, into, "s", Uint8Array.from(mask));
      const expected = joined(model, other);
      assert.deepEqual(decoded(block, encoded(other)), expected);
      assert.deepEqual(decoded(encodeBatch(core, into, { stream: "s" })), expected);
      assert.deepEqual(decoded(masked), select(model, mask));
    }),
    { numRuns: 25 },
  );
});

test("encoding the same rows again gives the same bytes", () => {
  fc.assert(
    fc.property(batchModel, (model) => {
      const block = encoded(model);
      decoded(block);
      assert.deepEqual(encodeBatch(core, into, { stream: "plant/🏭" }), block);
    }),
    { numRuns: 100 },
  );
});

test("a mask takes exactly its rows", () => {
  const masked = batchModel.chain((model) => {
    const rows = { minLength: model.times.length, maxLength: model.times.length };
    return fc.tuple(
      fc.constant(model),
      fc.oneof(fc.array(fc.constantFrom(0, 1), rows), fc.array(fc.constant(1), rows)),
    );
  });
  fc.assert(
    fc.property(masked, ([model, mask]) => {
      const batch = fill(core, model);
      const block = encodeRows(core, batch, "s", Uint8Array.from(mask));
      batchDispose(batch);
      assert.deepEqual(decoded(block), select(model, mask));
    }),
    { numRuns: 200 },
  );
});

/** What widening must give, said in plain JavaScript. */
function widerOf(a: ColumnModel["type"], b: ColumnModel["type"]): ColumnModel["type"] {
  if (a === b || b === "null") return a;
  if (a === "null") return b;
  return (a === "int" && b === "float") || (a === "float" && b === "int") ? "float" : "string";
}

function numberOf(bits: bigint): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigInt64(0, bits);
  return view.getFloat64(0);
}

function widened(
  value: bigint | string | null,
  from: ColumnModel["type"],
  to: ColumnModel["type"],
): bigint | string | null {
  if (typeof value !== "bigint" || from === to) return value;
  if (to === "float") return bitsOf(Number(value));
  if (from === "bool") return value === 1n ? "true" : "false";
  return from === "int" ? String(value) : String(numberOf(value));
}

function joined(a: BatchModel, b: BatchModel): BatchModel {
  const nullsOf = (model: BatchModel): null[] => model.times.map(() => null);
  const columnNames = [...new Set([...a.columns, ...b.columns].map(({ name }) => name))];
  return {
    times: [...a.times, ...b.times],
    flags: [...a.flags, ...b.flags],
    extra: [...a.extra, ...b.extra],
    columns: columnNames.map((name) => {
      const left = a.columns.find((column) => column.name === name);
      const right = b.columns.find((column) => column.name === name);
      const type = widerOf(left?.type ?? "null", right?.type ?? "null");
      const leftValues = left?.values.map((value) => widened(value, left.type, type)) ?? nullsOf(a);
      const rightValues = right?.values.map((value) => widened(value, right.type, type)) ?? nullsOf(b);
      return { name, type, values: [...leftValues, ...rightValues] };
    }),
  };
}

/** Both batches draw on the same few names, so that types meet. */
const renamed = (model: BatchModel): BatchModel => ({
  ...model,
  columns: model.columns.map((column, i) => ({ ...column, name: "abcde"[i]! })),
});

test("blocks decoded one after another meet by name in the wider type", () => {
  const model = batchModel.map(renamed);
  fc.assert(
    fc.property(model, model, fc.integer({ min: 0, max: 4 }), (a, b, shift) => {
      const rotated = { ...b, columns: [...b.columns.slice(shift), ...b.columns.slice(0, shift)] };
      const blocks = [encoded(a), encoded(rotated)];
      const expected = joined(a, rotated);
      assert.deepEqual(decoded(...blocks), expected);
      assert.deepEqual(
        decoded(encodeBatch(core, into, { stream: "s" })),
        expected,
        "and once more through one block",
      );
    }),
    { numRuns: 300 },
  );
});

test("a number that becomes text is written as JavaScript writes it", () => {
  const one = (type: FieldType, value: bigint | string): BatchModel => ({
    times: [0n],
    flags: [0],
    extra: [null],
    columns: [{ name: "x", type, values: [value] }],
  });
  const text = encoded(one("string", "t"));
  const special = fc.constantFrom(
    5e-324,
    1.7976931348623157e308,
    1e21,
    1e-7,
    123e-20,
    2 ** 53,
    0.1 + 0.2,
    4.35,
    2.2250738585072014e-308,
    1e23,
    9.5367431640625e-7,
  );
  const bits = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(numberOf);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.double(),
        special,
        bits,
        fc.integer().map((n) => n / 100),
      ),
      (value) => {
        const block = encoded(one("float", bitsOf(value)));
        assert.deepEqual(decoded(block, text).columns[0]?.values, [String(value), "t"]);
      },
    ),
    { numRuns: 500 },
  );
});
