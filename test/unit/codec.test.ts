import assert from "node:assert/strict";
import { test } from "node:test";
import { type BatchBuilder, buildBatch } from "../../workers/core/batch-builder.ts";
import {
  BlockError,
  decodeBlock,
  encodeBatch,
  encodeRows,
  newBatch,
  readColumns,
  readHeader,
  reserveRows,
  resetBatch,
} from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { MillraceError } from "../../workers/errors.ts";
import type { FieldType } from "../../workers/messages.ts";

const core = instantiateCore();
const ROWS = 4096;
const START_US = 1_772_323_200_000_000n;

/** Bytes that one more column of 4,096 values adds to a block. */
function columnBytes(
  type: FieldType,
  set: (builder: BatchBuilder, column: number, row: number) => void,
): number {
  const sizes = [false, true].map((hasColumn) => {
    const builder = buildBatch(core);
    if (hasColumn) builder.addColumn("x", type);
    for (let i = 0; i < ROWS; i++) {
      const row = builder.addRow(START_US + BigInt(i) * 1000n, 0);
      if (hasColumn) set(builder, 0, row);
    }
    const block = encodeBatch(core, builder.batch, { stream: "s" });
    assertSame(builder.batch, block);
    return block.length;
  });
  return sizes[1]! - sizes[0]!;
}

function assertSame(batch: number, block: Uint8Array): void {
  const into = newBatch(core);
  decodeBlock(core, block, into);
  assert.deepEqual(encodeBatch(core, into, { stream: "s" }), encodeBatch(core, batch, { stream: "s" }));
}

/** Spread over [0, 2^32) without a pattern. */
const scatter = (i: number): number => Math.imul(i + 1, 2_654_435_761) >>> 0;

test("columns take about what they carry", () => {
  const int = (valueAt: (row: number) => bigint): number =>
    columnBytes("int", (builder, column, row) => builder.setInt(column, row, valueAt(row)));
  const float = (valueAt: (row: number) => number): number =>
    columnBytes("float", (builder, column, row) => builder.setFloat(column, row, valueAt(row)));
  const text = (valueAt: (row: number) => string): number =>
    columnBytes("string", (builder, column, row) => builder.setText(column, row, valueAt(row)));
  const below = (bytes: number, bits: number, what: string): void =>
    assert.ok(
      bytes <= (ROWS * bits) / 8 + 150,
      `${what}: ${bytes} bytes, ${(bytes * 8) / ROWS} bits a value`,
    );

  below(
    int(() => 7n),
    0,
    "a constant",
  );
  below(
    int((row) => 5n + 300n * BigInt(row)),
    0,
    "a counter",
  );
  below(
    int((row) => BigInt(row) ** 2n),
    0,
    "a quadratic",
  );
  below(
    int((row) => BigInt(scatter(row) % 1024) * 1_000_000n),
    10,
    "1,024 values a million apart",
  );
  below(
    int((row) => BigInt(scatter(row) % 64 === 0 ? scatter(row) : scatter(row) % 3)),
    4,
    "rare outliers",
  );
  below(
    float((row) => (scatter(row) % 4000) / 100),
    12,
    "decimals of two places",
  );
  below(
    float((row) => (scatter(row) % 4000) / 100 + (row % 64 === 0 ? Number.NaN : 0)),
    14,
    "decimals and NaN",
  );
  below(
    float((row) => Math.fround(20 + (scatter(row) % 1024) / 1000)),
    24,
    "singles",
  );
  below(
    float((row) => 1 / (1 + (row >> 6))),
    3,
    "runs of full doubles",
  );
  below(
    text((row) => `dev-${String(scatter(row) % 16_384).padStart(6, "0")}`),
    14,
    "numbered devices",
  );
  below(
    text((row) => `line ${(row * 11) % 64} of 64`),
    0.6,
    "devices in turn",
  );
  below(
    text((row) => (scatter(row) % 50 === 0 ? "stop" : "run")),
    1,
    "a state",
  );
  below(
    columnBytes("bool", (builder, column, row) => builder.setBool(column, row, scatter(row) % 100 === 0)),
    0.2,
    "a rare flag",
  );
});

