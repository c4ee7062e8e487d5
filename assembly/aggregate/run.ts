import { low, twoProduct } from "./exact";
import { EXTREMES, FIRST, LAST, Layout, OF_NUMBERS, QUANTILE, SQUARES, SUM } from "./layout";
import { addNumbers } from "./more";
import { countBucket, OpenBuckets } from "./open-buckets";
import { sketchKeyOf } from "./sketch";
import { bigAt, cascadeAdd, cascadeAddLow, SQUARE_FLOOR, SQUARE_LIMIT, sumAdd, SUM_LIMIT } from "./sum";

/**
 * Takes n finite values, standing one after another at `values`, into a record's accumulator; `times` are theirs, used
 * only with TIMED families. No value is −0.
 */
export function addRun(layout: Layout, record: usize, values: usize, times: usize, n: u32): void {
  addRunTo(layout.families, layout, record, values, times, n);
}

/** `addRun` into some of the layout's families. */
export function addRunTo(families: u32, layout: Layout, record: usize, values: usize, times: usize, n: u32): void {
  if (n == 0) return;
  const count = record + layout.count;
  store<u64>(count, load<u64>(count) + n);
  if (families & (SUM | EXTREMES)) {
    if (n < 4 || !addPairs(layout, record, values, n)) {
      if (families & SUM) for (let i: u32 = 0; i < n; i++) addToSum(layout, record, load<f64>(values + (i << 3)));
      if (families & EXTREMES) addExtremes(record + layout.extremes, values, n);
    }
  }
  if (families & SQUARES) {
    if (n < 4 || !addSquarePairs(layout, record, values, n)) {
      for (let i: u32 = 0; i < n; i++) addSquare(layout, record, load<f64>(values + (i << 3)));
    }
  }
  if (families & FIRST) {
    for (let i: u32 = 0; i < n; i++) {
      keepFirst(record + layout.first, load<i64>(times + (i << 3)), load<f64>(values + (i << 3)));
    }
  }
  if (families & LAST) {
    for (let i: u32 = 0; i < n; i++) {
      keepLast(record + layout.last, load<i64>(times + (i << 3)), load<f64>(values + (i << 3)));
    }
  }
  if (families & QUANTILE) {
    const place = changetype<OpenBuckets>(record + layout.sketch);
    for (let i: u32 = 0; i < n; i++) countBucket(place, sketchKeyOf(load<f64>(values + (i << 3))));
  }
  if (families & OF_NUMBERS) addNumbers(layout, families, record, values, times, n);
}

@inline
function addToSum(layout: Layout, record: usize, x: f64): void {
  sumAdd(record + layout.sum, record + layout.sumBig, x);
}

@inline
function addExtremes(at: usize, values: usize, n: u32): void {
  let least = load<f64>(at);
  let greatest = load<f64>(at, 8);
  for (let i: u32 = 0; i < n; i++) {
    const x = load<f64>(values + (i << 3));
    least = min(least, x);
    greatest = max(greatest, x);
  }
  store<f64>(at, least);
  store<f64>(at, greatest, 8);
}

/** Sum and extremes, two values at a time. Changes nothing and returns false when two doubles cannot hold the sum. */
function addPairs(layout: Layout, record: usize, values: usize, n: u32): bool {
  let hi = f64x2.splat(0);
  let lo = f64x2.splat(0);
  let lost = f64x2.splat(0);
  let least = f64x2.splat(Infinity);
  let greatest = f64x2.splat(-Infinity);
  const end = values + ((n & ~1) << 3);
  for (let at = values; at < end; at += 16) {
    const x = v128.load(at);
    const sum = f64x2.add(hi, x);
    const back = f64x2.sub(sum, hi);
    const error = f64x2.add(f64x2.sub(hi, f64x2.sub(sum, back)), f64x2.sub(x, back));
    const sumLow = f64x2.add(lo, error);
    const backLow = f64x2.sub(sumLow, lo);
    const errorLow = f64x2.add(f64x2.sub(lo, f64x2.sub(sumLow, backLow)), f64x2.sub(error, backLow));
    lost = v128.or(lost, f64x2.ne(errorLow, f64x2.splat(0)));
    hi = sum;
    lo = sumLow;
    least = f64x2.pmin(least, x);
    greatest = f64x2.pmax(greatest, x);
  }
  let low = min(f64x2.extract_lane(least, 0), f64x2.extract_lane(least, 1));
  let high = max(f64x2.extract_lane(greatest, 0), f64x2.extract_lane(greatest, 1));
  const families = layout.families;
  if (families & SUM && (v128.any_true(lost) || low <= -SUM_LIMIT || high >= SUM_LIMIT)) return false;
  if (n & 1) {
    const x = load<f64>(end);
    low = min(low, x);
    high = max(high, x);
    if (families & SUM) addToSum(layout, record, x);
  }
  if (families & SUM) {
    addToSum(layout, record, f64x2.extract_lane(hi, 0));
    addToSum(layout, record, f64x2.extract_lane(hi, 1));
    addToSum(layout, record, f64x2.extract_lane(lo, 0));
    addToSum(layout, record, f64x2.extract_lane(lo, 1));
  }
  if (families & EXTREMES) {
    const at = record + layout.extremes;
    store<f64>(at, min(load<f64>(at), low));
    store<f64>(at, max(load<f64>(at, 8), high), 8);
  }
  return true;
}

