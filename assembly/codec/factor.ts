import { Scratch, scratch } from "./scratch";

/** Below this many values a factor costs more than it saves. */
const MIN_VALUES: u32 = 8;
const SAMPLES: u32 = 16;

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
  let common = sampleDivisor(source, count, first);
  if (common <= 1) return source;
  const target = scratch(Scratch.Scaled, <usize>count << 3);
  while (true) {
    const failed = divideAll(source, count, first, common, target);
    if (failed == 0) break;
    common = greatestCommonDivisor<u64>(common, magnitude(load<i64>(source + (<usize>failed << 3)) - first));
    if (common == 1) return source;
  }
  divisor = common;
  return target;
}

/** The same of distances from the first value, as i32 (`narrow.ts`). */
export function factorOutNarrow(distances: usize, count: u32): usize {
  divisor = 1;
  if (count < MIN_VALUES) return distances;
  let common = sampleDivisorNarrow(distances, count);
  if (common <= 1) return distances;
  const target = scratch(Scratch.Scaled, <usize>count << 2);
  while (true) {
    const failed = divideAllNarrow(distances, count, common, target);
    if (failed == 0) break;
    common = greatestCommonDivisor<u32>(common, abs<i32>(load<i32>(distances + (<usize>failed << 2))));
    if (common == 1) return distances;
  }
  divisor = common;
  return target;
}

function sampleDivisorNarrow(distances: usize, count: u32): u32 {
  let common: u32 = 0;
  const step = max<u32>(1, count / SAMPLES);
  for (let i: u32 = 1; i < count; i += step) {
    common = greatestCommonDivisor<u32>(common, abs<i32>(load<i32>(distances + (<usize>i << 2))));
    if (common == 1) return 1;
  }
  for (let i: u32 = 1; i < count && common == 0; i++) common = abs<i32>(load<i32>(distances + (<usize>i << 2)));
  return common;
}

/** `divideAll` of four at a time; zeros stand behind the last. */
function divideAllNarrow(distances: usize, count: u32, common: u32, target: usize): u32 {
  const twos = ctz<u32>(common);
  const inverses = i32x4.splat(<i32>inverseOf(common >> twos));
  const bounds = i32x4.splat(<i32>(u32.MAX_VALUE / common));
  const end = <usize>count << 2;
  let over = i32x4.splat(0);
  for (let at: usize = 0; at < end; at += 16) {
    const distance = v128.load(distances + at);
    const sign = i32x4.shr_s(distance, 31);
    const product = i32x4.mul(i32x4.abs(distance), inverses);
    const quotient = v128.or(i32x4.shr_u(product, twos), i32x4.shl(product, 32 - twos));
    over = v128.or(over, i32x4.gt_u(quotient, bounds));
    v128.store(target + at, i32x4.sub(v128.xor(quotient, sign), sign));
  }
  if (!v128.any_true(over)) return 0;
  let failed: u32 = 1;
  while (abs<i32>(load<i32>(distances + (<usize>failed << 2))) % common == 0) failed++;
  return failed;
}

/** The greatest common divisor of some distances; 0 when all values are equal. */
function sampleDivisor(source: usize, count: u32, first: i64): u64 {
  let common: u64 = 0;
  const step = max<u32>(1, count / SAMPLES);
  for (let i: u32 = 1; i < count; i += step) {
    common = greatestCommonDivisor<u64>(common, magnitude(load<i64>(source + (<usize>i << 3)) - first));
    if (common == 1) return 1;
  }
  for (let i: u32 = 1; i < count && common == 0; i++) common = magnitude(load<i64>(source + (<usize>i << 3)) - first);
  return common;
}

/** Writes all distances divided; stops at the first that does not divide and gives its index, else 0. */
function divideAll(source: usize, count: u32, first: i64, common: u64, target: usize): u32 {
  const twos = ctz<u64>(common);
  const inverse = inverseOf(common >> twos);
  const bound = u64.MAX_VALUE / common;
  for (let i: u32 = 0; i < count; i++) {
    const at = <usize>i << 3;
    const distance = load<i64>(source + at) - first;
    const quotient = rotr<u64>(magnitude(distance) * inverse, twos);
    if (quotient > bound) return i;
    store<i64>(target + at, distance < 0 ? -<i64>quotient : <i64>quotient);
  }
  return 0;
}

@inline
function magnitude(value: i64): u64 {
  return value < 0 ? <u64>-value : <u64>value;
}

function greatestCommonDivisor<T extends number>(a: T, b: T): T {
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
