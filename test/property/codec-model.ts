import assert from "node:assert/strict";
import fc from "fast-check";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { type BatchHandle, readColumns } from "../../workers/core/codec.ts";
import type { CoreModule } from "../../workers/core/module.ts";
import type { FieldType } from "../../workers/messages.ts";
import { Random } from "../support/random.ts";

/** A batch in plain JavaScript. Numbers and booleans are the 64 bits of their cells, so that every NaN is itself. */
export interface BatchModel {
  readonly times: readonly bigint[];
  readonly flags: readonly number[];
  readonly columns: readonly ColumnModel[];
  readonly extra: readonly (string | null)[];
}
export interface ColumnModel {
  readonly name: string;
  readonly type: FieldType | "null";
  readonly values: readonly (bigint | string | null)[];
}

export function bitsOf(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return view.getBigInt64(0);
}

export function fill(core: CoreModule, model: BatchModel): BatchHandle {
  const builder = buildBatch(core);
  const indexes = model.columns.map(({ name, type }) => builder.addColumn(name, type));
  model.times.forEach((time, i) => {
    const row = builder.addRow(time, model.flags[i]!);
    model.columns.forEach(({ values }, c) => {
      const value = values[i]!;
      if (typeof value === "bigint") builder.setBits(indexes[c]!, row, value);
      else if (value !== null) builder.setText(indexes[c]!, row, value);
    });
    const extra = model.extra[i]!;
    if (extra !== null) builder.setExtra(row, extra);
  });
  return builder.batch;
}

interface ViewExports {
  codecViewColumn(batch: number, index: number): number;
}

export function read(core: CoreModule, batch: BatchHandle): BatchModel {
  const reader = readColumns(core, batch);
  const { codecViewColumn } = core.exports as unknown as ViewExports;
  const memory = new DataView(core.memory.buffer);
  const rows = Array.from({ length: reader.rows }, (_, row) => row);
  return {
    times: [...reader.times],
    flags: [...reader.flags],
    columns: reader.columns.map(({ name, type, valueAt }, index) => {
      const cells = memory.getUint32((codecViewColumn(batch, index) >>> 0) + 12, true);
      const cellAt = (row: number): bigint | string | null => {
        const value = valueAt(row);
        return value === null || typeof value === "string"
          ? value
          : memory.getBigInt64(cells + row * 8, true);
      };
      assert.notEqual(type, "raw");
      return { name, type: type as FieldType | "null", values: rows.map(cellAt) };
    }),
    extra: rows.map((row) => reader.extraAt(row)),
  };
}

export function select(model: BatchModel, mask: readonly number[]): BatchModel {
  const pick = <T>(values: readonly T[]): T[] => values.filter((_, i) => mask[i] !== 0);
  return {
    times: pick(model.times),
    flags: pick(model.flags),
    columns: model.columns.map((column) => ({ ...column, values: pick(column.values) })),
    extra: pick(model.extra),
  };
}

const anyBits = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const smallInt = fc.integer({ min: -1000, max: 1000 }).map(BigInt);
const extremeInt = fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n, 0n, -1n, 1n, 2n ** 53n, -(2n ** 53n) - 1n);

/** Sequences of different shape, for each way that integers are written. */
function intSequence(length: number): fc.Arbitrary<bigint[]> {
  const base = fc.oneof(anyBits, smallInt);
  return fc.oneof(
    fc.array(fc.oneof(smallInt, extremeInt, anyBits), { minLength: length, maxLength: length }),
    fc.array(smallInt, { minLength: length, maxLength: length }),
    fc
      .tuple(
        base,
        base,
        fc.array(smallInt, { minLength: length, maxLength: length }),
        fc.constantFrom(1n, 7n, 1000n, 2n ** 29n),
      )
      .map(([start, step, noise, factor]) =>
        noise.map((value, i) => BigInt.asIntN(64, start + (step * BigInt(i) + value) * factor)),
      ),
    fc.tuple(base, fc.array(smallInt, { minLength: length, maxLength: length })).map(([start, steps]) => {
      let value = start;
      let speed = 0n;
      return steps.map((step) => {
        speed += step;
        value = BigInt.asIntN(64, value + speed);
        return value;
      });
    }),
  );
}

