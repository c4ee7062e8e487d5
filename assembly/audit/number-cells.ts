import * as cell from "./cell-hash";

/**
 * Numbers of a column, each as two products of 32 bits by 32, low lane and high lane, added to what its row has come to:
 * `(low half + a key) × (high half + a key)` of its double's bits, with keys of each lane that the column's name gives (NH: Black,
 * Halevi, Krawczyk, Krovetz, Rogaway, "UMAC: Fast and Secure Message Authentication", 1999). Two rows whose numbers differ come
 * to the same in a lane with a chance of 2⁻³² at most, over keys. The bits are `x ^ x >> 20` first: of doubles that people write
 * the low ones are mostly 0, and a product has as many zeros at its end as its factors together.
 */

const FOLD: i32 = 20;
/** Integers of fewer bits, of either sign, become doubles by an addition. */
const HALF: i64 = 1 << 51;
/** Bits of 2⁵², whose last place is 1; and 2⁵² + 2⁵¹. */
const DOUBLE_BITS: i64 = 0x4330000000000000;
const DOUBLE: f64 = 6755399441055744;
const EXPONENT: u64 = 0x7ff0000000000000;

/** The keys of the halves, for the lanes in turn: low, high, low, high. */
@inline
function lowerKeys(low: u64, high: u64): v128 {
  return i64x2.splat((low & 0xffffffff) | (high << 32));
}

@inline
function upperKeys(low: u64, high: u64): v128 {
  return i64x2.splat((low >> 32) | (high & 0xffffffff00000000));
}

@inline
function fold(bits: v128): v128 {
  return v128.xor(bits, i64x2.shr_u(bits, FOLD));
}

/** The lower half of each of two words, once for each lane. */
@inline
function lowerOf(words: v128, keys: v128): v128 {
  return i32x4.add(v128.shuffle<i32>(words, words, 0, 0, 2, 2), keys);
}

@inline
function upperOf(words: v128, keys: v128): v128 {
  return i32x4.add(v128.shuffle<i32>(words, words, 1, 1, 3, 3), keys);
}

/** Adds what two numbers come to, or takes it away again. */
@inline
function addTwo(row: usize, bits: v128, lower: v128, upper: v128, isUndone: bool): void {
  const words = fold(bits);
  const a = lowerOf(words, lower);
  const b = upperOf(words, upper);
  const first = i64x2.extmul_low_i32x4_u(a, b);
  const second = i64x2.extmul_high_i32x4_u(a, b);
  if (isUndone) {
    v128.store(row, i64x2.sub(v128.load(row), first));
    v128.store(row, i64x2.sub(v128.load(row, 16), second), 16);
  } else {
    v128.store(row, i64x2.add(v128.load(row), first));
    v128.store(row, i64x2.add(v128.load(row, 16), second), 16);
  }
}

/** What a finite number comes to, low lane and high lane, by its bits, those of 0 for −0. */
@inline
function productOf(bits: u64, lower: v128, upper: v128): v128 {
  const words = fold(i64x2.splat(bits));
  return i64x2.extmul_low_i32x4_u(lowerOf(words, lower), upperOf(words, upper));
}

@inline
function add(row: usize, product: v128): void {
  v128.store(row, i64x2.add(v128.load(row), product));
}

/** Writes what a finite number comes to in a column whose name gives these numbers. */
export function storeProduct(target: usize, value: f64, low: u64, high: u64): void {
  // −0 and 0 are written alike.
  v128.store(target, productOf(reinterpret<u64>(value + 0), lowerKeys(low, high), upperKeys(low, high)));
}

/** Begins rows with their times. */
export function putTimes(rows: usize, times: usize, count: u32, low: u64, high: u64): void {
  const lower = lowerKeys(low, high);
  const upper = upperKeys(low, high);
  const end = times + ((<usize>count & ~1) << 3);
  for (; times < end; times += 16, rows += 32) {
    const words = fold(v128.load(times));
    const a = lowerOf(words, lower);
    const b = upperOf(words, upper);
    v128.store(rows, i64x2.extmul_low_i32x4_u(a, b));
    v128.store(rows, i64x2.extmul_high_i32x4_u(a, b), 16);
  }
  if (count & 1) v128.store(rows, productOf(load<u64>(times), lower, upper));
}

