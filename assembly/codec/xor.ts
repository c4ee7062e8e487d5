import { ByteBuffer } from "../memory/bytes";
import { beginBits, endBits, peekBits, putBits } from "./bitstream";
import { Failure, fail, readBytes, readVarint, remaining } from "./reader";
import { writeVarint } from "./writer";

/**
 * Doubles as XOR with the one before: Pelkonen et al., "Gorilla: A Fast, Scalable, In-Memory Time Series
 * Database" (2015), §4.1.2. Per value: `0` for the same value again; `1 0` and the meaningful bits when they lie
 * within the window in use; `1 1`, 6 bits leading zeros, 6 bits length − 1, and the meaningful bits.
 */
const WINDOW_BITS: u32 = 12;

/** How many bytes `encodeXor` takes for these, without their length. */
export function measureXor(source: usize, count: u32): u32 {
  let bits: u64 = 0;
  let leading: u32 = 64;
  let length: u32 = 0;
  let previous: u64 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const value = load<u64>(source + ((<usize>i) << 3));
    const change = value ^ previous;
    previous = value;
    bits++;
    if (change == 0) continue;
    bits++;
    const lead = <u32>clz<u64>(change);
    const trail = <u32>ctz<u64>(change);
    if (lead < leading || <u32>64 - trail > leading + length) {
      leading = lead;
      length = 64 - lead - trail;
      bits += WINDOW_BITS;
    }
    bits += length;
  }
  return <u32>((bits + 7) >> 3);
}

/** Appends `count` doubles; `bytes` is what `measureXor` gave for them. */
export function encodeXor(source: usize, count: u32, bytes: u32, out: ByteBuffer): void {
  writeVarint(out, bytes);
  beginBits(out, bytes);
  let leading: u32 = 64;
  let length: u32 = 0;
  let previous: u64 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const value = load<u64>(source + ((<usize>i) << 3));
    const change = value ^ previous;
    previous = value;
    if (change == 0) {
      putBits(0, 1);
      continue;
    }
    const lead = <u32>clz<u64>(change);
    const trail = <u32>ctz<u64>(change);
    if (lead < leading || <u32>64 - trail > leading + length) {
      leading = lead;
      length = 64 - lead - trail;
      putBits(3 | ((<u64>lead) << 2) | ((<u64>(length - 1)) << 8), 2 + WINDOW_BITS);
    } else {
      putBits(1, 2);
    }
    putBits(change >> (64 - leading - length), length);
  }
  endBits(out, bytes);
}

/** Reads `count` doubles to `to`. */
export function decodeXor(count: u32, to: usize): void {
  const bytes = readVarint();
  if (bytes > remaining() || bytes << 3 < count) return fail(Failure.Corrupt);
  const source = readBytes(<u32>bytes);
  const end = bytes << 3;
  let at: u64 = 0;
  let leading: u32 = 64;
  let length: u32 = 0;
  let previous: u64 = 0;
  for (let i: u32 = 0; i < count; i++) {
    // Every read starts below `end`, and the input is padded by more than the longest code.
    if (at >= end) return fail(Failure.Corrupt);
    const code = peekBits(source, at);
    if ((code & 1) == 0) {
      at++;
    } else {
      at += 2;
      if (code & 2) {
        leading = <u32>(code >> 2) & 63;
        length = (<u32>(code >> 8) & 63) + 1;
        at += WINDOW_BITS;
        if (leading + length > 64) return fail(Failure.Corrupt);
      }
      if (length == 0) return fail(Failure.Corrupt);
      let change = peekBits(source, at);
      if (length < 64) change &= ((<u64>1) << length) - 1;
      previous ^= change << (64 - leading - length);
      at += length;
    }
    store<u64>(to + ((<usize>i) << 3), previous);
  }
  if (at > end) fail(Failure.Corrupt);
}
