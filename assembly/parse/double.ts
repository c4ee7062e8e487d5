import { MAX_POWER, MIN_POWER, powerOfFive } from "./powers";
import { compareWithMidpoint } from "./exact";

/** Powers of ten that are exact as doubles. */
const POWERS_OF_TEN = memory.data<f64>([
  1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
  1e21, 1e22,
]);
const MAX_EXACT_POWER: i32 = 22;
const MAX_EXACT_INTEGER: u64 = 1 << 53;

const MANTISSA_BITS: i32 = 52;
const MIN_EXPONENT: i32 = -1023;
const INFINITE_EXPONENT: i32 = 0x7ff;
/** Between these powers of ten a product may lie exactly half-way between two doubles. */
const MIN_HALFWAY_POWER: i32 = -4;
const MAX_HALFWAY_POWER: i32 = 23;

let productHigh: u64 = 0;
let productLow: u64 = 0;

@inline
export function exactPowerOfTen(exponent: i32): f64 {
  return load<f64>(POWERS_OF_TEN + (exponent << 3));
}

/** mantissa · 10^exponent, correctly rounded; Infinity when it is too great. */
export function toDouble(mantissa: u64, exponent: i32): f64 {
  if (mantissa <= MAX_EXACT_INTEGER && exponent >= -MAX_EXACT_POWER && exponent <= MAX_EXACT_POWER) {
    // Both operands are exact, so IEEE 754 rounds once: Clinger, "How to Read Floating Point Numbers Accurately" (1990).
    const value = <f64>(<i64>mantissa);
    return exponent < 0 ? value / exactPowerOfTen(-exponent) : value * exactPowerOfTen(exponent);
  }
  return reinterpret<f64>(roundProduct(mantissa, exponent));
}

/**
 * The same for digits of which only the first 19 are in `mantissa`: `digits` to `digitsEnd` are all of them, from the
 * first that is not zero, perhaps with a point among them.
 */
export function toDoubleOfMany(mantissa: u64, exponent: i32, digits: usize, digitsEnd: usize, lastExponent: i32): f64 {
  const below = roundProduct(mantissa, exponent);
  const above = roundProduct(mantissa + 1, exponent);
  if (below == above) return reinterpret<f64>(below);
  // The two are neighbours, and the number lies between them.
  const order = compareWithMidpoint(below, digits, digitsEnd, lastExponent);
  if (order == 0) return reinterpret<f64>((below & 1) == 0 ? below : above);
  return reinterpret<f64>(order < 0 ? below : above);
}

/**
 * The bits of mantissa · 10^q by one or two 64 × 64-bit products: Lemire, "Number Parsing at a Gigabyte per Second"
 * (2021), without the fallback, which Mushtak and Lemire, "Fast Number Parsing Without Fallback" (2023) prove needless.
 */
function roundProduct(mantissa: u64, q: i32): u64 {
  if (mantissa == 0 || q < MIN_POWER) return 0;
  if (q > MAX_POWER) return (<u64>INFINITE_EXPONENT) << MANTISSA_BITS;
  const zeros = <i32>clz<u64>(mantissa);
  multiplyByPower(mantissa << zeros, q);
  const high = productHigh;
  const upperBit = <i32>(high >> 63);
  const shift = upperBit + 64 - MANTISSA_BITS - 3;
  let rounded = high >> shift;
  let exponent = ((217706 * q) >> 16) + 63 + upperBit - zeros - MIN_EXPONENT;
  if (exponent <= 0) {
    if (1 - exponent >= 64) return 0;
    rounded >>= 1 - exponent;
    rounded += rounded & 1;
    // A subnormal that rounds up to 2^52 becomes the least normal number by its bits alone.
    return rounded >> 1;
  }
  const isHalfway =
    productLow <= 1 && q >= MIN_HALFWAY_POWER && q <= MAX_HALFWAY_POWER && (rounded & 3) == 1 && rounded << shift == high;
  if (isHalfway) rounded &= ~1;
  rounded += rounded & 1;
  rounded >>= 1;
  if (rounded >= (<u64>2) << MANTISSA_BITS) {
    rounded = (<u64>1) << MANTISSA_BITS;
    exponent++;
  }
  if (exponent >= INFINITE_EXPONENT) return (<u64>INFINITE_EXPONENT) << MANTISSA_BITS;
  return (rounded & (((<u64>1) << MANTISSA_BITS) - 1)) | ((<u64>exponent) << MANTISSA_BITS);
}

/** Leaves the high 128 bits of w · 5^q, as exact as rounding needs, in `productHigh` and `productLow`. */
function multiplyByPower(w: u64, q: i32): void {
  const power = powerOfFive(q);
  multiply(w, load<u64>(power));
  const undecidedBits: u64 = 0xffffffffffffffff >> (MANTISSA_BITS + 3);
  if ((productHigh & undecidedBits) != undecidedBits) return;
  const high = productHigh;
  const low = productLow;
  multiply(w, load<u64>(power, 8));
  productLow = low + productHigh;
  productHigh = high + u64(productLow < low);
}

function multiply(a: u64, b: u64): void {
  const aLow = a & 0xffffffff;
  const aHigh = a >> 32;
  const bLow = b & 0xffffffff;
  const bHigh = b >> 32;
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >> 32);
  const other = aLow * bHigh + (middle & 0xffffffff);
  productHigh = aHigh * bHigh + (middle >> 32) + (other >> 32);
  productLow = (other << 32) | (low & 0xffffffff);
}
