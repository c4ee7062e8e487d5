import { Scratch, scratch } from "./scratch";

/** Below this many values a factor costs more than it saves. */
const MIN_VALUES: u32 = 8;

/** The factor that the last `factorOut` took out; 1 when there is none. */
export let divisor: u64 = 1;

/**
 * Finds the greatest common divisor of all differences from the first value; gives the address of these
 * differences divided by it, or `source` itself when it is 1 (or 0: all values are equal).
 *
 * Divisibility is one multiplication by the inverse modulo 2^64 (Granlund and Montgomery, "Division by
 * Invariant Integers using Multiplication", 1994, §9). Most columns are known to have none after a few values.
 */
export function factorOut(source: usize, count: u32): usize {
  divisor = 1;
  if (count < MIN_VALUES) return source;
  const first = load<i64>(source);
  let common: u64 = 0;
  let twos: u64 = 0;
  let inverse: u64 = 0;
  let bound: u64 = 0;
  for (let i: u32 = 1; i < count; i++) {
    const distance = magnitude(load<i64>(source + (<usize>i << 3)) - first);
    if (common != 0 && rotr<u64>(distance * inverse, twos) <= bound) continue;
    common = greatestCommonDivisor(common, distance);
    if (common == 1) return source;
    if (common == 0) continue;
    twos = ctz<u64>(common);
    inverse = inverseOf(common >> twos);
    bound = u64.MAX_VALUE / common;
  }
  if (common <= 1) return source;
  divisor = common;
  const target = scratch(Scratch.Scaled, <usize>count << 3);
  for (let at: usize = 0, end = <usize>count << 3; at < end; at += 8) {
    const distance = load<i64>(source + at) - first;
    const quotient = <i64>rotr<u64>(magnitude(distance) * inverse, twos);
    store<i64>(target + at, distance < 0 ? -quotient : quotient);
  }
  return target;
}

@inline
function magnitude(value: i64): u64 {
  return value < 0 ? <u64>-value : <u64>value;
}

function greatestCommonDivisor(a: u64, b: u64): u64 {
  while (b != 0) {
    const rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/** The inverse of an odd number modulo 2^64, by Newton's iteration. */
function inverseOf(odd: u64): u64 {
  let inverse = odd * 3 ^ 2;
  for (let i = 0; i < 4; i++) inverse *= 2 - odd * inverse;
  return inverse;
}
