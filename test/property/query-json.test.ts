import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type BatchBuilder, buildBatch } from "../../workers/core/batch-builder.ts";
import { readColumns } from "../../workers/core/codec.ts";
import { EventPage, openBatch, selectRows } from "../../workers/core/event-page.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { createEventWriter, valueText } from "../../workers/query/event-json.ts";

const NAMES = ["a", "b", "a.b", "a.c", "a.c.d", "ts", "x.ts", 'é"\\', "extra", "z"];
const TYPES = ["bool", "int", "float", "string", "null"] as const;

const float = fc.oneof(
  fc.double(),
  fc.constantFrom(0, -0, Number.NaN, Infinity, 1e21, 1e-7, 5e-324, 0.1 + 0.2),
  fc.integer({ min: -100_000, max: 100_000 }).map((n) => n / 100),
);
const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ unit: fc.constantFrom("a", '"', "\\", "\n", "\u0001", "ü", "\u007f", "😀"), maxLength: 40 }),
  fc.string({ unit: "grapheme-ascii", maxLength: 40 }),
);
const cell = fc.record({
  isNull: fc.boolean(),
  bool: fc.boolean(),
  int: fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -99n, max: 99n })),
  float,
  text,
});
const extra = fc.oneof(
  fc.constant(null),
  fc.constantFrom(
    "{}",
    '{"q":[1,{"r":"s t"}]}',
    '{"q": 1}',
    '{"a":{"b":9,"n":8}}',
    '{"q.r":1,"q":2}',
    '{"\\u0071":1}',
  ),
  fc
    .dictionary(fc.constantFrom("q", "r", "a", "z", "b.q", "ü"), fc.jsonValue({ maxDepth: 2 }), {
      maxKeys: 3,
    })
    .map((members) => JSON.stringify(members)),
);
const row = fc.record({
  timeUs: fc.oneof(
    fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n }),
    fc.bigInt({ min: -5_000_000n, max: 5_000_000n }),
    fc.bigInt({ min: 0n, max: 3n }).map((n) => n * 1_000_000n),
  ),
  cells: fc.array(cell, { minLength: 5, maxLength: 5 }),
  extra,
});
const columns = fc.uniqueArray(
  fc.record({ name: fc.constantFrom(...NAMES), type: fc.constantFrom(...TYPES) }),
  {
    maxLength: 5,
    selector: ({ name }) => name,
  },
);

function setCell(
  batch: BatchBuilder,
  column: number,
  at: number,
  type: (typeof TYPES)[number],
  value: { isNull: boolean; bool: boolean; int: bigint; float: number; text: string },
): void {
  if (value.isNull || type === "null") return;
  if (type === "bool") batch.setBool(column, at, value.bool);
  else if (type === "int") batch.setInt(column, at, value.int);
  else if (type === "float") batch.setFloat(column, at, value.float);
  else batch.setText(column, at, value.text);
}

const ALL = { fromUs: -(2n ** 62n), lastUs: 2n ** 62n, after: null, keyFields: [], key: null };

test("rows written in the core are those written value by value, byte for byte", () => {
  const core = instantiateCore();
  const page = new EventPage(core);
  fc.assert(
    fc.property(
      columns,
      fc.array(row, { minLength: 1, maxLength: 6 }),
      fc.constantFrom("ts", "time", "a", "x.y"),
      (names, rows, timeField) => {
        const batch = buildBatch(core);
        for (const { name, type } of names) batch.addColumn(name, type);
        for (const { timeUs, cells, extra } of rows) {
          const at = batch.addRow(timeUs, 0);
          for (const [column, { type }] of names.entries()) setCell(batch, column, at, type, cells[column]!);
          if (extra !== null) batch.setExtra(at, extra);
        }
        const open = openBatch(core, batch.batch, timeField, createEventWriter);
        page.begin(1_000, 2 ** 24);
        page.add(open, 1, selectRows(core, open, ALL));
        const write = createEventWriter(readColumns(core, batch.batch), timeField);
        const order = rows
          .map((_, at) => at)
          .sort((a, b) => {
            const [left, right] = [rows[a]!.timeUs, rows[b]!.timeUs];
            return left < right ? -1 : left > right ? 1 : a - b;
          });
        const lines = Buffer.from(page.finish(page.count)).toString();
        assert.equal(lines, order.map((at) => `${write(at)}\n`).join(""));
        open.dispose();
        (core.exports as unknown as { batchDispose(batch: number): void }).batchDispose(batch.batch);
      },
    ),
    { numRuns: 3_000 },
  );
});

test("a key selects the rows in which a key field has that text", () => {
  const core = instantiateCore();
  const keys = fc.constantFrom(
    "a",
    "7",
    "-7",
    "0",
    "-0",
    "true",
    "false",
    "null",
    "1.5",
    "1e21",
    "",
    "9007199254740993",
  );
  const values = fc.record({
    isNull: fc.boolean(),
    bool: fc.boolean(),
    int: fc.constantFrom(7n, -7n, 0n, 9_007_199_254_740_993n),
    float: fc.constantFrom(7, 0, -0, 1.5, 1e21, Number.NaN, Infinity),
    text: fc.constantFrom("a", "7", "", "true", "null"),
  });
  fc.assert(
    fc.property(
      columns,
      fc.array(fc.array(values, { minLength: 5, maxLength: 5 }), { maxLength: 8 }),
      keys,
      (names, rows, key) => {
        const batch = buildBatch(core);
        for (const { name, type } of names) batch.addColumn(name, type);
        for (const [index, cells] of rows.entries()) {
          const at = batch.addRow(BigInt(index), 0);
          for (const [column, { type }] of names.entries()) setCell(batch, column, at, type, cells[column]!);
        }
        const keyFields = ["a", "b", "z"];
        const open = openBatch(core, batch.batch, "ts", createEventWriter);
        const found = selectRows(core, open, { ...ALL, key, keyFields });
        const reader = readColumns(core, batch.batch);
        const fields = reader.columns.filter(({ name }) => keyFields.includes(name));
        const expected = rows.filter((_, at) =>
          fields.some(({ valueAt }) => {
            const value = valueAt(at);
            return value !== null && valueText(value) === key;
          }),
        );
        assert.equal(found, expected.length);
        (core.exports as unknown as { batchDispose(batch: number): void }).batchDispose(batch.batch);
      },
    ),
    { numRuns: 1_000 },
  );
});
