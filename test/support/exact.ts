/**
 * Exact arithmetic on doubles: every finite double is a whole multiple of 2^-1074, so sums of doubles, and of their
 * products, are whole numbers of known scale. Slow and obviously right.
 */

const MANTISSA_BITS = 52n;
/** Every finite double times 2^1074 is a whole number. */
const SCALE_BITS = 1074n;
const bits = new DataView(new ArrayBuffer(8));

/** x · 2^1074, exactly. x must be finite. */
function toScaled(x: number): bigint {
  if (!Number.isFinite(x)) throw new RangeError(`${x} is not finite`);
  bits.setFloat64(0, x);
  const word = bits.getBigUint64(0);
  const exponent = (word >> MANTISSA_BITS) & 0x7ffn;
  const fraction = word & 0xfffffffffffffn;
  const magnitude = exponent === 0n ? fraction : (fraction | (1n << MANTISSA_BITS)) << (exponent - 1n);
  return word >> 63n === 0n ? magnitude : -magnitude;
}

/** Bits of quotient kept before rounding: a double's 53, one to round by, and some. */
const QUOTIENT_BITS = 64;

/**
 * numerator / denominator rounded once to the nearest double, ties to even. The denominator is positive; the result
 * must not be subnormal.
 */
export function divideToDouble(numerator: bigint, denominator: bigint): number {
  if (numerator === 0n) return 0;
  const magnitude = numerator < 0n ? -numerator : numerator;
  const exponent = bitLength(magnitude) - bitLength(denominator) - QUOTIENT_BITS;
  const top = exponent < 0 ? magnitude << BigInt(-exponent) : magnitude;
  const bottom = exponent < 0 ? denominator : denominator << BigInt(exponent);
  // The last bit stands for all that is cut off, so that the one rounding, in Number(), sees it.
  const quotient = (top / bottom) | (top % bottom === 0n ? 0n : 1n);
  const half = Math.trunc(exponent / 2);
  const value = Number(quotient) * 2 ** half * 2 ** (exponent - half);
  return numerator < 0n ? -value : value;
}

function bitLength(magnitude: bigint): number {
  const hex = magnitude.toString(16);
  return hex.length * 4 - Math.clz32(Number.parseInt(hex[0]!, 16)) + 28;
}

/** Exact sums of numbers and of their squares. */
export class ExactSums {
  count = 0;
  #sum = 0n;
  #squares = 0n;

  add(x: number): void {
    const scaled = toScaled(x);
    this.count++;
    this.#sum += scaled;
    this.#squares += scaled * scaled;
  }

  /** Adds x · weight to the sum alone; for weighted sums. */
  addWeighted(x: number, weight: bigint): void {
    this.#sum += toScaled(x) * weight;
  }

  /** The sum, rounded once. */
  get sum(): number {
    return divideToDouble(this.#sum, 1n << SCALE_BITS);
  }

  /** The mean, rounded once. */
  get mean(): number {
    return divideToDouble(this.#sum, BigInt(this.count) << SCALE_BITS);
  }

  /** The sample variance, rounded once; null for fewer than two. */
  get variance(): number | null {
    if (this.count < 2) return null;
    const n = BigInt(this.count);
    const scatter = n * this.#squares - this.#sum * this.#sum;
    return divideToDouble(scatter, (n * (n - 1n)) << (2n * SCALE_BITS));
  }
}
