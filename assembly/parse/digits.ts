/**
 * Numbers of up to 16 digits by vectors: pairs, then fours, then eights are added up, each weighted by its place, after Muła, "SIMD-ized
 * faster parse of decimal digits" (2014).
 *
 * All constants stand in memory: the engine keeps loaded vectors in registers over a loop, but makes constant ones anew at
 * each use. Callers load them once, before their loop.
 */

/** Mask n keeps the last n bytes of 16. */
const LAST = memory.data(17 * 16, 16);
for (let n: usize = 0; n <= 16; n++) memory.fill(LAST + (n << 4) + 16 - n, 0xff, n);

export const ZEROS = memory.data<u64>([0x3030303030303030, 0x3030303030303030]);
/** Added with saturation, it sets bit 7 of all bytes but 0 to 9. */
export const BEYOND_NINE = memory.data<u64>([0x7676767676767676, 0x7676767676767676]);
/** A point as `lastDigits` gives it. */
export const POINTS = memory.data<u64>([0x1e1e1e1e1e1e1e1e, 0x1e1e1e1e1e1e1e1e]);
/** 10 and 1, 100 and 1, 10,000 and 1, as i16. */
export const TENS = memory.data<u64>([0x0001000a0001000a, 0x0001000a0001000a]);
export const HUNDREDS = memory.data<u64>([0x0001006400010064, 0x0001006400010064]);
export const TEN_THOUSANDS = memory.data<u64>([0x0001271000012710, 0x0001271000012710]);

/** The bytes of a block without that at `place`: those before it move up, and the first becomes 0. */
const WITHOUT = memory.data(16 * 16, 16);
for (let place: usize = 0; place < 16; place++) {
  for (let i: usize = 0; i < 16; i++) store<u8>(WITHOUT + (place << 4) + i, <u8>(i <= place ? i - 1 : i));
}

/** 10^(15 - place): what a number is to be divided by when its point is at `place` of 16 bytes. */
export const DIVISORS = memory.data<f64>([1e15, 1e14, 1e13, 1e12, 1e11, 1e10, 1e9, 1e8, 1e7, 1e6, 1e5, 1e4, 1e3, 1e2, 1e1, 1e0]);

/** The `length` (at most 16) bytes up to the one at `last`, each xor `0`, at the end of a block of zeros. Reads 15 bytes before `last`. */
@inline
export function lastDigits(last: usize, length: usize, zeros: v128): v128 {
  return v128.and(v128.xor(v128.load(last - 15), zeros), v128.load(LAST + (length << 4)));
}

/** One bit for each byte that is no digit. */
@inline
export function markOthers(digits: v128, beyondNine: v128): i32 {
  return i8x16.bitmask(i8x16.add_sat_u(digits, beyondNine));
}

@inline
export function withoutByte(digits: v128, place: usize): v128 {
  return i8x16.swizzle(digits, v128.load(WITHOUT + (place << 4)));
}

/** The number of 16 digits. */
@inline
export function valueOf(digits: v128, tens: v128, hundreds: v128, tenThousands: v128): u64 {
  const pairs = i16x8.narrow_i32x4_s(
    i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(digits), tens),
    i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(digits), tens),
  );
  const fours = i32x4.dot_i16x8_s(pairs, hundreds);
  const eights = v128.extract_lane<u64>(i32x4.dot_i16x8_s(i16x8.narrow_i32x4_s(fours, fours), tenThousands), 0);
  return (eights & 0xffffffff) * 100_000_000 + (eights >> 32);
}
