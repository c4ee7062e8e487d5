import { writeDouble, writeInteger } from "../codec/numbers";
import { doubleValue, integerValue, isInteger, readNumber } from "../parse/number";

/**
 * Hashes of texts and booleans that do not change when a column is widened (`assembly/codec/widen.ts`): a text that widening may
 * have made of a number or a boolean counts as that. Two lanes of 64 bits, each with seeds of its own.
 */

/** Odd multipliers of splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014) … */
const MIX_A: u64 = 0xbf58476d1ce4e5b9;
const MIX_B: u64 = 0x94d049bb133111eb;
/** … and of MurmurHash3's 64-bit finalizer (Appleby, 2011) in the other lane. */
const MIX_C: u64 = 0xff51afd7ed558ccd;
const MIX_D: u64 = 0xc4ceb9fe1a85ec53;
const SEED_LOW: u64 = 0x9e3779b97f4a7c15;
const SEED_HIGH: u64 = 0xc2b2ae3d27d4eb4f;

/** What a value is, so that a text is not true. */
const BOOL: u64 = 0x626f6f6c;
const TEXT: u64 = 0x74657874;

/** The longest text that a number becomes: "-0.0000016492919191680582". */
const MAX_NUMBER_BYTES: u32 = 25;
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

/** Fewer than eight bytes as a word, the first lowest. By loads that overlap, none of which goes beyond them. */
@inline
function restOf(text: usize, end: usize): u64 {
  const length = <u64>(end - text);
  if (length >= 4) return <u64>load<u32>(text) | (<u64>load<u32>(end - 4) << ((length - 4) << 3));
  if (length == 0) return 0;
  return (
    <u64>load<u8>(text) |
    (<u64>load<u8>(text + <usize>(length >> 1)) << ((length >> 1) << 3)) |
    (<u64>load<u8>(end - 1) << ((length - 1) << 3))
  );
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
  const rest = restOf(text, end);
  low = mixLow(a ^ rest ^ TEXT);
  high = mixHigh(b + rest + TEXT);
}

/** As `hashBytes`, of fewer than 16 bytes that are there with zeros behind them. */
@inline
export function hashShort(first: u64, second: u64, length: u32): void {
  let a: u64 = SEED_LOW ^ (<u64>length * MIX_C);
  let b: u64 = SEED_HIGH ^ (<u64>length * MIX_A);
  let rest = first;
  if (length >= 8) {
    a = mixLow(a ^ first) + SEED_LOW;
    b = mixHigh(b + first) ^ SEED_HIGH;
    rest = second;
  }
  low = mixLow(a ^ rest ^ TEXT);
  high = mixHigh(b + rest + TEXT);
}

/** By its first byte a text is neither a number nor a boolean, as `hashText` looks for: it is hashed as its bytes. */
@inline
export function isPlain(prefix: u64): bool {
  const first = <u32>prefix & 0xff;
  return first - 48 >= 10 && first != 0x2d && first != 0x74 && first != 0x66;
}

/** Hashes what is no finite number. */
export function hashUnusual(value: f64): void {
  hashBytes(WRITTEN, writeDouble(value, WRITTEN));
}

/** The low lane of a boolean, 0 or 1. */
@inline
export function boolLow(value: u64): u64 {
  return mixLow(value + BOOL * SEED_LOW);
}

@inline
export function boolHigh(value: u64): u64 {
  return mixHigh((value ^ BOOL) + SEED_HIGH);
}

/** Whether a text is to be what a finite number is: `doubleValue`. */
export function isFiniteNumber(text: usize, length: u32): bool {
  return mayBeNumber(text, length) && isNumber(text, length) && isFinite(doubleValue);
}

/** Hashes a text that is no finite number. */
export function hashText(text: usize, length: u32): void {
  if (length == 4 && load<u32>(text) == 0x65757274) hashBool(1);
  else if (length == 5 && load<u32>(text) == 0x736c6166 && load<u8>(text, 4) == 0x65) hashBool(0);
  else hashBytes(text, length);
}

@inline
function hashBool(value: u64): void {
  low = boolLow(value);
  high = boolHigh(value);
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