const oddFloat = fc.constantFrom(
  ...[
    0,
    -0,
    Number.NaN,
    Infinity,
    -Infinity,
    Number.MIN_VALUE,
    Number.MAX_VALUE,
    0.1,
    1 / 3,
    1e22,
    2 ** 51,
    2 ** 53,
  ].map(bitsOf),
  0x7ff8000000000001n,
  BigInt.asIntN(64, 0xfff4deadbeef0001n),
);
const decimal = fc
  .tuple(fc.integer({ min: -1_000_000, max: 1_000_000 }), fc.integer({ min: 0, max: 6 }))
  .map(([digits, places]) => bitsOf(digits / 10 ** places));

function floatSequence(length: number): fc.Arbitrary<bigint[]> {
  const sized = { minLength: length, maxLength: length };
  const rarely = { arbitrary: oddFloat, weight: 1 };
  return fc.oneof(
    fc.array(fc.oneof({ arbitrary: decimal, weight: 30 }, rarely), sized),
    fc.array(
      decimal.map((bits) => bits + 1n),
      sized,
    ),
    fc.array(fc.double().map(bitsOf), sized),
    fc.array(fc.float().map(bitsOf), sized),
    fc.array(oddFloat, sized),
    fc.array(anyBits, sized),
  );
}

function textSequence(length: number): fc.Arbitrary<string[]> {
  const sized = { minLength: length, maxLength: length };
  const text = fc.string({ unit: "grapheme", maxLength: 12 });
  const number = fc.integer({ min: 0, max: 20_000 });
  return fc.oneof(
    fc.array(text, sized),
    fc.array(fc.constantFrom("", "on", "off", "värme", "温度", "🌡️"), sized),
    fc.array(
      number.map((n) => `dev-${String(n).padStart(5, "0")}`),
      sized,
    ),
    fc.array(
      fc.tuple(number, number).map(([a, b]) => `site${a}/line${b}/x`),
      sized,
    ),
    fc.array(fc.oneof(number.map(String), fc.constantFrom("007", "", "x1", "99999999999999999999")), sized),
    fc.array(
      fc.tuple(text, number).map(([a, b]) => `${a}${b}`),
      sized,
    ),
  );
}

/** Small steps often, large ones seldom: what entropy coding is for. */
function skewedSequence(length: number): fc.Arbitrary<bigint[]> {
  const step = fc.oneof(
    { arbitrary: fc.integer({ min: -3, max: 3 }).map(BigInt), weight: 12 },
    { arbitrary: smallInt, weight: 3 },
    { arbitrary: fc.oneof(anyBits, extremeInt), weight: 1 },
  );
  return fc.array(step, { minLength: length, maxLength: length });
}

function sequenceOf(type: ColumnModel["type"], length: number): fc.Arbitrary<(bigint | string | null)[]> {
  switch (type) {
    case "null":
      return fc.constant(Array.from({ length }, () => null));
    case "bool":
      return fc.oneof(
        fc.array(fc.constantFrom(0n, 1n), { minLength: length, maxLength: length }),
        fc.array(
          fc.nat({ max: 40 }).map((n) => (n === 0 ? 1n : 0n)),
          { minLength: length, maxLength: length },
        ),
        fc.array(
          fc.nat({ max: 40 }).map((n) => (n === 0 ? 0n : 1n)),
          { minLength: length, maxLength: length },
        ),
      );
    case "int":
      return fc.oneof(intSequence(length), skewedSequence(length));
    case "float":
      return floatSequence(length);
    case "string":
      return textSequence(length);
  }
}

