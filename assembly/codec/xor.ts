import { ByteBuffer } from "../memory/bytes";
import { fail, Failure, readBytes, readVarint, remaining } from "./reader";
import { writeVarint } from "./writer";

/**
 * Doubles as XOR with the one before: Pelkonen et al., "Gorilla: A Fast, Scalable, In-Memory Time Series
 * Database" (2015), §4.1.2. Bits are written from the lowest up. Per value: `0` for the same value again; `1 0`
 * and the meaningful bits when they lie within the window in use; `1 1`, 6 bits leading zeros, 6 bits length − 1,
 * and the meaningful bits.
 */
const WINDOW_BITS: u32 = 12;

let word: u64 = 0;
let filled: u32 = 0;
let target: usize = 0;

/** How many bytes `encodeXor` takes for these, without their length. */
export function measureXor(source: usize, count: u32): u32 {
  let bits: u64 = 0;
  let leading: u32 = 64;
  let length: u32 = 0;
  let previous: u64 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const value = load<u64>(source + (<usize>i << 3));
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
  return <u32>min<u64>((bits + 7) >> 3, u32.MAX_VALUE);
}

/** Appends `count` doubles; `bytes` is what `measureXor` gave for them. */
export function encodeXor(source: usize, count: u32, bytes: u32, out: ByteBuffer): void {
  writeVarint(out, bytes);
  // The last word is written whole.
  target = out.reserve(bytes + 16);
  word = 0;
  filled = 0;
  let leading: u32 = 64;
  let length: u32 = 0;
  let previous: u64 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const value = load<u64>(source + (<usize>i << 3));
    const change = value ^ previous;
    previous = value;
    if (change == 0) {
      put(0, 1);
      continue;
    }
    const lead = <u32>clz<u64>(change);
    const trail = <u32>ctz<u64>(change);
    if (lead < leading || <u32>64 - trail > leading + length) {
      leading = lead;
      length = 64 - lead - trail;
      put(3 | (<u64>lead << 2) | (<u64>(length - 1) << 8), 2 + WINDOW_BITS);
    } else {
      put(1, 2);
    }
    put(change >> (64 - leading - length), length);
  }
  store<u64>(target, word);
  out.length += bytes;
}

@inline
function put(bits: u64, count: u32): void {
  word |= bits << filled;
  const next = filled + count;
  if (next >= 64) {
    store<u64>(target, word);
    target += 8;
    word = filled == 0 ? 0 : bits >> (64 - filled);
    filled = next - 64;
  } else {
    filled = next;
  }
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
    const code = peek(source, at);
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
      let change = peek(source, at);
      if (length < 64) change &= ((<u64>1) << length) - 1;
      previous ^= change << (64 - leading - length);
      at += length;
    }
    store<u64>(to + (<usize>i << 3), previous);
  }
  if (at > end) fail(Failure.Corrupt);
}

/** 64 bits from bit `at` on. */
@inline
function peek(source: usize, at: u64): u64 {
  const from = source + <usize>(at >> 3);
  const shift = at & 7;
  const low = load<u64>(from) >> shift;
  return shift == 0 ? low : low | (<u64>load<u8>(from, 8) << (64 - shift));
}