@inline
function addSquare(layout: Layout, record: usize, x: f64): void {
  const big = record + layout.squaresBig;
  const size = abs(x);
  if (size == 0) return;
  if (!(size < SQUARE_LIMIT) || size < SQUARE_FLOOR) {
    bigAt(big).addSquare(x);
    return;
  }
  const at = record + layout.squares;
  const square = twoProduct(x, x);
  const rest = low;
  cascadeAdd(at, big, square);
  cascadeAddLow(at, big, rest);
}

/** Squares, two values at a time. Changes nothing and returns false when three doubles cannot hold their sum. */
function addSquarePairs(layout: Layout, record: usize, values: usize, n: u32): bool {
  const zero = f64x2.splat(0);
  const splitter = f64x2.splat(134217729);
  let first = zero;
  let second = zero;
  let third = zero;
  let lost = zero;
  const end = values + ((n & ~1) << 3);
  for (let at = values; at < end; at += 16) {
    const x = v128.load(at);
    const size = f64x2.abs(x);
    const isOutside = v128.or(
      f64x2.ge(size, f64x2.splat(SQUARE_LIMIT)),
      v128.and(f64x2.lt(size, f64x2.splat(SQUARE_FLOOR)), f64x2.ne(x, zero)),
    );
    // twoProduct(x, x)
    const square = f64x2.mul(x, x);
    const t = f64x2.mul(splitter, x);
    const high = f64x2.sub(t, f64x2.sub(t, x));
    const low = f64x2.sub(x, high);
    const cross = f64x2.mul(high, low);
    const rest = f64x2.sub(
      f64x2.mul(low, low),
      f64x2.sub(f64x2.sub(f64x2.sub(square, f64x2.mul(high, high)), cross), cross),
    );
    // twoSum, four times
    let sum = f64x2.add(first, square);
    let back = f64x2.sub(sum, first);
    let error = f64x2.add(f64x2.sub(first, f64x2.sub(sum, back)), f64x2.sub(square, back));
    first = sum;
    sum = f64x2.add(second, error);
    back = f64x2.sub(sum, second);
    error = f64x2.add(f64x2.sub(second, f64x2.sub(sum, back)), f64x2.sub(error, back));
    second = sum;
    sum = f64x2.add(second, rest);
    back = f64x2.sub(sum, second);
    const errorOfRest = f64x2.add(f64x2.sub(second, f64x2.sub(sum, back)), f64x2.sub(rest, back));
    second = sum;
    sum = f64x2.add(third, error);
    back = f64x2.sub(sum, third);
    error = f64x2.add(f64x2.sub(third, f64x2.sub(sum, back)), f64x2.sub(error, back));
    third = sum;
    lost = v128.or(lost, v128.or(isOutside, f64x2.ne(error, zero)));
    sum = f64x2.add(third, errorOfRest);
    back = f64x2.sub(sum, third);
    error = f64x2.add(f64x2.sub(third, f64x2.sub(sum, back)), f64x2.sub(errorOfRest, back));
    third = sum;
    lost = v128.or(lost, f64x2.ne(error, zero));
  }
  if (v128.any_true(lost)) return false;
  if (n & 1) addSquare(layout, record, load<f64>(end));
  const at = record + layout.squares;
  const big = record + layout.squaresBig;
  cascadeAdd(at, big, f64x2.extract_lane(first, 0));
  cascadeAdd(at, big, f64x2.extract_lane(first, 1));
  cascadeAddLow(at, big, f64x2.extract_lane(second, 0));
  cascadeAddLow(at, big, f64x2.extract_lane(second, 1));
  cascadeAddLow(at, big, f64x2.extract_lane(third, 0));
  cascadeAddLow(at, big, f64x2.extract_lane(third, 1));
  return true;
}

/** The earliest; among equal times the smallest value, so that the arrival order does not matter. */
@inline
export function keepFirst(at: usize, time: i64, value: f64): void {
  const known = load<i64>(at);
  if (time < known || (time == known && value < load<f64>(at, 8))) {
    store<i64>(at, time);
    store<f64>(at, value, 8);
  }
}

/** The latest; among equal times the greatest value. */
@inline
export function keepLast(at: usize, time: i64, value: f64): void {
  const known = load<i64>(at);
  if (time > known || (time == known && value > load<f64>(at, 8))) {
    store<i64>(at, time);
    store<f64>(at, value, 8);
  }
}
