/**
 * Where the punctuation of JSON stands: the text is gone through 64 bytes at a time, without a branch for what is in it,
 * after Langdale and Lemire, "Parsing Gigabytes of JSON per Second" (2019). What it finds are hints: whoever reads by them checks
 * every byte, so that an index of malformed text does no harm.
 */

/** Text is indexed in windows, so that the index stays in the processor's nearest cache. */
const WINDOW_BYTES: usize = 8 << 10;
const BLOCK_BYTES: usize = 64;
/** Marks written at once, more than most blocks have. */
const MARKS_AT_ONCE: u32 = 12;
/** Behind the last mark stand so many of `NOTHING`, for who reads ahead. */
const END_MARKS: usize = 4;

/** A zero byte: where the marks behind the last one point to. */
export const NOTHING: usize = memory.data(32, 16) + 16;

/** u32[]: the addresses of the bytes before braces, colons and commas outside strings, in order. */
let marks: usize = 0;
/** What is indexed. */
export let windowStart: usize = 0;
export let windowEnd: usize = 0;

/** To be called once, before anything is indexed. */
export function prepareStructure(): void {
  if (marks == 0) marks = heap.alloc((WINDOW_BYTES + BLOCK_BYTES + END_MARKS) << 2);
}

/** Says that other text stands there now. */
export function forgetStructure(): void {
  windowEnd = 0;
}

@inline
export function firstMark(): usize {
  return marks;
}

/**
 * In memory, for the engine keeps loaded vectors in registers over a loop, but makes constant ones anew at each use: quote,
 * backslash, colon, comma, and the byte before the opening brace.
 */
const BYTES = memory.data<u64>([
  0x2222222222222222, 0x2222222222222222, 0x5c5c5c5c5c5c5c5c, 0x5c5c5c5c5c5c5c5c, 0x3a3a3a3a3a3a3a3a, 0x3a3a3a3a3a3a3a3a,
  0x2c2c2c2c2c2c2c2c, 0x2c2c2c2c2c2c2c2c, 0x7a7a7a7a7a7a7a7a, 0x7a7a7a7a7a7a7a7a,
]);

/** One bit for each byte of four blocks. */
@inline
function bitsOf(a: v128, b: v128, c: v128, d: v128): u64 {
  const low = <u32>i8x16.bitmask(a) | (<u32>i8x16.bitmask(b) << 16);
  const high = <u32>i8x16.bitmask(c) | (<u32>i8x16.bitmask(d) << 16);
  return <u64>low | (<u64>high << 32);
}

/** Every bit becomes the parity of those up to it: 1 from each opening quote up to its closing one. */
@inline
function insideOf(quotes: u64): u64 {
  quotes ^= quotes << 1;
  quotes ^= quotes << 2;
  quotes ^= quotes << 4;
  quotes ^= quotes << 8;
  quotes ^= quotes << 16;
  return quotes ^ (quotes << 32);
}

@inline
function markFour(at: usize, base: usize, bits: u64): u64 {
  store<u32>(at, base + <usize>ctz<u64>(bits));
  bits &= bits - 1;
  store<u32>(at, base + <usize>ctz<u64>(bits), 4);
  bits &= bits - 1;
  store<u32>(at, base + <usize>ctz<u64>(bits), 8);
  bits &= bits - 1;
  store<u32>(at, base + <usize>ctz<u64>(bits), 12);
  return bits & (bits - 1);
}

/** Indexes the text from `start`, where no string is open, up to `end` or the window's size. Reads up to 63 bytes past `end`. */
export function indexStructure(start: usize, end: usize): void {
  const stop = min<usize>(start + WINDOW_BYTES, end);
  const quote = v128.load(BYTES);
  const backslash = v128.load(BYTES, 16);
  const colon = v128.load(BYTES, 32);
  const comma = v128.load(BYTES, 48);
  const belowBraces = v128.load(BYTES, 64);
  let out = marks;
  let inString: u64 = 0;
  let escaped: u64 = 0;
  for (let at = start; at < stop; at += BLOCK_BYTES) {
    const a = v128.load(at);
    const b = v128.load(at, 16);
    const c = v128.load(at, 32);
    const d = v128.load(at, 48);
    const isEscape = v128.or(
      v128.or(i8x16.eq(a, backslash), i8x16.eq(b, backslash)),
      v128.or(i8x16.eq(c, backslash), i8x16.eq(d, backslash)),
    );
    let quotes = bitsOf(i8x16.eq(a, quote), i8x16.eq(b, quote), i8x16.eq(c, quote), i8x16.eq(d, quote));
    if ((<u64>i8x16.bitmask(isEscape) | escaped) != 0) {
      const backslashes = bitsOf(
        i8x16.eq(a, backslash), i8x16.eq(b, backslash), i8x16.eq(c, backslash), i8x16.eq(d, backslash),
      );
      quotes &= ~markEscaped(backslashes, escaped);
      escaped = carried;
    }
    const inside = insideOf(quotes) ^ inString;
    inString = <u64>(<i64>inside >> 63);
    // Braces, colons, commas, and some bytes that cannot stand outside strings.
    let bits = bitsOf(
      v128.or(i8x16.gt_s(a, belowBraces), v128.or(i8x16.eq(a, colon), i8x16.eq(a, comma))),
      v128.or(i8x16.gt_s(b, belowBraces), v128.or(i8x16.eq(b, colon), i8x16.eq(b, comma))),
      v128.or(i8x16.gt_s(c, belowBraces), v128.or(i8x16.eq(c, colon), i8x16.eq(c, comma))),
      v128.or(i8x16.gt_s(d, belowBraces), v128.or(i8x16.eq(d, colon), i8x16.eq(d, comma))),
    ) & ~inside;
    const count = <u32>popcnt<u64>(bits);
    bits = markFour(out, at - 1, bits);
    bits = markFour(out + 16, at - 1, bits);
    bits = markFour(out + 32, at - 1, bits);
    for (let done = MARKS_AT_ONCE; done < count; done += 4) bits = markFour(out + (<usize>done << 2), at - 1, bits);
    out += <usize>count << 2;
  }
  for (let i: usize = 0; i < END_MARKS; i++) store<u32>(out + (i << 2), NOTHING);
  windowStart = start;
  windowEnd = stop;
}

/** Whether the first byte of the next block is escaped: 0 or 1. */
let carried: u64 = 0;

/** The bytes behind backslashes that are not escaped themselves; `first`: whether the first byte is. */
function markEscaped(backslashes: u64, first: u64): u64 {
  let escaped = first;
  let rest = backslashes & ~first;
  carried = 0;
  while (rest != 0) {
    const bit = rest & (0 - rest);
    if (bit >> 63) carried = 1;
    escaped |= bit << 1;
    rest &= ~(bit | (bit << 1));
  }
  return escaped;
}
