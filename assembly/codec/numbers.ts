import { foundCount, foundDigits, NOT_QUICK, quickDigits } from "./quick-digits";
import { writeShortest } from "./shortest";

/** Decimals behind the point that are tried first: most numbers that are measured have no more. */
const FEW_DECIMALS: u32 = 3;
const MAX_FAST_POWER: u32 = 15;
/** Decimals of up to 15 digits are told apart by every double, so the first that fits is the shortest. */
const MAX_FAST_DIGITS: f64 = 1e15;
/** As in ECMAScript's Number::toString: from 1e21 and below 1e-6 the exponent is written. */
const MAX_PLAIN_EXPONENT: i32 = 21;
const MIN_PLAIN_EXPONENT: i32 = -6;

const DIGITS = memory.data(32);

/** Writes a decimal integer, at most 20 bytes. Gives its length. */
export function writeInteger(value: i64, target: usize): u32 {
  if (value >= 0) return writeUnsigned(<u64>value, target);
  store<u8>(target, 45); // -
  return writeUnsigned(<u64>-value, target + 1) + 1;
}

function writeUnsigned(value: u64, target: usize): u32 {
  let length: u32 = 1;
  for (let rest = value / 10; rest != 0; rest /= 10) length++;
  for (let i = length; i > 0; i--) {
    store<u8>(target + i - 1, <u8>(48 + (value % 10)));
    value /= 10;
  }
  return length;
}

/** Writes the shortest decimal that reads back as the same double, as ECMAScript writes it; at most 32 bytes. */
export function writeDouble(value: f64, target: usize): u32 {
  if (value != value) return writeWord(0x4e614e, 3, target); // NaN
  let length: u32 = 0;
  if (value < 0) {
    store<u8>(target, 45); // -
    length = 1;
    value = -value;
  }
  if (value == Infinity) {
    return length + writeWord(0x7974696e69666e49, 8, target + length); // Infinity
  }
  if (value == 0) return writeWord(48, 1, target);
  return length + writePositive(value, target + length);
}

function writeWord(word: u64, length: u32, target: usize): u32 {
  for (let i: u32 = 0; i < length; i++) store<u8>(target + i, <u8>(word >> (i << 3)));
  return length;
}

function writePositive(value: f64, target: usize): u32 {
  const length = writeQuickly(value, target);
  if (length != 0) return length;
  const known = writeDecimals(value, FEW_DECIMALS + 1, MAX_FAST_POWER, target);
  if (known != 0) return known;
  const shortest = writeShortest(value, DIGITS);
  return layOut(<u32>(shortest >> 32), <i32>shortest, target);
}

/** `writeDouble` of what takes no time to speak of, which is most of what is measured; else 0, and what is written means nothing. */
export function writeDoubleQuickly(value: f64, target: usize): u32 {
  if (value > 0) return value == Infinity ? 0 : writeQuickly(value, target);
  if (value == 0) return writeWord(48, 1, target);
  if (!(value > -Infinity)) return 0;
  store<u8>(target, 45); // -
  const length = writeQuickly(-value, target + 1);
  return length == 0 ? 0 : length + 1;
}

function writeQuickly(value: f64, target: usize): u32 {
  const length = writeDecimals(value, 0, FEW_DECIMALS, target);
  if (length != 0) return length;
  const point = quickDigits(value);
  if (point == NOT_QUICK) return 0;
  writeDigits(foundDigits, foundCount);
  return layOut(foundCount, point, target);
}

/** Writes a decimal of up to 15 digits with so many of them behind the point at least and at most; 0 where it is none. */
function writeDecimals(value: f64, least: u32, most: u32, target: usize): u32 {
  let power: f64 = 1;
  for (let i: u32 = 0; i < least; i++) power *= 10;
  for (let exponent = least; exponent <= most; exponent++) {
    const whole = nearest(value * power);
    if (whole >= MAX_FAST_DIGITS) break;
    if (whole / power == value) {
      let count = writeUnsigned(<u64>whole, DIGITS);
      const point = <i32>count - <i32>exponent;
      while (count > 1 && load<u8>(DIGITS + count - 1) == 48) count--;
      return layOut(count, point, target);
    }
    power *= 10;
  }
  return 0;
}

/** Writes up to 17 digits to `DIGITS`: in halves of 32 bits, whose divisions are cheap. */
function writeDigits(digits: u64, count: u32): void {
  const upper = <u32>(digits / 100000000);
  let rest = <u32>(digits - <u64>upper * 100000000);
  let at = count;
  for (const end = count > 8 ? count - 8 : 0; at > end; rest /= 10) store<u8>(DIGITS + --at, <u8>(48 + (rest % 10)));
  for (rest = upper; at > 0; rest /= 10) store<u8>(DIGITS + --at, <u8>(48 + (rest % 10)));
}

/** Writes `count` digits, the decimal point before digit number `point`. */
function layOut(count: u32, point: i32, target: usize): u32 {
  let at = target;
  if (point > MAX_PLAIN_EXPONENT || point <= MIN_PLAIN_EXPONENT) {
    store<u8>(at++, load<u8>(DIGITS));
    if (count > 1) {
      store<u8>(at++, 46);
      at = putDigits(1, count, at);
    }
    store<u8>(at++, 101); // e
    const exponent = point - 1;
    store<u8>(at++, exponent < 0 ? 45 : 43);
    return <u32>(at - target) + writeUnsigned(abs(exponent), at);
  }
  if (point <= 0) {
    store<u8>(at++, 48);
    store<u8>(at++, 46);
    for (let i = point; i < 0; i++) store<u8>(at++, 48);
    return <u32>(putDigits(0, count, at) - target);
  }
  at = putDigits(0, min(count, <u32>point), at);
  for (let i = <i32>count; i < point; i++) store<u8>(at++, 48);
  if (<i32>count > point) {
    store<u8>(at++, 46);
    at = putDigits(<u32>point, count, at);
  }
  return <u32>(at - target);
}

function putDigits(from: u32, to: u32, at: usize): usize {
  for (let i = from; i < to; i++) store<u8>(at++, load<u8>(DIGITS + i));
  return at;
}