test("readings are written by device when devices recur", () => {
  const builder = buildBatch(core);
  const device = builder.addColumn("device", "string");
  const temp = builder.addColumn("temp", "float");
  const count = builder.addColumn("count", "int");
  for (let i = 0; i < ROWS; i++) {
    const id = scatter(i) % 64;
    const row = builder.addRow(START_US + BigInt(i) * 1000n, 0);
    builder.setText(device, row, `m${id}`);
    builder.setFloat(temp, row, (scatter(id) % 100_000) / 10 + (scatter(i) % 16) / 10);
    builder.setInt(count, row, BigInt(scatter(id)) + BigInt(i));
  }
  const block = encodeBatch(core, builder.batch, { stream: "s" });
  assertSame(builder.batch, block);
  // 6 bits for the device, 5 for the difference of temperatures, 8 for that of counts, and some for the firsts.
  assert.ok(block.length < (ROWS * 21) / 8 + 1000, `${block.length} bytes`);
});

test("the reader gives each value as JavaScript has it, and large integers exactly", () => {
  const builder = buildBatch(core);
  const [a, b, c, d, e] = (["bool", "int", "float", "string", "null"] as const).map((type) =>
    builder.addColumn(type, type),
  );
  const first = builder.addRow(-1n, 0);
  builder.setBool(a!, first, true);
  builder.setInt(b!, first, 2n ** 53n + 1n);
  builder.setFloat(c!, first, -0);
  builder.setText(d!, first, "größer 🌡️");
  builder.setExtra(first, '{"tags":["x"]}');
  const second = builder.addRow(START_US, 1);
  builder.setInt(b!, second, -(2n ** 53n) + 1n);
  const block = encodeBatch(core, builder.batch, { stream: "s" });
  const into = newBatch(core);
  decodeBlock(core, block, into);
  const reader = readColumns(core, into);
  assert.equal(reader.rows, 2);
  assert.deepEqual([...reader.times], [-1n, START_US]);
  assert.deepEqual([...reader.flags], [0, 1]);
  assert.deepEqual(
    reader.columns.map(({ name, type }) => [name, type]),
    ["bool", "int", "float", "string", "null"].map((type) => [type, type]),
  );
  assert.deepEqual(
    reader.columns.map(({ valueAt }) => valueAt(0)),
    [true, 9007199254740993n, -0, "größer 🌡️", null],
  );
  assert.deepEqual(
    reader.columns.map(({ valueAt }) => valueAt(1)),
    [null, -9007199254740991, null, null, null],
  );
  assert.deepEqual([reader.extraAt(0), reader.extraAt(1)], ['{"tags":["x"]}', null]);
  assert.equal(e, 4);
});

test("a reader survives the memory growing under it", () => {
  const builder = buildBatch(core);
  const column = builder.addColumn("x", "string");
  builder.setText(column, builder.addRow(0n, 0), "before");
  const reader = readColumns(core, builder.batch);
  core.memory.grow(16);
  assert.equal(reader.columns[0]?.valueAt(0), "before");
});

test("the header tells count, times and typed columns without decoding", () => {
  const builder = buildBatch(core);
  builder.addColumn("never", "null");
  builder.addColumn("temp", "float");
  for (const time of [30n, -20n, 10n]) builder.addRow(time, 0);
  const header = readHeader(encodeBatch(core, builder.batch, { stream: "größe" }));
  const { schemaId, ...rest } = header;
  assert.deepEqual(rest, {
    version: 1,
    stream: "größe",
    count: 3,
    minUs: -20n,
    maxUs: 30n,
    schema: [{ name: "temp", type: "float" }],
    columns: 2,
    namesAt: 40,
    namesEnd: 61,
  });
  builder.addRow(99n, 1);
  assert.equal(readHeader(encodeBatch(core, builder.batch, { stream: "other" })).schemaId, schemaId);
  builder.addColumn("more", "int");
  assert.notEqual(readHeader(encodeBatch(core, builder.batch, { stream: "größe" })).schemaId, schemaId);
});

