import { ByteBuffer } from "../memory/bytes";
import { scaleByPower } from "./exact";
import { countMemory } from "./memory";

const CHUNKS: u32 = 136;
/** Bit 0 weighs 2^-2148: the square of the smallest double. The top chunk leaves room for 2^60 squares of the greatest. */
const LOWEST_EXPONENT: i32 = -2148;
/** Each addition adds less than 2^32 to a chunk, so that many fit an i64. */
const MAX_PENDING: u32 = 1 << 29;
const CHUNK_MASK: i64 = 0xffffffff;

/**
 * The exact sum of any finite doubles and of their squares, as one long fixed-point number in 32-bit digits whose
 * carries are put off. 1,096 bytes: only for the sums that two or three doubles cannot hold exactly.
 *
 * Source: R. M. Neal, "Fast exact summation using small and large superaccumulators" (2015).
 */
@unmanaged
export class BigSum {
  pending: u32;
  reserved: u32;

  static create(): BigSum {
    const self = changetype<BigSum>(heap.alloc(HEAD_BYTES + (CHUNKS << 3)));
    self.clear();
    countMemory(<i32>HEAD_BYTES + (CHUNKS << 3));
    return self;
  }

  clear(): void {
    this.pending = 0;
    memory.fill(this.at(0), 0, CHUNKS << 3);
  }

  dispose(): void {
    countMemory(-(<i32>HEAD_BYTES + (CHUNKS << 3)));
    heap.free(changetype<usize>(this));
  }

  @inline private at(index: u32): usize {
    return changetype<usize>(this) + HEAD_BYTES + (<usize>index << 3);
  }

  @inline private chunk(index: u32): i64 {
    return load<i64>(this.at(index));
  }

  /** Adds ± m · 2^position (bits above the lowest). */
  private addAt(position: u32, m: u64, isNegative: bool): void {
    if (this.pending >= MAX_PENDING) this.normalize();
    this.pending++;
    const shift = <u64>(position & 31);
    const at = this.at(position >> 5);
    const first = <i64>((m << shift) & <u64>CHUNK_MASK);
    const second = <i64>((m >> (32 - shift)) & <u64>CHUNK_MASK);
    const third = <i64>((m >> 1) >> (63 - shift));
    store<i64>(at, load<i64>(at) + (isNegative ? -first : first));
    store<i64>(at, load<i64>(at, 8) + (isNegative ? -second : second), 8);
    store<i64>(at, load<i64>(at, 16) + (isNegative ? -third : third), 16);
  }

  /** Adds x · 2^scale. Exact when no bit of it is below 2^-2148. */
  addScaled(x: f64, scale: i32): void {
    const bits = reinterpret<u64>(x);
    let exponent = <i32>((bits >> 52) & 0x7ff);
    let m = bits & 0xfffffffffffff;
    if (exponent == 0) exponent = 1;
    else m |= 1 << 52;
    if (m == 0) return;
    let position = exponent - 1075 - LOWEST_EXPONENT + scale;
    if (position < 0) {
      m = position > -64 ? m >> <u64>-position : 0;
      position = 0;
    }
    this.addAt(position, m, bits >> 63 != 0);
  }

  @inline add(x: f64): void {
    this.addScaled(x, 0);
  }

  /** Adds x², exactly. */
  addSquare(x: f64): void {
    const bits = reinterpret<u64>(x);
    let exponent = <i32>((bits >> 52) & 0x7ff);
    let m = bits & 0xfffffffffffff;
    if (exponent == 0) exponent = 1;
    else m |= 1 << 52;
    const position = 2 * (exponent - 1075) - LOWEST_EXPONENT;
    const high = m >> 27;
    const lowPart = m & 0x7ffffff;
    this.addAt(position, lowPart * lowPart, false);
    this.addAt(position + 28, high * lowPart, false);
    this.addAt(position + 54, high * high, false);
  }

  addAll(other: BigSum): void {
    this.normalize();
    other.normalize();
    for (let i: u32 = 0; i < CHUNKS; i++) store<i64>(this.at(i), this.chunk(i) + other.chunk(i));
    this.pending = 1;
  }

  copyFrom(other: BigSum): void {
    memory.copy(changetype<usize>(this), changetype<usize>(other), HEAD_BYTES + (CHUNKS << 3));
  }

