import { ByteBuffer } from "../memory/bytes";
import { decodeIntegers, encodeIntegers } from "./integers";
import { Failure, fail, failure, readBytes, readU8, readVarint } from "./reader";
import { Scratch, scratch } from "./scratch";
import { writeVarint } from "./writer";

/** How a bitmap of known length is written: nothing more when all bits are alike. */
const enum Bitmap {
  AllZero = 0,
  AllOne = 1,
  Mixed = 2,
  /** Few zeros among ones: how many, and the distances between them. */
  SparseZeros = 3,
  SparseOnes = 4,
}

/** Bits rarer than one in this many are written by their distances. */
const SPARSE: u32 = 12;

/** Of `count` bytes at `source`, how many are not 0. */
export function countSet(source: usize, count: u32): u32 {
  const end = source + count;
  let set: u32 = 0;
  for (; source + 16 <= end; source += 16) {
    set += popcnt<u32>(i8x16.bitmask(i8x16.ne(v128.load(source), i64x2.splat(0))));
  }
  for (; source < end; source++) if (load<u8>(source) != 0) set++;
  return set;
}

/** Appends `count` bits, each set where the byte at `source` is not 0; `set` of them are. Lowest bit first. */
export function encodeBitmap(source: usize, count: u32, set: u32, out: ByteBuffer): void {
  if (set == 0) return out.u8(<u8>Bitmap.AllZero);
  if (set == count) return out.u8(<u8>Bitmap.AllOne);
  if (min(set, count - set) < count / SPARSE) return encodeSparse(source, count, set, out);
  out.u8(<u8>Bitmap.Mixed);
  const length = (count + 7) >> 3;
  let target = out.reserve(length);
  const end = source + count;
  for (; source + 16 <= end; source += 16, target += 2) {
    store<u16>(target, <u16>i8x16.bitmask(i8x16.ne(v128.load(source), i64x2.splat(0))));
  }
  let byte: u32 = 0;
  let bit: u32 = 0;
  for (; source < end; source++) {
    if (load<u8>(source) != 0) byte |= 1 << bit;
    if (++bit == 8) {
      store<u8>(target++, <u8>byte);
      byte = 0;
      bit = 0;
    }
  }
  if (bit > 0) store<u8>(target, <u8>byte);
  out.length += length;
}

function encodeSparse(source: usize, count: u32, set: u32, out: ByteBuffer): void {
  const isOnes = set < count - set;
  const rare = isOnes ? set : count - set;
  const gaps = scratch(Scratch.Gaps, (<usize>rare) << 3);
  let found: u32 = 0;
  let previous: u32 = 0;
  const flip: u32 = isOnes ? 0 : 0xffff;
  for (let from: u32 = 0; from < count; from += 16) {
    const isLast = count - from < 16;
    let bits = isLast
      ? bitsOf(source + from, count - from)
      : <u32>i8x16.bitmask(i8x16.ne(v128.load(source + from), i64x2.splat(0)));
    bits ^= isLast ? flip & ((1 << (count - from)) - 1) : flip;
    for (; bits != 0; bits &= bits - 1) {
      const at = from + ctz<u32>(bits);
      store<u64>(gaps + ((<usize>found) << 3), at - previous);
      previous = at;
      found++;
    }
  }
  out.u8(<u8>(isOnes ? Bitmap.SparseOnes : Bitmap.SparseZeros));
  writeVarint(out, rare);
  encodeIntegers(gaps, rare, out);
}

/** A bit for each of fewer than 32 bytes that is not 0. */
function bitsOf(source: usize, count: u32): u32 {
  let bits: u32 = 0;
  for (let i: u32 = 0; i < count; i++) bits |= <u32>(load<u8>(source + i) != 0) << i;
  return bits;
}

function decodeSparse(count: u32, target: usize, isOnes: bool): u32 {
  const rare = readVarint();
  if (rare > count) {
    fail(Failure.Corrupt);
    return 0;
  }
  const gaps = scratch(Scratch.Gaps, (<usize>rare) << 3);
  decodeIntegers(<u32>rare, gaps);
  if (failure != Failure.None) return 0;
  memory.fill(target, <u8>!isOnes, count);
  let at: u64 = 0;
  for (let i: u32 = 0; i < <u32>rare; i++) {
    const gap = load<u64>(gaps + ((<usize>i) << 3));
    // Only the first may be 0.
    if (gap >= count - at || (gap == 0 && i > 0)) {
      fail(Failure.Corrupt);
      return 0;
    }
    at += gap;
    store<u8>(target + <usize>at, <u8>isOnes);
  }
  return isOnes ? <u32>rare : count - <u32>rare;
}

/** Reads `count` bits to bytes of 0 or 1 at `target`, which has room for 8 more. Gives how many are 1. */
export function decodeBitmap(count: u32, target: usize): u32 {
  const mode = readU8();
  if (mode == Bitmap.AllZero || mode == Bitmap.AllOne) {
    memory.fill(target, <u8>mode, count);
    return mode == Bitmap.AllOne ? count : 0;
  }
  if (mode == Bitmap.SparseZeros || mode == Bitmap.SparseOnes) {
    return decodeSparse(count, target, mode == Bitmap.SparseOnes);
  }
  if (mode != Bitmap.Mixed) {
    fail(Failure.Corrupt);
    return 0;
  }
  const source = readBytes((count + 7) >> 3);
  if (source == 0) return 0;
  for (let at: u32 = 0; at < count; at += 8) {
    const spread = (<u64>load<u8>(source + (at >> 3)) * 0x0101010101010101) & 0x8040201008040201;
    store<u64>(target + at, ((spread + 0x7f7f7f7f7f7f7f7f) >> 7) & 0x0101010101010101);
  }
  return countSet(target, count);
}