test("a batch without rows, and a mask that takes none, make a block without rows", () => {
  const builder = buildBatch(core);
  builder.addColumn("x", "string");
  assert.equal(readHeader(encodeBatch(core, builder.batch, { stream: "s" })).count, 0);
  builder.addRow(5n, 0);
  const block = encodeRows(core, builder.batch, "s", Uint8Array.of(0));
  assert.deepEqual([readHeader(block).count, readHeader(block).minUs], [0, 0n]);
  const into = newBatch(core);
  decodeBlock(core, block, into);
  assert.deepEqual(
    readColumns(core, into).columns.map(({ name }) => name),
    ["x"],
  );
});

test("a mask of another length is refused", () => {
  const builder = buildBatch(core);
  builder.addRow(5n, 0);
  assert.throws(
    () => encodeRows(core, builder.batch, "s", new Uint8Array(2)),
    (error) => error instanceof MillraceError && error.code === "E_MASK",
  );
});

test("a reset batch keeps nothing of what it held", () => {
  const builder = buildBatch(core);
  builder.addColumn("x", "int");
  builder.addRow(5n, 1);
  resetBatch(core, builder.batch);
  const reader = readColumns(core, builder.batch);
  assert.deepEqual([reader.rows, reader.columns], [0, []]);
});

test("a batch takes blocks alike whatever room was made for them, and takes no more memory where it was enough", () => {
  const builder = buildBatch(core);
  const column = builder.addColumn("n", "int");
  for (let i = 0; i < 1_000; i++)
    builder.setInt(column, builder.addRow(START_US + BigInt(i), 0), BigInt(scatter(i)));
  const block = encodeBatch(core, builder.batch, { stream: "s" });
  const decodeInto = (reserved: number | null) => {
    const own = instantiateCore();
    const batch = newBatch(own);
    if (reserved !== null) reserveRows(own, batch, reserved);
    for (let i = 0; i < 150; i++) decodeBlock(own, block, batch);
    return { encoded: encodeBatch(own, batch, { stream: "s" }), memoryBytes: own.memory.buffer.byteLength };
  };
  const plain = decodeInto(null);
  for (const reserved of [0, 1, 1_025, 77_777, 150_000, 160_001])
    assert.deepEqual(decodeInto(reserved).encoded, plain.encoded, `${reserved} rows`);
  assert.ok(decodeInto(150_000).memoryBytes < plain.memoryBytes);
});

test("a block of a later version is told from a damaged one", () => {
  const builder = buildBatch(core);
  builder.addRow(5n, 0);
  const block = encodeBatch(core, builder.batch, { stream: "s" });
  const withByte = (at: number, value: number): Uint8Array =>
    Uint8Array.from(block, (byte, i) => (i === at ? value : byte));
  const codeOf = (bytes: Uint8Array): string => {
    try {
      decodeBlock(core, bytes, newBatch(core));
      return "none";
    } catch (error) {
      assert.ok(error instanceof BlockError);
      assert.ok(error.message.length > 20);
      return error.code;
    }
  };
  assert.equal(codeOf(block), "none");
  assert.equal(codeOf(withByte(8, 2)), "E_BLOCK_VERSION");
  assert.throws(() => readHeader(withByte(8, 2)), { code: "E_BLOCK_VERSION" });
  assert.equal(codeOf(withByte(0, 0)), "E_BLOCK_MAGIC");
  assert.equal(codeOf(withByte(4, block[4]! ^ 1)), "E_BLOCK_CHECKSUM");
  assert.equal(codeOf(block.subarray(0, block.length - 1)), "E_BLOCK_TRUNCATED");
  assert.equal(codeOf(new Uint8Array(0)), "E_BLOCK_MAGIC");
});
