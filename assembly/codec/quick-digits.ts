/**
 * The shortest digits that read back as a double, for numbers as they are measured: where 17 digits of it are a whole number that
 * fits into 64 bits, and the distance to its neighbours a fraction with a power of two below, so that all is exact in 128 bits. By
 * the definition of Steele and White, "How to Print Floating-Point Numbers Accurately" (1990): of the shortest decimals between the
 * middles to the neighbours, the nearest.
 */

/** 10^n for n ≤ 18, u64 each. */
const POWERS = memory.data(19 * 8, 8);
for (let n: usize = 0, power: u64 = 1; n < 19; n++, power *= 10) store<u64>(POWERS + (n << 3), power);

const LEAST: f64 = 0.01;
const LIMIT: f64 = 9007199254740992; // 2^53
const MANTISSA_BIT: u64 = 0x10000000000000;
const DIGITS: i32 = 17;
/** What `quickDigits` gives where it does not know. */
export const NOT_QUICK: i32 = i32.MIN_VALUE;

/** The digits that `quickDigits` found, and how many there are. */
export let foundDigits: u64 = 0;
export let foundCount: u32 = 0;

/** Of 128 bits. */
let high: u64 = 0;
let low: u64 = 0;

/**
 * Finds the digits of a positive double; gives the place p of the decimal point: the value is 0.d₁d₂… · 10^p. `NOT_QUICK` for powers of
 * two, whose neighbours differ in distance, for numbers below 0.01 or from 2^53 on, and for the rare tie.
 */
export function quickDigits(value: f64): i32 {
  const bits = reinterpret<u64>(value);
  const fraction = bits & (MANTISSA_BIT - 1);
  if (!(value >= LEAST && value < LIMIT) || fraction == 0) return NOT_QUICK;
  const mantissa = fraction | MANTISSA_BIT;
  const shift = <u64>(1076 - <i32>(bits >> 52));
  const mask = ((<u64>1) << shift) - 1;
  const point = pointOf(value);
  const scale = load<u64>(POWERS + (<usize>(DIGITS - point) << 3));
  multiply(mantissa << 1, scale);
  const middle = (high << (64 - shift)) | (low >> shift);
  const rest = low & mask;
  const belowLow = low - scale;
  const belowHigh = high - (low < scale ? 1 : 0);
  const aboveLow = low + scale;
  const aboveHigh = high + (aboveLow < low ? 1 : 0);
  // Both ends belong to it when the mantissa is even.
  const isOpen: u64 = mantissa & 1;
  const least = ((belowHigh << (64 - shift)) | (belowLow >> shift)) + ((belowLow & mask) != 0 ? 1 : isOpen);
  const most = ((aboveHigh << (64 - shift)) | (aboveLow >> shift)) - ((aboveLow & mask) != 0 ? 0 : isOpen);
  const half = (<u64>1) << (shift - 1);
  if (rest == half) return NOT_QUICK;
  let found = middle + (rest > half ? 1 : 0);
  if (found < least || found > most) return NOT_QUICK;
  let count = DIGITS;
  let power: u64 = 10;
  for (let kept = middle / 10; count > 1; kept /= 10) {
    const under = kept * power;
    const over = under + power;
    const fitsUnder = under >= least && under <= most;
    const fitsOver = over <= most;
    if (!fitsUnder && !fitsOver) break;
    const twice = (middle - under) << 1;
    if (fitsUnder && fitsOver && twice == power && rest == 0) return NOT_QUICK;
    found = fitsOver && (!fitsUnder || twice >= power) ? kept + 1 : kept;
    count--;
    power *= 10;
  }
  if (found >= load<u64>(POWERS + (<usize>count << 3))) return NOT_QUICK;
  foundDigits = found;
  foundCount = count;
  return point;
}

/** How many digits stand before the decimal point; 0 or less counts zeros behind it. */
@inline
function pointOf(value: f64): i32 {
  if (value < 1) return value < 0.1 ? -1 : 0;
  const whole = <u64>value;
  // 1233 / 4096 is just above log10(2).
  const guess = <i32>(((64 - clz<u64>(whole)) * 1233) >> 12);
  return guess + (whole >= load<u64>(POWERS + (<usize>guess << 3)) ? 1 : 0);
}

/** The product of two numbers, into `high` and `low`. */
@inline
function multiply(a: u64, b: u64): void {
  const aLow = a & 0xffffffff;
  const aHigh = a >> 32;
  const bLow = b & 0xffffffff;
  const bHigh = b >> 32;
  const lowest = aLow * bLow;
  const cross = aHigh * bLow + (lowest >> 32);
  const other = aLow * bHigh + (cross & 0xffffffff);
  high = aHigh * bHigh + (cross >> 32) + (other >> 32);
  low = (other << 32) | (lowest & 0xffffffff);
}