/** `valid`: a byte for each row; 0: all are there. */
export function addFloats(rows: usize, cells: usize, valid: usize, count: u32, low: u64, high: u64): void {
  const lower = lowerKeys(low, high);
  const upper = upperKeys(low, high);
  let row: u32 = 0;
  if (valid == 0) {
    // That one is infinite or no number is seldom, and known when all are added.
    if (!addFours(rows, cells, count, lower, upper, false)) row = count & ~3;
    else addFours(rows, cells, count, lower, upper, true);
  }
  for (; row < count; row++) {
    if (valid != 0 && load<u8>(valid + row) == 0) continue;
    const bits = reinterpret<u64>(load<f64>(cells + (<usize>row << 3)) + 0);
    const at = rows + (<usize>row << 4);
    if ((bits & EXPONENT) != EXPONENT) add(at, productOf(bits, lower, upper));
    else addUnusual(at, reinterpret<f64>(bits), low, high);
  }
}

/** Four rows at a time, the rest is left. @returns whether any of them is not finite: what is, is 0 less itself */
@inline
function addFours(rows: usize, cells: usize, count: u32, lower: v128, upper: v128, isUndone: bool): bool {
  const zero = f64x2.splat(0);
  let some = i64x2.splat(0);
  const end = cells + ((<usize>count & ~3) << 3);
  for (; cells < end; cells += 32, rows += 64) {
    const first = f64x2.add(v128.load(cells), zero);
    const second = f64x2.add(v128.load(cells, 16), zero);
    some = v128.or(some, v128.or(f64x2.sub(first, first), f64x2.sub(second, second)));
    addTwo(rows, first, lower, upper, isUndone);
    addTwo(rows + 32, second, lower, upper, isUndone);
  }
  return v128.any_true(some);
}

/** Infinite, or no number: as the text that it is written as. */
function addUnusual(row: usize, value: f64, low: u64, high: u64): void {
  cell.hashUnusual(value);
  store<u64>(row, load<u64>(row) + cell.low * low);
  store<u64>(row, load<u64>(row, 8) + cell.high * high, 8);
}

/** As `addFloats`, of integers. */
export function addIntegers(rows: usize, cells: usize, valid: usize, count: u32, low: u64, high: u64): void {
  const lower = lowerKeys(low, high);
  const upper = upperKeys(low, high);
  let row: u32 = 0;
  if (valid == 0) {
    if (!addFourIntegers(rows, cells, count, lower, upper, false)) row = count & ~3;
    else addFourIntegers(rows, cells, count, lower, upper, true);
  }
  for (; row < count; row++) {
    if (valid != 0 && load<u8>(valid + row) == 0) continue;
    const bits = reinterpret<u64>(<f64>load<i64>(cells + (<usize>row << 3)));
    add(rows + (<usize>row << 4), productOf(bits, lower, upper));
  }
}

/** Four rows at a time, the rest is left. @returns whether any of them is below −2⁵¹, or 2⁵¹ and more: too long for this way */
@inline
function addFourIntegers(
  rows: usize,
  cells: usize,
  count: u32,
  lower: v128,
  upper: v128,
  isUndone: bool,
): bool {
  const half = i64x2.splat(HALF);
  const bits = i64x2.splat(DOUBLE_BITS);
  const base = f64x2.splat(DOUBLE);
  let some = i64x2.splat(0);
  const end = cells + ((<usize>count & ~3) << 3);
  for (; cells < end; cells += 32, rows += 64) {
    const first = i64x2.add(v128.load(cells), half);
    const second = i64x2.add(v128.load(cells, 16), half);
    some = v128.or(some, v128.or(first, second));
    addTwo(rows, f64x2.sub(v128.or(first, bits), base), lower, upper, isUndone);
    addTwo(rows + 32, f64x2.sub(v128.or(second, bits), base), lower, upper, isUndone);
  }
  return v128.any_true(i64x2.shr_u(some, 52));
}
