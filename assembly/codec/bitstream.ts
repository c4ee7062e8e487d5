import { ByteBuffer } from "../memory/bytes";

/** A run of codes of any width, from the lowest bit up. There is one being written at a time. */
let word: u64 = 0;
let filled: u32 = 0;
let target: usize = 0;

/** Starts a run of at most `bytes` at the end of `out`; `out` must not change until `endBits`. */
export function beginBits(out: ByteBuffer, bytes: u32): void {
  // The last word is written whole.
  target = out.reserve(bytes + 16);
  word = 0;
  filled = 0;
}

/** Appends the low `count` ≤ 64 bits of `bits`, which has no others. */
@inline
export function putBits(bits: u64, count: u32): void {
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

/** Ends the run, which took `bytes`. */
export function endBits(out: ByteBuffer, bytes: u32): void {
  store<u64>(target, word);
  out.length += bytes;
}

/** 64 bits from bit `at` on. Reads 9 bytes. */
@inline
export function peekBits(source: usize, at: u64): u64 {
  const from = source + <usize>(at >> 3);
  const shift = at & 7;
  const low = load<u64>(from) >> shift;
  return shift == 0 ? low : low | (<u64>load<u8>(from, 8) << (64 - shift));
}
