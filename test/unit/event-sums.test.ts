import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { type BatchHandle, decodeBlock, encodeBatch, newBatch } from "../../workers/core/codec.ts";
import {
  addHashes,
  addPackedSums,
  HASH_VERSION,
  type HourSum,
  NO_HASH,
  packedSums,
  sumEvents,
  unpackSums,
} from "../../workers/core/event-sums.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { createParser } from "../../workers/core/parse.ts";
import type { StreamPlan } from "../../workers/messages.ts";

const HOUR_US = 3_600_000_000n;
const RUNS = Number(process.env.MILLRACE_RUNS ?? 100);
const core = instantiateCore();
const { batchDispose } = core.exports as unknown as { batchDispose(batch: BatchHandle): void };

const PLAN: StreamPlan = {
  stream: "s",
  key: ["a"],
  isKeyDeclared: true,
  time: { fields: ["ts"], isDeclared: true, unit: "ms" },
  fields: null,
  extra: "keep",
  maxAheadUs: Number.MAX_SAFE_INTEGER,
};

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
  const block = encodeBatch(core, builder.batch, { stream: "s" });
  batchDispose(builder.batch);
  return block;
}

function sumOf(...blocks: readonly Uint8Array<ArrayBuffer>[]): HourSum[] {
  const batch = newBatch(core);
  for (const block of blocks) decodeBlock(core, block, batch);
  const sums = sumEvents(core, batch);
  batchDispose(batch);
  return sums;
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
    // As many characters as a number can have, and one more.
    "-0.0000016492919191680582",
    "-0.00000164929191916805820",
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

test("parsers that keep texts from batch to batch give the sums of blocks that are read anew", () => {
  const text = fc.integer({ min: 0, max: 400 }).map((n) => (n % 7 === 0 ? String(n) : `text ${n}`));
  const names = ["a", "b", ...Array.from({ length: 10 }, (_, index) => `c${index}`)];
  const value = fc.oneof(text, fc.double({ noNaN: true, noDefaultInfinity: true }), fc.maxSafeInteger());
  // A step's texts, numbers and booleans come with rows that lack them, and columns that no row lacks.
  const line = fc.oneof(
    fc.dictionary(fc.constantFrom(...names), text, { maxKeys: names.length }),
    fc.record({ a: text, n: fc.double({ noNaN: true, noDefaultInfinity: true }), i: fc.maxSafeInteger() }),
    fc.dictionary(fc.constantFrom("n", "i", "t"), fc.oneof(value, fc.boolean()), { maxKeys: 3 }),
  );
  const step = fc.record({
    stream: fc.nat({ max: 4 }),
    lines: fc.array(line, { minLength: 1, maxLength: 40 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const lane = instantiateCore();
      const parsers = Array.from({ length: 5 }, (_, index) =>
        createParser(lane, { ...PLAN, stream: `s${index}` }),
      );
      for (const { stream, lines } of steps) {
        const parser = parsers[stream]!;
        const ndjson = lines.map((fields, at) => JSON.stringify({ ...fields, ts: at })).join("\n");
        parser.begin(0);
        parser.parse("ndjson", Buffer.from(ndjson));
        const batch = parser.finish();
        const encoded = encodeBatch(lane, batch, { stream: `s${stream}` });
        // Twice: the second finds all that the first has hashed.
        for (let times = 0; times < 2; times++) assert.deepEqual(sumEvents(lane, batch), sumOf(encoded));
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

/** The hash by its definition, with big integers: what is in books on disk must be found by later releases. */
const U64 = (value: bigint): bigint => BigInt.asUintN(64, value);
const mixLow = (start: bigint): bigint => {
  let value = U64((start ^ (start >> 30n)) * 0xbf58476d1ce4e5b9n);
  value = U64((value ^ (value >> 27n)) * 0x94d049bb133111ebn);
  return value ^ (value >> 31n);
};
const mixHigh = (start: bigint): bigint => {
  let value = U64((start ^ (start >> 33n)) * 0xff51afd7ed558ccdn);
  value = U64((value ^ (value >> 33n)) * 0xc4ceb9fe1a85ec53n);
  return value ^ (value >> 33n);
};
const SEED_LOW = 0x9e3779b97f4a7c15n;
const SEED_HIGH = 0xc2b2ae3d27d4eb4fn;
type Lanes = readonly [low: bigint, high: bigint];

function hashOfBytes(text: string): Lanes {
  const bytes = Buffer.from(text);
  const words = Array.from({ length: Math.floor(bytes.length / 8) }, (_, n) => bytes.readBigUInt64LE(n * 8));
  let low = SEED_LOW ^ U64(BigInt(bytes.length) * 0xff51afd7ed558ccdn);
  let high = SEED_HIGH ^ U64(BigInt(bytes.length) * 0xbf58476d1ce4e5b9n);
  for (const word of words) {
    low = U64(mixLow(low ^ word) + SEED_LOW);
    high = mixHigh(U64(high + word)) ^ SEED_HIGH;
  }
  const rest = [...bytes.subarray(words.length * 8)].reduceRight(
    (sum, byte) => (sum << 8n) | BigInt(byte),
    0n,
  );
  return [mixLow(low ^ rest ^ 0x74657874n), mixHigh(U64(high + rest + 0x74657874n))];
}

const hashOfBool = (value: bigint): Lanes => [
  mixLow(U64(value + 0x626f6f6cn * SEED_LOW)),
  mixHigh(U64((value ^ 0x626f6f6cn) + SEED_HIGH)),
];

/** Of 64 bits, low lane and high lane, with what a name gives. */
function productsOf(bits: bigint, [low, high]: Lanes): Lanes {
  const word = bits ^ (bits >> 20n);
  const [upper, lower] = [word >> 32n, word & 0xffff_ffffn];
  const lane = (keys: bigint): bigint =>
    BigInt.asUintN(32, lower + (keys & 0xffff_ffffn)) * BigInt.asUintN(32, upper + (keys >> 32n));
  return [lane(low), lane(high)];
}

/** What a value comes to in a column whose name gives these numbers. */
function cellOf(value: Value, name: Lanes): Lanes {
  const weighed = ([low, high]: Lanes): Lanes => [U64(low * name[0]), U64(high * name[1])];
  if (typeof value === "boolean") return weighed(hashOfBool(value ? 1n : 0n));
  if (typeof value === "string") {
    if (value === "true" || value === "false") return cellOf(value === "true", name);
    const isNumber =
      String(Number(value)) === value || (/^-?[0-9]+$/.test(value) && String(BigInt(value)) === value);
    return isNumber && Number.isFinite(Number(value))
      ? cellOf(Number(value), name)
      : weighed(hashOfBytes(value));
  }
  const number = Number(value);
  if (!Number.isFinite(number)) return weighed(hashOfBytes(String(number)));
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, number === 0 ? 0 : number);
  return productsOf(view.getBigUint64(0), name);
}

function plainSums(events: readonly Event[]): HourSum[] {
  return added(
    events.map(({ timeUs, fields }) => {
      let [low, high] = productsOf(U64(timeUs), [0xa0761d6478bd642fn, 0xd6e8feb86659fd93n]);
      for (const [name, value] of Object.entries(fields)) {
        const [nameLow, nameHigh] = hashOfBytes(name);
        const cell = cellOf(value, [nameLow | 1n, nameHigh | 1n]);
        low += cell[0];
        high += cell[1];
      }
      low = mixLow(U64(low));
      high = mixHigh(U64(high));
      const hourUs = Number(timeUs - (((timeUs % HOUR_US) + HOUR_US) % HOUR_US));
      const hash = [high, low].map((lane) => lane.toString(16).padStart(16, "0")).join("");
      return [{ hourUs, count: 1, hash }];
    }),
  );
}

test("sums are those of the definition, event by event", () => {
  fc.assert(
    fc.property(block, (events) => {
      assert.deepEqual(sumOf(blockOf(events, NAMES)), plainSums(events));
    }),
    { numRuns: RUNS },
  );
});

test("many rows, in several portions of them, are the sum of each", () => {
  const events = Array.from(
    { length: 1_300 },
    (_, n): Event => ({
      timeUs: BigInt(n) * 3_000_000n,
      fields: { device: `device-${n % 700}`, ...(n % 3 === 0 ? {} : { a: n / 4 }), b: n % 5 === 0 },
    }),
  );
  assert.deepEqual(sumOf(blockOf(events, NAMES)), plainSums(events));
});

test("columns that have all values, with odd ones among them, in odd and even numbers of rows", () => {
  const float = fc.oneof(fc.double({ noNaN: false }), fc.constantFrom(0, -0, 0.1, 1e300));
  const edge = 2n ** 51n;
  const int = fc.oneof(
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.bigInt({ min: -edge, max: edge - 1n }),
    fc.constantFrom(0n, -1n, edge - 1n, edge, -edge, -edge - 1n),
  );
  const short = fc.bigInt({ min: -edge, max: edge - 1n });
  const column = (value: fc.Arbitrary<Value>) => fc.array(value, { minLength: 5, maxLength: 6 });
  const finite = fc.double({ noNaN: true, noDefaultInfinity: true });
  fc.assert(
    fc.property(
      fc.oneof(column(finite), column(float)),
      fc.oneof(column(short), column(int)),
      column(fc.boolean()),
      fc.array(time, { minLength: 6, maxLength: 6 }),
      (a, b, device, times) => {
        const rows = Math.min(a.length, b.length, device.length);
        const events = Array.from(
          { length: rows },
          (_, n): Event => ({ timeUs: times[n]!, fields: { a: a[n]!, b: b[n]!, device: device[n]! } }),
        );
        assert.deepEqual(sumOf(blockOf(events, NAMES)), plainSums(events));
      },
    ),
    { numRuns: RUNS },
  );
});

test("sums that are kept with blocks add up to those of all", () => {
  fc.assert(
    fc.property(fc.array(block, { minLength: 1, maxLength: 3 }), (blocks) => {
      const batches = blocks.map((events) => {
        const batch = newBatch(core);
        decodeBlock(core, blockOf(events, NAMES), batch);
        return batch;
      });
      const parts = batches.map((batch) => packedSums(core, batch));
      parts.forEach((part, index) => {
        if (part !== null) assert.deepEqual(unpackSums(part), sumEvents(core, batches[index]!));
        else assert.ok(sumEvents(core, batches[index]!).length > 4);
      });
      if (parts.some((part) => part === null)) return;
      const sum = addPackedSums(parts.map((part) => part!));
      const total = added(batches.map((batch) => sumEvents(core, batch)));
      if (sum !== null) assert.deepEqual(unpackSums(sum), total);
      else assert.ok(total.length > 4);
    }),
    { numRuns: RUNS },
  );
});

test("sums of another version of the hash are neither read nor added", () => {
  const batch = newBatch(core);
  decodeBlock(core, blockOf([{ timeUs: 5n, fields: { a: 1n } }], NAMES), batch);
  const part = packedSums(core, batch)!;
  assert.equal(part[0], HASH_VERSION);
  // The first version had no byte in front; a later one has another.
  const others = [part.slice(1), Uint8Array.of(HASH_VERSION + 1, ...part.slice(1)), new Uint8Array(0)];
  for (const other of others) {
    assert.equal(unpackSums(other), null);
    assert.equal(addPackedSums([part, other]), null);
    assert.equal(addPackedSums([other, other]), null);
  }
  // Where they lie in a larger buffer, as rows of SQLite do.
  const within = new Uint8Array([9, 9, 9, ...part, 9]).subarray(3, 3 + part.length);
  assert.deepEqual(unpackSums(within), sumEvents(core, batch));
});
