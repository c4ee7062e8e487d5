import { Random } from "../../test/support/random.ts";
import type { DataSet, FieldKind, Value } from "./data-set.ts";

/** Data of one column each, by what such columns are like in the field. */
export interface ColumnData extends DataSet {
  /** Bytes of the plain values, times included: 8 a time or number, 1 a boolean, UTF-8 of texts and JSON, nothing for a null. */
  readonly plainBytes: number;
}

const START_MS = Date.UTC(2026, 2, 1);
const EVERY_MS = 1_000;
const TIME_BYTES = 8;
const SEED = 5;
const STATES = ["running", "idle", "starting", "stopping", "maintenance", "fault", "setup", "off"];

type MakeValue = (random: Random, event: number) => Value;

/** Columns of times stand alone; every other has regular times beside it, which a block always has. */
export function makeColumns(events: number): ColumnData[] {
  return [
    times("times, regular", events, () => 0),
    times("times, up to 5 ms off", events, (random) => random.integer(0, 5)),
    times("times, up to 10 s off, any order", events, (random) => random.integer(0, 10_000)),
    column("integers, steady", "int", events, () => 1_500),
    column("integers, 0 to 1,000,000", "int", events, (random) => random.integer(0, 1_000_000)),
    column(
      "integers, a counter",
      "int",
      events,
      walk(1e9, (random) => random.integer(0, 50)),
    ),
    column("decimals of two digits, a walk", "float", events, decimalWalk()),
    column("decimals of two digits, 0 to 100", "float", events, (random) => random.integer(0, 10_000) / 100),
    column("doubles, random", "float", events, randomDouble),
    column("booleans, 97 % true", "bool", events, (random) => random.chance(0.97)),
    column("texts, 8 different", "string", events, (random) => random.pick(STATES)),
    column("texts, 10,000 different", "string", events, (random) => `device-${random.integer(0, 9_999)}`),
    column("texts, all different", "string", events, (random) => random.bytes(16).toString("hex")),
    column("decimals, nine of ten null", "float", events, (random) =>
      random.chance(0.9) ? null : random.integer(0, 10_000) / 100,
    ),
    column("undeclared, nested", "undeclared", events, (random, event) =>
      JSON.stringify({
        gps: { lat: 47 + random.integer(0, 9_999) / 1e4, lon: 8 + random.integer(0, 9_999) / 1e4 },
        tags: [random.pick(STATES), random.pick(STATES)],
        run: event,
      }),
    ),
  ];
}

function times(name: string, events: number, offMs: (random: Random) => number): ColumnData {
  const random = new Random(SEED);
  const timesMs = Array.from({ length: events }, (_, event) => START_MS + event * EVERY_MS + offMs(random));
  return {
    name,
    timesMs,
    fields: [],
    plainBytes: events * TIME_BYTES,
    text: (row) => `{"ts":${timesMs[row]}}\n`,
  };
}

function column(name: string, kind: FieldKind, events: number, make: MakeValue): ColumnData {
  const random = new Random(SEED);
  const timesMs = Array.from({ length: events }, (_, event) => START_MS + event * EVERY_MS);
  const values = Array.from({ length: events }, (_, event) => make(random, event));
  return {
    name,
    timesMs,
    fields: [{ name: "v", kind, values }],
    plainBytes: values.reduce((sum: number, value) => sum + plainBytesOf(value), events * TIME_BYTES),
    text: (row) => {
      const value = values[row]!;
      if (kind === "undeclared") return `{"ts":${timesMs[row]},${String(value).slice(1)}\n`;
      return value === null
        ? `{"ts":${timesMs[row]}}\n`
        : `{"ts":${timesMs[row]},"v":${JSON.stringify(value)}}\n`;
    },
  };
}

function plainBytesOf(value: Value): number {
  if (value === null) return 0;
  if (typeof value === "string") return Buffer.byteLength(value);
  return typeof value === "boolean" ? 1 : 8;
}

function walk(from: number, step: (random: Random) => number): MakeValue {
  let value = from;
  return (random) => {
    value += step(random);
    return value;
  };
}

/** Of all 53 bits, in [0, 100). */
function randomDouble(random: Random): number {
  return ((random.integer(0, 2 ** 27 - 1) * 2 ** 26 + random.integer(0, 2 ** 26 - 1)) / 2 ** 53) * 100;
}

/** In hundredths, so that no error adds up. */
function decimalWalk(): MakeValue {
  const hundredths = walk(2_150, (random) => random.integer(-20, 20));
  return (random, event) => Number(hundredths(random, event)) / 100;
}
