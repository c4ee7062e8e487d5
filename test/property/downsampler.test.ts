import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type BatchBuilder, buildBatch } from "../../workers/core/batch-builder.ts";
import {
  type BatchReader,
  type CellValue,
  decodeBlock,
  encodeBatch,
  newBatch,
  readColumns,
} from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import type { FieldType, StoredBlock } from "../../workers/messages.ts";
import { BlockDecoder } from "../../workers/query/block-decoder.ts";
import { portableCodec } from "../../workers/zstd.ts";
import { downsample } from "../support/downsample.ts";
import { Downsampler } from "../support/downsampler.ts";
import { makeBlock } from "../support/store-fixtures.ts";

const MINUTE_US = 60_000_000;
const NAMES = ["device", "id", "temp", "rpm", "ü.volt"];
const decoder = new BlockDecoder(await portableCodec());

type Value = boolean | number | bigint | string;
interface Column {
  readonly name: string;
  readonly type: FieldType | "null";
  /** One a row; rows behind them have none. */
  readonly values: readonly (Value | null)[];
}
interface Batch {
  readonly times: readonly bigint[];
  readonly columns: readonly Column[];
}

const MAX = 2n ** 63n;
const whole = fc.oneof(
  fc.bigInt({ min: -20n, max: 20n }),
  fc.bigInt({ min: -MAX, max: MAX - 1n }),
  fc.constantFrom(-(2n ** 53n), 2n ** 53n, 2n ** 53n + 1n, 2n ** 53n - 1n, MAX - 1n, -MAX),
);
const fraction = fc.oneof(
  fc.integer({ min: -40, max: 40 }).map((quarters) => quarters / 4),
  fc.double(),
  fc.constantFrom(Number.NaN, -0, 0, 1e300, -1e300, Infinity, -Infinity, 2 ** 53, -(2 ** 53), 1e16, 5e-324),
);
const text = fc.oneof(
  fc.constantFrom("a", "b", "device-000017", "5", "true", "", "\u0000", "ä c", "NaN"),
  fc.string({ maxLength: 40 }),
  fc.constantFrom("x".repeat(15), "x".repeat(16), `${"x".repeat(300)}1`, `${"x".repeat(300)}2`),
);

function valuesOf(type: FieldType | "null"): fc.Arbitrary<Value> {
  if (type === "bool") return fc.boolean();
  if (type === "int") return whole;
  return type === "float" ? fraction : text;
}

/** Columns of a name are mostly, but not always, of one type from batch to batch. */
const column = (name: string): fc.Arbitrary<Column> =>
  fc
    .constantFrom<FieldType | "null">(
      ...(name === "device" || name === "id"
        ? (["string", "string", "string", "int", "float", "bool", "null"] as const)
        : (["int", "int", "float", "float", "string", "bool", "null"] as const)),
    )
    .chain((type) =>
      fc.record({
        name: fc.constant(name),
        type: fc.constant(type),
        values: fc.array(type === "null" ? fc.constant(null) : fc.option(valuesOf(type), { freq: 4 }), {
          maxLength: 30,
        }),
      }),
    );

const time = fc.oneof(
  fc.bigInt({ min: -3n * 60_000_000n, max: 3n * 60_000_000n }),
  fc.constantFrom(0n, -1n, 1n, 59_999_999n, 60_000_000n, -60_000_000n, -60_000_001n),
);

const batch: fc.Arbitrary<Batch> = fc.record({
  times: fc.array(time, { minLength: 1, maxLength: 30 }),
  columns: fc.shuffledSubarray(NAMES).chain((names) => fc.tuple(...names.map(column))),
});

const keyFields = fc.shuffledSubarray(["device", "id", "rpm", "missing"]);

function setValue(builder: BatchBuilder, index: number, row: number, value: Value): void {
  if (typeof value === "string") builder.setText(index, row, value);
  else if (typeof value === "boolean") builder.setBool(index, row, value);
  else if (typeof value === "bigint") builder.setInt(index, row, value);
  else builder.setFloat(index, row, value);
}

function encode({ times, columns }: Batch): StoredBlock {
  const core = instantiateOnce();
  const builder = buildBatch(core);
  const indices = columns.map(({ name, type }) => builder.addColumn(name, type));
  for (const [row, timeUs] of times.entries()) {
    builder.addRow(timeUs, 0);
    for (const [place, { values }] of columns.entries()) {
      const value = values[row] ?? null;
      if (value !== null) setValue(builder, indices[place]!, row, value);
    }
  }
  const data = encodeBatch(core, builder.batch, { stream: "s" });
  return makeBlock({ data, codec: "none", encodedBytes: data.length, count: times.length });
}

let core = instantiateCore();
let uses = 0;
/** Batches made by hand are not freed. */
function instantiateOnce(): typeof core {
  if (++uses % 500 === 0) core = instantiateCore();
  return core;
}

interface Table {
  readonly columns: readonly string[];
  /** In the order of their texts: rows have no other that counts. */
  readonly rows: readonly string[];
}

function tableOf({ rows, times, columns }: BatchReader): Table {
  const show = (value: CellValue): string =>
    Object.is(value, -0) ? "-0" : typeof value === "string" ? JSON.stringify(value) : String(value);
  return {
    columns: columns.map(({ name, type }) => `${name} ${type}`),
    rows: Array.from({ length: rows }, (_, row) =>
      [times[row], ...columns.map((one) => show(one.valueAt(row)))].join(" "),
    ).toSorted(),
  };
}

