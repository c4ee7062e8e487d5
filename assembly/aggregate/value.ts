import { ByteBuffer } from "../memory/bytes";

/**
 * Values of any type, where what counts is whether they are equal: distinct, topk, mode. 1 and 1.0 are one value, 1 and
 * "1" are two. The order is false, true, numbers, texts by their UTF-8 bytes.
 */
export const enum ValueKind {
  /** bits: 0 or 1 */
  Bool = 1,
  /** bits: those of a finite double, not −0 */
  Number = 2,
  /** bits: an i64 that no double equals */
  Int = 3,
  /** UTF-8 elsewhere */
  Text = 4,
}

/** Odd multipliers of splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014). */
const MIX_A: u64 = 0xbf58476d1ce4e5b9;
const MIX_B: u64 = 0x94d049bb133111eb;
const GOLDEN: u64 = 0x9e3779b97f4a7c15;

/** Whether a double equals the whole number. */
@inline
export function isDouble(value: i64): bool {
  const near = <f64>value;
  return near < 9223372036854775808.0 && <i64>near == value;
}

/** 64 bits that are the same on every machine and in every release: sketches of them are stored. */
@inline
export function hashValue(kind: ValueKind, bits: u64): u64 {
  return mix(bits ^ (<u64>kind * GOLDEN));
}

/** The same, of a text; a seed that nobody knows makes collisions unlikely even where somebody wants them. */
export function hashText(text: usize, length: u32, seed: u64): u64 {
  let hash = mix(seed ^ length);
  let left = length;
  for (; left >= 8; left -= 8, text += 8) hash = mix(hash ^ load<u64>(text));
  if (left == 0) return hash;
  let word: u64 = 0;
  for (let i: u32 = 0; i < left; i++) word |= <u64>load<u8>(text + i) << <u64>(i << 3);
  return mix(hash ^ word);
}

@inline
function mix(word: u64): u64 {
  word = (word ^ (word >> 30)) * MIX_A;
  word = (word ^ (word >> 27)) * MIX_B;
  return word ^ (word >> 31);
}

/** Below, equal to or above 0 as the values that are no texts compare. */
export function compareValues(kindA: ValueKind, bitsA: u64, kindB: ValueKind, bitsB: u64): i32 {
  if (kindA == ValueKind.Bool || kindB == ValueKind.Bool) {
    if (kindA != kindB) return kindA == ValueKind.Bool ? -1 : 1;
    return <i32>bitsA - <i32>bitsB;
  }
  if (kindA == kindB && kindA == ValueKind.Int) {
    return <i64>bitsA < <i64>bitsB ? -1 : <i64>bitsA > <i64>bitsB ? 1 : 0;
  }
  if (kindA == kindB) {
    const a = reinterpret<f64>(bitsA);
    const b = reinterpret<f64>(bitsB);
    return a < b ? -1 : a > b ? 1 : 0;
  }
  return kindA == ValueKind.Int
    ? compareIntToNumber(<i64>bitsA, reinterpret<f64>(bitsB))
    : -compareIntToNumber(<i64>bitsB, reinterpret<f64>(bitsA));
}

/** They are never equal. */
function compareIntToNumber(a: i64, b: f64): i32 {
  const near = <f64>a;
  if (near != b) return near < b ? -1 : 1;
  return b < 9223372036854775808.0 && a > <i64>b ? 1 : -1;
}

/** The length of a text cut to at most `most` bytes, between characters. */
@inline
export function cutText(text: usize, length: u32, most: u32): u32 {
  if (length <= most) return length;
  let end = most;
  while (end > 0 && (load<u8>(text + end) & 0xc0) == 0x80) end--;
  return end;
}

/** kind u8, then bits u64, or length u32 and UTF-8. */
export function writeValue(out: ByteBuffer, kind: ValueKind, bits: u64, text: usize, length: u32): void {
  out.u8(<u8>kind);
  if (kind != ValueKind.Text) {
    out.u64(bits);
    return;
  }
  out.u32(length);
  out.append(text, length);
}