function columnOf(name: string, length: number): fc.Arbitrary<ColumnModel> {
  return fc.constantFrom<ColumnModel["type"]>("null", "bool", "int", "float", "string").chain((type) =>
    fc
      .record({
        values: sequenceOf(type, length),
        nulls: fc.oneof(
          fc.constant(new Array<boolean>(length).fill(false)),
          fc.array(fc.boolean(), { minLength: length, maxLength: length }),
          fc.constant(new Array<boolean>(length).fill(true)),
        ),
      })
      .map(({ values, nulls }) => ({
        name,
        type,
        values: values.map((value, i) => (nulls[i] ? null : value)),
      })),
  );
}

const rowCount = fc.oneof(
  fc.integer({ min: 0, max: 12 }),
  fc.constantFrom(127, 128, 129, 130, 131, 256, 300),
);
const names = fc.uniqueArray(fc.string({ unit: "grapheme", maxLength: 8 }), { maxLength: 5 });

export const batchModel: fc.Arbitrary<BatchModel> = fc
  .tuple(rowCount, names)
  .chain(([length, columnNames]) => {
    const sized = { minLength: length, maxLength: length };
    const noFlags = fc.constant(new Array<number>(length).fill(0));
    const noExtra = fc.constant(new Array<string | null>(length).fill(null));
    return fc.record(
      {
        times: intSequence(length),
        flags: fc.oneof(noFlags, fc.array(fc.constantFrom(0, 0, 1, 128), sized)),
        columns: fc.tuple(...columnNames.map((name) => columnOf(name, length))),
        extra: fc.oneof(noExtra, fc.array(fc.option(fc.json({ maxDepth: 1 })), sized)),
      },
      { noNullPrototype: true },
    );
  });

/**
 * Events of a fleet: many rows, few devices, readings near one another by device. Made from a seed, since drawing
 * thousands of values one by one is slow.
 */
export const fleetModel: fc.Arbitrary<BatchModel> = fc
  .record({
    seed: fc.integer(),
    rows: fc.integer({ min: 1, max: 9000 }),
    devices: fc.constantFrom(1, 2, 40, 3000),
    isInTurn: fc.boolean(),
    nullRate: fc.constantFrom(0, 0.02, 0.6),
    oddRate: fc.constantFrom(0, 0.001, 0.2),
    isKeyLast: fc.boolean(),
  })
  .map(({ seed, rows, devices, isInTurn, nullRate, oddRate, isKeyLast }) => {
    const random = new Random(seed);
    const odd = [-0, Number.NaN, Infinity, 1 / 3, 1e300].map(bitsOf);
    const means = Array.from({ length: devices }, () => random.integer(-4000, 9000));
    const at = Array.from({ length: rows }, (_, row) =>
      isInTurn ? (row * 7) % devices : random.integer(0, devices - 1),
    );
    const orNull = <T>(value: T): T | null => (random.chance(nullRate) ? null : value);
    const reading = (device: number): number => (means[device] = means[device]! + random.integer(-20, 20));
    const key: ColumnModel = { name: "device", type: "string", values: at.map((device) => `line-${device}`) };
    const others: ColumnModel[] = [
      {
        name: "temp",
        type: "float",
        values: at.map((device) =>
          orNull(
            random.chance(oddRate) ? odd[random.integer(0, odd.length - 1)]! : bitsOf(reading(device) / 100),
          ),
        ),
      },
      { name: "count", type: "int", values: at.map((device) => orNull(BigInt(reading(device)))) },
      { name: "state", type: "string", values: at.map(() => orNull(random.chance(0.9) ? "run" : "stop")) },
      { name: "on", type: "bool", values: at.map(() => orNull(random.chance(0.97) ? 1n : 0n)) },
    ];
    return {
      times: at.map((_, row) => BigInt(Date.UTC(2026, 0, 1) + row * 3 + random.integer(0, 4)) * 1000n),
      flags: at.map(() => (random.chance(0.001) ? 1 : 0)),
      columns: isKeyLast ? [...others, key] : [key, ...others],
      extra: at.map((device) => (random.chance(0.01) ? `{"d":${device}}` : null)),
    };
  });
