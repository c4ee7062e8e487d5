import { toDouble, toDoubleOfMany } from "./double";
import { failAt, Problem } from "./problem";

/** A u64 holds any 19 digits. */
const MAX_DIGITS: usize = 19;
/** Exponents are cut here: far beyond what any number of digits in a line can bring back into range. */
const MAX_EXPONENT: i64 = 100_000_000;
const MAX_INT: u64 = 0x7fffffffffffffff;

/** The number that `readNumber` read last. */
export let isInteger: bool = false;
/** When it is an integer. */
export let integerValue: i64 = 0;
/** Also when it is an integer. */
export let doubleValue: f64 = 0;
export let isNegative: bool = false;
/** Its first 19 digits; the number is mantissa · 10^decimalExponent when it has no more. */
export let mantissa: u64 = 0;
export let decimalExponent: i32 = 0;
/** Where it ends, also when it is beyond the doubles. */
export let numberEnd: usize = 0;

/** Bit 7 of each byte that is no digit, of a word of eight bytes each xor 0x30. */
@inline
export function markNonDigits(word: u64): u64 {
  return (((word & 0x7f7f7f7f7f7f7f7f) + 0x7676767676767676) | word) & 0x8080808080808080;
}

/**
 * The number of eight digits, each a byte from 0 to 9, the first in the lowest byte: Lemire, "Quickly parsing eight
 * digits" (2018).
 */
@inline
export function eightDigits(word: u64): u64 {
  word = word * 10 + (word >> 8);
  const pairs: u64 = 0x000000ff000000ff;
  return ((word & pairs) * 0x000f424000000064 + ((word >> 16) & pairs) * 0x0000271000000001) >> 32;
}

/** Reads digits into `mantissa` (which overflows silently) and gives where they end. */
@inline
function readDigits(at: usize): usize {
  let value = mantissa;
  while (true) {
    const word = load<u64>(at) ^ 0x3030303030303030;
    if (markNonDigits(word) != 0) break;
    value = value * 100000000 + eightDigits(word);
    at += 8;
  }
  while (true) {
    const digit = <u32>load<u8>(at) - 48;
    if (digit > 9) break;
    value = value * 10 + digit;
    at++;
  }
  mantissa = value;
  return at;
}

/**
 * Reads a number of JSON's grammar. Gives where it ends, or 0 when there is none or it is beyond the doubles. Reads at
 * most 8 bytes past its end.
 */
export function readNumber(start: usize): usize {
  let at = start;
  isNegative = load<u8>(at) == 0x2d;
  if (isNegative) at++;
  const digits = at;
  const first = <u32>load<u8>(at) - 48;
  if (first > 9) return failAt(Problem.Syntax, at);
  mantissa = 0;
  if (first == 0) {
    at++;
    if (<u32>load<u8>(at) - 48 < 10) return failAt(Problem.LeadingZero, at);
  } else {
    at = readDigits(at);
  }
  const integerEnd = at;
  let fractionDigits: usize = 0;
  if (load<u8>(at) == 0x2e) {
    const fraction = ++at;
    at = readDigits(at);
    fractionDigits = at - fraction;
    if (fractionDigits == 0) return failAt(Problem.Syntax, at);
  }
  const digitsEnd = at;
  let exponent: i64 = 0;
  const mark = load<u8>(at) | 0x20;
  if (mark == 0x65) {
    at++;
    const sign = load<u8>(at);
    if (sign == 0x2d || sign == 0x2b) at++;
    if (<u32>load<u8>(at) - 48 > 9) return failAt(Problem.Syntax, at);
    while (true) {
      const digit = <u32>load<u8>(at) - 48;
      if (digit > 9) break;
      if (exponent < MAX_EXPONENT) exponent = exponent * 10 + digit;
      at++;
    }
    if (sign == 0x2d) exponent = -exponent;
  } else if (fractionDigits == 0) {
    return finishInteger(digits, at);
  }
  isInteger = false;
  exponent -= fractionDigits;
  numberEnd = at;
  finishDouble(digits, digitsEnd, fractionDigits == 0 ? 0 : integerEnd, exponent);
  return isFinite(doubleValue) ? at : failAt(Problem.NumberTooGreat, start);
}

function finishInteger(digits: usize, at: usize): usize {
  decimalExponent = 0;
  const count = at - digits;
  isInteger = count <= MAX_DIGITS && mantissa <= MAX_INT + u64(isNegative);
  if (isInteger) {
    integerValue = isNegative ? -(<i64>mantissa) : <i64>mantissa;
    // -0 is a double of its own.
    doubleValue = mantissa == 0 && isNegative ? -0.0 : <f64>integerValue;
    return at;
  }
  numberEnd = at;
  finishDouble(digits, at, 0, 0);
  return isFinite(doubleValue) ? at : failAt(Problem.NumberTooGreat, digits);
}

/** `point`: where the decimal point stands, or 0. `exponent` belongs to the last digit. */
function finishDouble(digits: usize, digitsEnd: usize, point: usize, exponent: i64): void {
  // Leading zeros do not count among the 19 digits.
  let first = digits;
  while (first < digitsEnd && (load<u8>(first) == 48 || first == point)) first++;
  const count = digitsEnd - first - usize(point != 0 && point > first);
  let value: f64;
  if (count <= MAX_DIGITS) {
    decimalExponent = clampExponent(exponent);
    value = toDouble(mantissa, decimalExponent);
  } else {
    const taken = takeFirstDigits(first);
    decimalExponent = clampExponent(exponent + <i64>(count - taken));
    value = toDoubleOfMany(mantissa, decimalExponent, first, digitsEnd, clampExponent(exponent));
  }
  doubleValue = isNegative ? -value : value;
}

function takeFirstDigits(at: usize): usize {
  let taken: usize = 0;
  mantissa = 0;
  while (taken < MAX_DIGITS) {
    const digit = <u32>load<u8>(at++) - 48;
    if (digit > 9) continue;
    mantissa = mantissa * 10 + digit;
    taken++;
  }
  return taken;
}

function clampExponent(exponent: i64): i32 {
  return <i32>min<i64>(max<i64>(exponent, -MAX_EXPONENT), MAX_EXPONENT);
}
