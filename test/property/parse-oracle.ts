import assert from "node:assert/strict";
import fc from "fast-check";
import type { FieldType } from "../../workers/messages.ts";
import type { Parsed, Value } from "../unit/parse-support.ts";

const MAX_DEPTH = 64;
const MIN_INT64 = -(2n ** 63n);
const MAX_INT64 = 2n ** 63n - 1n;

/** A number as the parser types it; `JSON.parse` alone would lose large integers. */
export class NumberLiteral {
  readonly value: bigint | number;
  readonly number: number;

  constructor(source: string) {
    this.number = Number(source);
    this.value = /^-?\d+$/.test(source) && fitsInt64(BigInt(source)) ? BigInt(source) : Number(source);
  }
}

function fitsInt64(value: bigint): boolean {
  return value >= MIN_INT64 && value <= MAX_INT64;
}

/** One event by `JSON.parse`: its flat members, and what is kept as it stands. */
export interface OracleEvent {
  readonly members: ReadonlyMap<string, boolean | string | NumberLiteral | null>;
  readonly extra: ReadonlyMap<string, unknown>;
}

type Reviver = (key: string, value: unknown, context: { source?: string }) => unknown;

/** The event that a line holds by `JSON.parse` and our documented limits, or null when it must be refused. */
export function oracleEvent(line: Uint8Array): OracleEvent | null {
  let event: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line);
    const keepNumbers: Reviver = (_key, value, { source }) =>
      typeof value === "number" ? new NumberLiteral(source!) : value;
    if (!isWithinLimits(JSON.parse(text))) return null;
    event = JSON.parse(text, keepNumbers as (key: string, value: unknown) => unknown);
    // An earlier value under the same key is dropped by JSON.parse, but is refused all the same.
    if (/\\u[dD][89a-fA-F]/.test(text) && hasLoneSurrogate(text)) return null;
    if (hasInfiniteNumber(text)) return null;
  } catch {
    return null;
  }
  if (typeof event !== "object" || event === null || Array.isArray(event) || event instanceof NumberLiteral)
    return null;
  const members = new Map<string, boolean | string | NumberLiteral | null>();
  const extra = new Map<string, unknown>();
  flatten(event as Record<string, unknown>, "", members, extra);
  return { members, extra };
}

function isWithinLimits(value: unknown, depth = 1): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object" || value === null) return true;
  return depth <= MAX_DEPTH && Object.values(value).every((inner) => isWithinLimits(inner, depth + 1));
}

/** Of any string in the text, kept or not. */
function hasLoneSurrogate(text: string): boolean {
  return (text.match(/"(?:[^"\\]|\\.)*"/g) ?? []).some(
    (literal) => !(JSON.parse(literal) as string).isWellFormed(),
  );
}

function hasInfiniteNumber(text: string): boolean {
  const outside = text.replace(/"(?:[^"\\]|\\.)*"/g, '""');
  return (outside.match(/-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g) ?? []).some(
    (number) => !Number.isFinite(Number(number)),
  );
}

function flatten(
  object: Record<string, unknown>,
  prefix: string,
  members: Map<string, boolean | string | NumberLiteral | null>,
  extra: Map<string, unknown>,
): void {
  for (const [key, value] of Object.entries(object)) {
    const path = prefix + key;
    if (
      value === null ||
      typeof value === "boolean" ||
      typeof value === "string" ||
      value instanceof NumberLiteral
    ) {
      members.set(path, value);
    } else if (Array.isArray(value) || Object.keys(value as object).length === 0) {
      extra.set(path, plain(value));
    } else {
      flatten(value as Record<string, unknown>, `${path}.`, members, extra);
    }
  }
}

