/**
 * Fixed-width bit-packing of 128 values at a time, in vector lanes ("vertical" layout, as in Lemire and
 * Boytsov, "Decoding billions of integers per second through vectorization", 2015).
 *
 * Up to 32 bits a value, value i stands in 32-bit lane i mod 4; above, in 64-bit lane i mod 2. In each lane the
 * values follow one another from the lowest bit up, word after word. Either way 128 values of w bits fill
 * exactly 16·w bytes. Fewer than 128 values are packed one after another in one run of bits, lowest first.
 */
export const GROUP: u32 = 128;

/** Packs 128 values (`T`: i64 or i32) less `base`, each then below 2^width. Writes 16·width bytes. */
export function packGroup<T>(source: usize, base: i64, width: u32, target: usize): void {
  if (width == 0) return;
  if (width <= 32) packNarrow<T>(source, base, width, target);
  else packWide(source, base, width, target);
}

function packNarrow<T>(source: usize, base: i64, width: u32, target: usize): void {
  const bases = i32x4.splat(<i32>base);
  const step: usize = 4 * sizeof<T>();
  const end = source + <usize>GROUP * sizeof<T>();
  if (width == 32) {
    for (; source < end; source += step, target += 16) v128.store(target, i32x4.sub(fourLow<T>(source), bases));
    return;
  }
  let words = i64x2.splat(0);
  let filled: i32 = 0;
  for (; source < end; source += step) {
    const values = i32x4.sub(fourLow<T>(source), bases);
    words = v128.or(words, i32x4.shl(values, filled));
    filled += width;
    if (filled >= 32) {
      v128.store(target, words);
      target += 16;
      filled -= 32;
      words = i32x4.shr_u(values, width - filled);
    }
  }
}

@inline
function fourLow<T>(source: usize): v128 {
  if (sizeof<T>() == 4) return v128.load(source);
  return v128.shuffle<i32>(v128.load(source), v128.load(source, 16), 0, 2, 4, 6);
}

function packWide(source: usize, base: i64, width: u32, target: usize): void {
  const bases = i64x2.splat(base);
  const end = source + (<usize>GROUP << 3);
  if (width == 64) {
    for (; source < end; source += 16, target += 16) v128.store(target, i64x2.sub(v128.load(source), bases));
    return;
  }
  let words = i64x2.splat(0);
  let filled: i32 = 0;
  for (; source < end; source += 16) {
    const values = i64x2.sub(v128.load(source), bases);
    words = v128.or(words, i64x2.shl(values, filled));
    filled += width;
    if (filled >= 64) {
      v128.store(target, words);
      target += 16;
      filled -= 64;
      words = i64x2.shr_u(values, width - filled);
    }
  }
}

/** The reverse of `packGroup`. May read 16 bytes beyond the group's. */
export function unpackGroup(source: usize, base: i64, width: u32, target: usize): void {
  if (width == 0) fillGroup(base, target);
  else if (width <= 32) unpackNarrow(source, base, width, target);
  else unpackWide(source, base, width, target);
}

function fillGroup(base: i64, target: usize): void {
  const bases = i64x2.splat(base);
  const end = target + (<usize>GROUP << 3);
  for (; target < end; target += 16) v128.store(target, bases);
}

function unpackNarrow(source: usize, base: i64, width: u32, target: usize): void {
  const bases = i64x2.splat(base);
  const mask = i32x4.splat(width == 32 ? -1 : (1 << width) - 1);
  const end = target + (<usize>GROUP << 3);
  let words = v128.load(source);
  let used: i32 = 0;
  for (; target < end; target += 32) {
    let values = i32x4.shr_u(words, used);
    used += width;
    if (used >= 32) {
      used -= 32;
      source += 16;
      words = v128.load(source);
      if (used > 0) values = v128.or(values, i32x4.shl(words, width - used));
    }
    values = v128.and(values, mask);
    v128.store(target, i64x2.add(i64x2.extend_low_i32x4_u(values), bases));
    v128.store(target, i64x2.add(i64x2.extend_high_i32x4_u(values), bases), 16);
  }
}

function unpackWide(source: usize, base: i64, width: u32, target: usize): void {
  const bases = i64x2.splat(base);
  const mask = i64x2.splat(width == 64 ? -1 : ((<i64>1) << width) - 1);
  const end = target + (<usize>GROUP << 3);
  let words = v128.load(source);
  let used: i32 = 0;
  for (; target < end; target += 16) {
    let values = i64x2.shr_u(words, used);
    used += width;
    if (used >= 64) {
      used -= 64;
      source += 16;
      words = v128.load(source);
      if (used > 0) values = v128.or(values, i64x2.shl(words, width - used));
    }
    v128.store(target, i64x2.add(v128.and(values, mask), bases));
  }
}

@inline
export function tailBytes(count: u32, width: u32): u32 {
  return (count * width + 7) >> 3;
}

/** Packs fewer than 128 values. Writes `tailBytes`, and up to 8 bytes more that may be overwritten. */
export function packTail<T>(source: usize, count: u32, base: i64, width: u32, target: usize): void {
  if (width == 0) return;
  let word: u64 = 0;
  let filled: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const value = <u64>(<i64>load<T>(source + <usize>i * sizeof<T>()) - base);
    word |= value << filled;
    filled += width;
    if (filled >= 64) {
      store<u64>(target, word);
      target += 8;
      filled -= 64;
      word = filled == 0 ? 0 : value >> (width - filled);
    }
  }
  store<u64>(target, word);
}

/** The reverse of `packTail`. May read 9 bytes beyond the tail's. */
export function unpackTail(source: usize, count: u32, base: i64, width: u32, target: usize): void {
  const mask: u64 = width == 64 ? u64.MAX_VALUE : ((<u64>1) << width) - 1;
  for (let i: u32 = 0; i < count; i++) {
    const at = i * width;
    const shift = at & 7;
    const word = source + (at >> 3);
    let value = load<u64>(word) >> shift;
    if (shift + width > 64) value |= <u64>load<u8>(word, 8) << (64 - shift);
    store<i64>(target + (<usize>i << 3), <i64>(value & mask) + base);
  }
}
