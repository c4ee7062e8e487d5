import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { decodeBlock, encodeBatch, newBatch } from "../../workers/core/codec.ts";
import { addHashes, type HourSum, NO_HASH, sumEvents } from "../../workers/core/event-sums.ts";
import { instantiateCore } from "../../workers/core/module.ts";

const HOUR_US = 3_600_000_000n;
const RUNS = Number(process.env.MILLRACE_RUNS ?? 100);
const core = instantiateCore();

type Value = bigint | number | boolean | string;
interface Event {
  readonly timeUs: bigint;
  readonly fields: Readonly<Record<string, Value>>;
}

/** A block of events: columns in the order of `names`, each of the type of its values. */
function blockOf(events: readonly Event[], names: readonly string[]): Uint8Array<ArrayBuffer> {
  const builder = buildBatch(core);
  const columns = names.map((name) => {
    const values = events.flatMap(({ fields }) => (name in fields ? [fields[name]!] : []));
    const kinds = new Set(values.map((value) => typeof value));
    assert.ok(kinds.size <= 1, "a block's column is of one type");
    const kind = [...kinds][0] ?? "number";
    const type = ({ bigint: "int", number: "float", boolean: "bool", string: "string" } as const)[
      kind as "bigint" | "number" | "boolean" | "string"
    ];
    return { name, type, column: builder.addColumn(name, type) };
  });
  for (const { timeUs, fields } of events) {
    const row = builder.addRow(timeUs, 0);
    for (const { name, type, column } of columns) {
      const value = fields[name];
      if (value === undefined) continue;
      if (type === "int") builder.setInt(column, row, BigInt(value));
      else if (type === "float") builder.setFloat(column, row, Number(value));
      else if (type === "bool") builder.setBool(column, row, value === true);
      else builder.setText(column, row, String(value));
    }
  }
  return encodeBatch(core, builder.batch, { stream: "s" });
}

function sumOf(...blocks: readonly Uint8Array<ArrayBuffer>[]): HourSum[] {
  const batch = newBatch(core);
  for (const block of blocks) decodeBlock(core, block, batch);
  return sumEvents(core, batch);
}

function added(lists: readonly (readonly HourSum[])[]): HourSum[] {
  const hours = new Map<number, HourSum>();
  for (const { hourUs, count, hash } of lists.flat()) {
    const known = hours.get(hourUs) ?? { hourUs, count: 0, hash: NO_HASH };
    hours.set(hourUs, { hourUs, count: known.count + count, hash: addHashes(known.hash, hash) });
  }
  return [...hours.values()].sort((a, b) => a.hourUs - b.hourUs);
}

const NAMES = ["a", "b", "device"];
const time = fc.bigInt({ min: -3n * HOUR_US, max: 5n * HOUR_US });
const text = fc.oneof(
  fc.string({ maxLength: 24 }),
  fc.constantFrom(
    "",
    "true",
    "false",
    "5",
    "-0",
    "0",
    "1e21",
    "007",
    "NaN",
    "1.5",
    "1.50",
    "9007199254740993",
  ),
);
const kinds: readonly fc.Arbitrary<Value>[] = [
  fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -9n, max: 9n })),
  fc.oneof(fc.double({ noNaN: false }), fc.integer({ min: -9, max: 9 })),
  fc.boolean(),
  text,
];
/** Blocks whose columns have one type each, though another in another block. */
const block: fc.Arbitrary<Event[]> = fc
  .array(fc.nat({ max: 3 }), { minLength: 3, maxLength: 3 })
  .chain((types) =>
    fc.array(
      fc.record({
        timeUs: time,
        fields: fc.record(Object.fromEntries(NAMES.map((name, index) => [name, kinds[types[index]!]!])), {
          requiredKeys: [],
        }),
      }),
      { minLength: 1, maxLength: 12 },
    ),
  ) as fc.Arbitrary<Event[]>;

test("sums do not depend on blocks, on the order of rows and columns, or on how columns were widened", () => {
  fc.assert(
    fc.property(fc.array(block, { minLength: 1, maxLength: 4 }), (blocks) => {
      const apart = blocks.map((events) => sumOf(blockOf(events, NAMES)));
      const total = added(apart);
      // Merged: columns of one name become of the wider type.
      const merged = sumOf(...blocks.map((events) => blockOf(events, NAMES)));
      assert.deepEqual(merged, total);
      const turned = sumOf(
        ...blocks.toReversed().map((events) => blockOf(events.toReversed(), NAMES.toReversed())),
      );
      assert.deepEqual(turned, total);
      for (const { hourUs, count } of total) {
        const inHour = blocks
          .flat()
          .filter(({ timeUs }) => timeUs >= BigInt(hourUs) && timeUs < BigInt(hourUs) + HOUR_US);
        assert.equal(count, inHour.length);
      }
    }),
    { numRuns: RUNS },
  );
});

test("an event more, one less, or one with another time, name or value changes the sum", () => {
  const base: Event = { timeUs: 5n, fields: { a: 5n, b: "x" } };
  const sum = (...events: Event[]): string => sumOf(blockOf(events, ["a", "b", "c"]))[0]!.hash;
  const others: readonly Event[][] = [
    [base, base],
    [{ ...base, timeUs: 6n }],
    [{ ...base, fields: { a: 6n, b: "x" } }],
    [{ ...base, fields: { a: 5n } }],
    [{ ...base, fields: { a: 5n, c: "x" } }],
    [{ ...base, fields: { a: 5n, b: "y" } }],
    [{ ...base, fields: { a: true, b: "x" } }],
    [{ ...base, fields: { a: 5n, b: "x", c: "" } }],
  ];
  const hashes = [[base], ...others].map((events) => sum(...events));
  assert.equal(new Set(hashes).size, hashes.length);
});

test("values that change places between events, or between members, change the sum", () => {
  const sum = (...events: Event[]): string => sumOf(blockOf(events, ["a", "b"]))[0]!.hash;
  const at = (a: bigint, b: bigint, timeUs = 0n): Event => ({ timeUs, fields: { a, b } });
  assert.notEqual(sum(at(1n, 2n), at(3n, 4n)), sum(at(1n, 4n), at(3n, 2n)));
  assert.notEqual(sum(at(1n, 2n)), sum(at(2n, 1n)));
  assert.notEqual(sum(at(1n, 1n, 0n), at(2n, 2n, 1n)), sum(at(1n, 1n, 1n), at(2n, 2n, 0n)));
});

test("a thousand hours in one batch", () => {
  const events = Array.from(
    { length: 1_000 },
    (_, hour): Event => ({ timeUs: BigInt(hour) * HOUR_US, fields: {} }),
  );
  const sums = sumOf(blockOf(events, []));
  assert.deepEqual(
    sums.map(({ hourUs, count }) => [hourUs, count]),
    events.map(({ timeUs }) => [Number(timeUs), 1]),
  );
  assert.equal(new Set(sums.map(({ hash }) => hash)).size, 1_000);
});