/** The value as `JSON.parse` gives it. */
function plain(value: unknown): unknown {
  if (value instanceof NumberLiteral) return value.number;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

/** The columns of a batch, widened event by event as the parser does it. */
export class OracleColumns {
  readonly types = new Map<string, FieldType>();
  readonly rows: Map<string, Value>[] = [];

  add(members: OracleEvent["members"]): void {
    const row = new Map<string, Value>();
    this.rows.push(row);
    for (const [path, member] of members) {
      if (member === null) continue;
      const value = member instanceof NumberLiteral ? member.value : member;
      const type = this.#widen(path, typeOf(value));
      row.set(path, convert(value, type));
    }
  }

  #widen(path: string, seen: FieldType): FieldType {
    const known = this.types.get(path);
    const type = known === undefined || known === seen ? seen : widerOf(known, seen);
    this.types.set(path, type);
    if (known !== undefined && known !== type) {
      for (const row of this.rows) {
        const value = row.get(path);
        if (value !== undefined) row.set(path, convert(value, type));
      }
    }
    return type;
  }
}

function typeOf(value: Value): FieldType {
  if (typeof value === "boolean") return "bool";
  if (typeof value === "bigint") return "int";
  return typeof value === "number" ? "float" : "string";
}

function widerOf(a: FieldType, b: FieldType): FieldType {
  const isNumeric = [a, b].every((type) => type === "int" || type === "float");
  return isNumeric ? "float" : "string";
}

function convert(value: Value, type: FieldType): Value {
  if (type === "string") return String(value);
  return type === "float" && typeof value === "bigint" ? Number(value) : value;
}

/** Cells and readers of ints tell integers in two ways; values are compared as one. */
export function sameValue(a: Value | undefined, b: Value | undefined): boolean {
  if (typeof a === "bigint" || typeof b === "bigint") {
    return (
      (typeof a === "bigint" || Number.isInteger(a)) &&
      (typeof b === "bigint" || Number.isInteger(b)) &&
      BigInt(a as number) === BigInt(b as number)
    );
  }
  // -0 as an integer is 0.
  return a === b;
}

/** Checks a parsed batch against `JSON.parse` of each line or element. */
export function assertAgrees(parsed: Parsed, events: readonly Uint8Array[]): void {
  const columns = new OracleColumns();
  const extras: ReadonlyMap<string, unknown>[] = [];
  const refused: number[] = [];
  for (const [index, line] of events.entries()) {
    const event = oracleEvent(line);
    if (event === null) {
      refused.push(index + 1);
      continue;
    }
    columns.add(event.members);
    extras.push(event.extra);
  }
  assert.deepEqual(
    parsed.errors.map(({ line }) => line),
    refused,
  );
  assert.equal(parsed.accepted, columns.rows.length);
  assert.deepEqual(new Map(parsed.schema.map(({ name, type }) => [name, type])), columns.types);
  parsed.rows.forEach((row, index) => {
    const expected = columns.rows[index]!;
    assert.deepEqual([...row.values.keys()].sort(), [...expected.keys()].sort());
    for (const [path, value] of expected) {
      assert.ok(sameValue(row.values.get(path), value), `${path}: ${row.values.get(path)}, not ${value}`);
    }
    const extra = row.extra === null ? {} : (JSON.parse(row.extra) as object);
    assert.deepEqual(new Map(Object.entries(extra)), extras[index]);
  });
}

/** Bytes with a few of them lost, doubled or changed. */
export const damages = fc.array(
  fc.tuple(
    fc.nat(),
    fc.constantFrom("drop", "double", "set"),
    fc.oneof(fc.constantFrom(0x22, 0x5c, 0x2c, 0x7d, 0x5b, 0x2d, 0x65, 0x30, 0x00), fc.nat(255)),
  ),
  { minLength: 1, maxLength: 3 },
);

export function damage(bytes: Uint8Array, steps: readonly (readonly [number, string, number])[]): Uint8Array {
  const list = [...bytes];
  for (const [place, kind, byte] of steps) {
    const at = place % list.length;
    if (kind === "drop") list.splice(at, 1);
    else if (kind === "double") list.splice(at, 0, list[at]!);
    else list[at] = byte;
    if (list.length === 0) return new Uint8Array();
  }
  return Uint8Array.from(list);
}
