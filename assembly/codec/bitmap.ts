import { ByteBuffer } from "../memory/bytes";
import { fail, Failure, readBytes, readU8 } from "./reader";

/** How a bitmap of known length is written: nothing more when all bits are alike. */
const enum Bitmap {
  AllZero = 0,
  AllOne = 1,
  Mixed = 2,
}

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

/** Reads `count` bits to bytes of 0 or 1 at `target`, which has room for 8 more. Gives how many are 1. */
export function decodeBitmap(count: u32, target: usize): u32 {
  const mode = readU8();
  if (mode == Bitmap.AllZero || mode == Bitmap.AllOne) {
    memory.fill(target, <u8>mode, count);
    return mode == Bitmap.AllOne ? count : 0;
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