  /** Carries: every digit but the top one is then in [0, 2^32), and the top one has the sign. */
  normalize(): void {
    let carry: i64 = 0;
    for (let i: u32 = 0; i < CHUNKS - 1; i++) {
      const value = this.chunk(i) + carry;
      store<i64>(this.at(i), value & CHUNK_MASK);
      carry = value >> 32;
    }
    store<i64>(this.at(CHUNKS - 1), this.chunk(CHUNKS - 1) + carry);
    this.pending = 0;
  }

  isZero(): bool {
    this.normalize();
    for (let i: u32 = 0; i < CHUNKS; i++) if (this.chunk(i) != 0) return false;
    return true;
  }

  /** The exponent of the sum's leading bit, or the lowest exponent when the sum is zero. */
  leadingExponent(): i32 {
    const isNegative = this.makeMagnitude();
    const top = topDigit();
    if (isNegative) this.negate();
    return top < 0 ? LOWEST_EXPONENT : LOWEST_EXPONENT + top * 32 + 63 - <i32>clz<u64>(digit(top));
  }

  /** The nearest double to sum · 2^-scale, ties to even; ±Infinity when it is beyond the doubles. */
  round(scale: i32): f64 {
    const isNegative = this.makeMagnitude();
    const top = topDigit();
    const magnitude = top < 0 ? 0 : roundMagnitude(top, scale);
    if (isNegative) this.negate();
    return isNegative ? -magnitude : magnitude;
  }

  /** Copies the magnitude's digits to `magnitude`; true when the sum is negative, and it is then negated. */
  private makeMagnitude(): bool {
    this.normalize();
    const isNegative = this.chunk(CHUNKS - 1) < 0;
    if (isNegative) this.negate();
    memory.copy(magnitudeDigits, this.at(0), CHUNKS << 3);
    return isNegative;
  }

  private negate(): void {
    for (let i: u32 = 0; i < CHUNKS; i++) store<i64>(this.at(i), -this.chunk(i));
    this.normalize();
  }

  /** Writes the non-zero digits: first index u8, count u8, digits (the last signed) i64 each. */
  write(out: ByteBuffer): void {
    this.normalize();
    let from: u32 = 0;
    let to: u32 = CHUNKS;
    while (to > 0 && this.chunk(to - 1) == 0) to--;
    while (from < to && this.chunk(from) == 0) from++;
    out.u8(<u8>from);
    out.u8(<u8>(to - from));
    for (let i = from; i < to; i++) out.u64(<u64>this.chunk(i));
  }

  /** Adds what `write` wrote; returns the address behind it. */
  addWritten(from: usize): usize {
    this.normalize();
    const first = load<u8>(from);
    const count = load<u8>(from, 1);
    from += 2;
    for (let i: u32 = 0; i < count; i++, from += 8) {
      if (first + i < CHUNKS) store<i64>(this.at(first + i), this.chunk(first + i) + load<i64>(from));
    }
    this.pending = 1;
    return from;
  }
}

const HEAD_BYTES: usize = offsetof<BigSum>();
const magnitudeDigits = memory.data(136 * 8, 8);

@inline
function digit(index: i32): u64 {
  return index < 0 ? 0 : load<u64>(magnitudeDigits + (<usize>index << 3));
}

function topDigit(): i32 {
  let top = <i32>CHUNKS - 1;
  while (top >= 0 && digit(top) == 0) top--;
  return top;
}

function roundMagnitude(top: i32, scale: i32): f64 {
  const upper = (digit(top) << 32) | digit(top - 1);
  const shift = clz<u64>(upper);
  const third = digit(top - 2);
  const word = (upper << shift) | (shift == 0 ? 0 : third >> (32 - shift));
  let isSticky = ((third << shift) & <u64>CHUNK_MASK) != 0;
  for (let i = top - 3; i >= 0 && !isSticky; i--) isSticky = digit(i) != 0;
  let m = word >> 11;
  const rest = word & 0x7ff;
  if (rest > 0x400 || (rest == 0x400 && (isSticky || (m & 1) != 0))) m++;
  return scaleByPower(<f64>m, (top - 1) * 32 - <i32>shift + 11 + LOWEST_EXPONENT - scale);
}
