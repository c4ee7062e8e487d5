import { BigSum } from "./big-sum";
import { low, twoSum } from "./exact";

/**
 * Sums that are exact, and so the same in any order: a cascade of doubles, each holding what rounding cut off the one
 * before it, and a `BigSum` for what the last one cuts off. Measured values hardly ever need the latter: two doubles
 * hold the sum of a million values whose magnitudes differ by 2^33.
 */

/** Greater values go to the BigSum at once, so that no partial sum overflows. */
export const SUM_LIMIT: f64 = 8.452712498170644e270; // 2^900
/** Squares of values between these are split exactly by twoProduct and can be summed up without overflow. */
export const SQUARE_LIMIT: f64 = 2.582249878086909e120; // 2^400
export const SQUARE_FLOOR: f64 = 3.872591914849318e-121; // 2^-400

/** The BigSum whose address stands at `place`, made on first use. */
@inline
export function bigAt(place: usize): BigSum {
  if (load<u32>(place) == 0) store<u32>(place, <u32>changetype<usize>(BigSum.create()));
  return changetype<BigSum>(<usize>load<u32>(place));
}

/** Adds x to the pair at `at`, and what the pair cannot hold to the BigSum at `big`. */
@inline
export function sumAdd(at: usize, big: usize, x: f64): void {
  if (!(abs(x) < SUM_LIMIT)) {
    bigAt(big).add(x);
    return;
  }
  store<f64>(at, twoSum(load<f64>(at), x));
  store<f64>(at, twoSum(load<f64>(at, 8), low), 8);
  if (low != 0) bigAt(big).add(low);
}

/** Adds x to the triple at `at`, from its first double on. */
@inline
export function cascadeAdd(at: usize, big: usize, x: f64): void {
  store<f64>(at, twoSum(load<f64>(at), x));
  if (low != 0) cascadeAddLow(at, big, low);
}

/** Adds x to the triple at `at`, from its second double on. */
@inline
export function cascadeAddLow(at: usize, big: usize, x: f64): void {
  store<f64>(at, twoSum(load<f64>(at, 8), x), 8);
  if (low == 0) return;
  store<f64>(at, twoSum(load<f64>(at, 16), low), 16);
  if (low != 0) bigAt(big).add(low);
}

/** Makes the pair the nearest double to the sum and the nearest to the rest; the BigSum keeps what is left, if any. */
export function sumNormalize(at: usize, big: usize): void {
  const sum = twoSum(load<f64>(at), load<f64>(at, 8));
  if (load<u32>(big) == 0 && abs(sum) < SUM_LIMIT) {
    store<f64>(at, sum);
    store<f64>(at, low + 0, 8);
  } else normalizeThrough(bigAt(big), at, 2, big);
}

/** Adds `count` doubles to the BigSum, then takes as many out again, the greatest first. */
export function normalizeThrough(rest: BigSum, at: usize, count: usize, big: usize): void {
  for (let i: usize = 0; i < count; i++) rest.add(load<f64>(at + (i << 3)));
  for (let i: usize = 0; i < count; i++) {
    const rounded = rest.round(0);
    const isSmall = abs(rounded) < SUM_LIMIT;
    if (isSmall) rest.add(-rounded);
    store<f64>(at + (i << 3), isSmall ? rounded + 0 : 0);
  }
  if (!rest.isZero()) return;
  rest.dispose();
  store<u32>(big, 0);
}
