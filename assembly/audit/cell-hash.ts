import { ColumnType } from "../batch/batch";
import { writeDouble, writeInteger } from "../codec/numbers";
import { doubleValue, integerValue, isInteger, readNumber } from "../parse/number";

/**
 * Hashes of values that do not change when a column is widened (`assembly/codec/widen.ts`): a number is its double, whatever
 * it stands as; a text that widening may have made of a number or a boolean counts as that. Two lanes of 64 bits, each with
 * seeds of its own.
 */

/** Odd multipliers of splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014) … */
const MIX_A: u64 = 0xbf58476d1ce4e5b9;
const MIX_B: u64 = 0x94d049bb133111eb;
/** … and of MurmurHash3's 64-bit finalizer (Appleby, 2011) in the other lane. */
const MIX_C: u64 = 0xff51afd7ed558ccd;
const MIX_D: u64 = 0xc4ceb9fe1a85ec53;
const SEED_LOW: u64 = 0x9e3779b97f4a7c15;
const SEED_HIGH: u64 = 0xc2b2ae3d27d4eb4f;

/** What a value is, so that the number 1 is not true. */
const NUMBER: u64 = 0x6e756d62;
const BOOL: u64 = 0x626f6f6c;
const TEXT: u64 = 0x74657874;

/** The longest text that a number becomes: "-2.2250738585072014e-308". */
const MAX_NUMBER_BYTES: u32 = 24;
/** A copy of the text with zeros behind it, and the number as it would be written. */
const COPY = memory.data(48);
const WRITTEN = memory.data(48);

/** The hash made last. */
export let low: u64 = 0;
export let high: u64 = 0;

@inline
export function mixLow(value: u64): u64 {
  value = (value ^ (value >> 30)) * MIX_A;
  value = (value ^ (value >> 27)) * MIX_B;
  return value ^ (value >> 31);
}

@inline
export function mixHigh(value: u64): u64 {
  value = (value ^ (value >> 33)) * MIX_C;
  value = (value ^ (value >> 33)) * MIX_D;
  return value ^ (value >> 33);
}

@inline
function hashWord(word: u64, kind: u64): void {
  low = mixLow(word + kind * SEED_LOW);
  high = mixHigh((word ^ kind) + SEED_HIGH);
}

/** Hashes bytes as they are. Reads nothing behind them. */
export function hashBytes(text: usize, length: u32): void {
  let a: u64 = SEED_LOW ^ (<u64>length * MIX_C);
  let b: u64 = SEED_HIGH ^ (<u64>length * MIX_A);
  const end = text + length;
  for (; text + 8 <= end; text += 8) {
    const word = load<u64>(text);
    a = mixLow(a ^ word) + SEED_LOW;
    b = mixHigh(b + word) ^ SEED_HIGH;
  }
  let rest: u64 = 0;
  for (let shift: u64 = 0; text < end; text++, shift += 8) rest |= <u64>load<u8>(text) << shift;
  low = mixLow(a ^ rest ^ TEXT);
  high = mixHigh(b + rest + TEXT);
}

@inline
function hashDouble(value: f64): void {
  // −0 and 0 are written alike.
  if (value == 0) hashWord(0, NUMBER);
  else if (isFinite(value)) hashWord(reinterpret<u64>(value), NUMBER);
  else hashBytes(WRITTEN, writeDouble(value, WRITTEN));
}

/** Hashes the value of a cell that is no text. */
@inline
export function hashValue(cell: u64, type: ColumnType): void {
  if (type == ColumnType.Int) hashDouble(<f64>(<i64>cell));
  else if (type == ColumnType.Float) hashDouble(reinterpret<f64>(cell));
  else hashWord(cell & 1, BOOL);
}

export function hashText(text: usize, length: u32): void {
  if (length == 4 && load<u32>(text) == 0x65757274) hashWord(1, BOOL);
  else if (length == 5 && load<u32>(text) == 0x736c6166 && load<u8>(text, 4) == 0x65) hashWord(0, BOOL);
  else if (mayBeNumber(text, length) && isNumber(text, length)) hashDouble(doubleValue);
  else hashBytes(text, length);
}

@inline
function mayBeNumber(text: usize, length: u32): bool {
  if (length == 0 || length > MAX_NUMBER_BYTES) return false;
  const first = load<u8>(text);
  return first == 0x2d || <u32>first - 48 < 10;
}

/** Whether a number, written as widening writes it, is this text. Sets `doubleValue`. */
function isNumber(text: usize, length: u32): bool {
  memory.fill(COPY, 0, 48);
  memory.copy(COPY, text, length);
  if (readNumber(COPY) != COPY + length) return false;
  if (isInteger && isWritten(writeInteger(integerValue, WRITTEN), length)) return true;
  return isWritten(writeDouble(doubleValue, WRITTEN), length);
}

@inline
function isWritten(written: u32, length: u32): bool {
  return written == length && memory.compare(WRITTEN, COPY, length) == 0;
}