function open(block: StoredBlock): BatchReader {
  const opened = decoder.open(block);
  assert.equal(opened.kind, "rows");
  if (opened.kind !== "rows") throw new Error("unreadable");
  return opened.rows;
}

function plainly(blocks: readonly StoredBlock[], fields: readonly string[]): Table {
  const own = instantiateOnce();
  const downsampler = new Downsampler(fields, MINUTE_US);
  for (const { data } of blocks) {
    const read = newBatch(own);
    decodeBlock(own, data, read);
    downsampler.add(readColumns(own, read));
  }
  return tableOf(readColumns(own, downsampler.write(own)));
}

test("property: aggregates are those of a plain loop over the cells, to the last bit", () => {
  fc.assert(
    fc.property(fc.array(batch, { minLength: 1, maxLength: 5 }), keyFields, (batches, fields) => {
      const blocks = batches.map(encode);
      const made = downsample(decoder, blocks, { stream: "s", keyFields: fields, resolutionUs: MINUTE_US });
      assert.deepEqual(tableOf(open(made)), plainly(blocks, fields));
    }),
    { numRuns: 600 },
  );
});

test("property: neither steps nor what is done between them change the block", () => {
  fc.assert(
    fc.property(fc.array(batch, { minLength: 2, maxLength: 5 }), keyFields, (batches, fields) => {
      const blocks = batches.map(encode);
      const task = { stream: "s", keyFields: fields, resolutionUs: MINUTE_US };
      const atOnce = downsample(decoder, blocks, task);
      decoder.beginDownsampling(task);
      for (const block of blocks) {
        decoder.addToDownsampling([block]);
        decoder.merge(blocks.slice(0, 1), "s");
      }
      decoder.writeDownsampling();
      decoder.merge(blocks.slice(0, 1), "s");
      assert.deepEqual(decoder.endDownsampling(), atOnce);
    }),
    { numRuns: 60 },
  );
});

test("rows are in the order of time, then of the key, of which there may be many", () => {
  const count = 5_000;
  const times = Array.from({ length: count }, (_, row) => BigInt((row * 7_919) % 3) * 60_000_000n);
  const values = times.map((_, row) => `device-${String((row * 7_717) % count).padStart(8, "0")}`);
  const block = encode({ times, columns: [{ name: "device", type: "string", values }] });
  const task = { stream: "s", keyFields: ["device"], resolutionUs: MINUTE_US };
  const { rows, times: made, columns } = open(downsample(decoder, [block, block], task));
  const shown = Array.from({ length: rows }, (_, row) => `${made[row]} ${columns[0]?.valueAt(row)}`);
  const expected = times.map((timeUs, row) => ({ timeUs, key: values[row]! }));
  expected.sort((a, b) => Number(a.timeUs - b.timeUs) || (a.key < b.key ? -1 : 1));
  assert.deepEqual(
    shown,
    expected.map(({ timeUs, key }) => `${timeUs} ${key}`),
  );
});

test("a group more leaves nothing behind in the core's memory", () => {
  const times = Array.from({ length: 3_000 }, (_, row) => BigInt(row) * 1_000_000n);
  const values = times.map((_, row) => row / 4);
  const names = times.map((_, row) => `device-${row % 700}`);
  const block = encode({
    times,
    columns: [
      { name: "device", type: "string", values: names },
      { name: "temp", type: "float", values },
    ],
  });
  const own = new BlockDecoder({
    name: "node:zlib",
    compress: (bytes) => new Uint8Array(bytes),
    decompress: (bytes) => new Uint8Array(bytes),
  });
  const task = { stream: "s", keyFields: ["device"], resolutionUs: MINUTE_US };
  for (let i = 0; i < 3; i++) downsample(own, [block], task);
  const before = own.memoryBytes;
  // Of some KiB that were left each time there would be tens of MiB.
  for (let i = 0; i < 1_000; i++) downsample(own, [block], task);
  assert.equal(own.memoryBytes, before);
});

test("very many keys, of which the texts are forgotten in the middle, are told apart as by a plain loop", () => {
  const task = { stream: "s", keyFields: ["device"], resolutionUs: MINUTE_US };
  const many = (from: number): StoredBlock => {
    const times = Array.from({ length: 20_000 }, (_, row) => BigInt(row % 5) * 30_000_000n);
    const names = times.map((_, row) => `device-${from + ((row * 7_919) % 20_000)}`);
    const values = times.map((_, row) => BigInt((row * 31) % 1_000));
    return encode({
      times,
      columns: [
        { name: "device", type: "string", values: names },
        { name: "rpm", type: "int", values },
      ],
    });
  };
  const blocks = [many(0), many(15_000), many(30_000), many(0)];
  assert.deepEqual(tableOf(open(downsample(decoder, blocks, task))), plainly(blocks, ["device"]));
});

test("aggregates whose names meet the key's are not made, and the next task is served", () => {
  const column = (name: string): Column => ({ name, type: "int", values: [1n] });
  const block = encode({ times: [0n], columns: [column("count"), column("temp.sum"), column("temp")] });
  for (const name of ["count", "temp.sum"]) {
    const task = { stream: "s", keyFields: [name], resolutionUs: MINUTE_US };
    assert.throws(() => downsample(decoder, [block], task), { code: "E_DOWNSAMPLE" });
  }
  const task = { stream: "s", keyFields: ["device"], resolutionUs: MINUTE_US };
  assert.equal(downsample(decoder, [block], task).count, 1);
});
