import { ByteBuffer } from "../memory/bytes";
import { readVarint, writeVarint, unzigzag, varintEnd, zigzag } from "../state/varint";
import { countMemory } from "./memory";
import { scaleByPower } from "./exact";

/**
 * Quantiles within 1 % of the true value: DDSketch.
 *
 * Source: C. Masson, J. E. Rim, H. K. Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
 * guarantees", PVLDB 12 (2019). The logarithm is the linear interpolation between powers of two that its §4 allows:
 * 50 equal buckets an octave. The widest is a ratio of 1.02 < (1 + 0.01) / (1 − 0.01), and a value's bucket is found
 * from its bits by whole numbers alone.
 *
 * A value's key grows with the value: negative values, 0 for zero, positive values. At most 2,048 buckets are kept; the
 * lowest collapse into the lowest kept. What is kept depends on the set of values alone, so merging is exact and
 * order does not matter.
 */
const BUCKETS_PER_OCTAVE: u64 = 50;
/** Makes the exponent of the smallest subnormal positive. */
const EXPONENT_BIAS: i32 = 52;
const MAX_BUCKETS: u32 = 2048;

const PAGE_BITS: i32 = 3;
const PAGE_BUCKETS: u32 = 8;
const PAGE_BYTES: u32 = 32;
/** Pages from this id on hold what overflows 32 bits in the page of that distance below. */
const HIGH_PLANE: i32 = 1 << 24;
const FIRST_CAPACITY: u32 = 2;

/**
 * The buckets of one sketch, in one piece of memory: this head, then page ids i32[capacity] in ascending order, then pages
 * of eight counts u32. A page stands for eight adjacent keys.
 */
@unmanaged
class SketchHead {
  /** Buckets that are not zero. */
  buckets: u32;
  pages: u32;
  capacity: u32;
  /** Page of the last addition: the next is likely there. */
  last: u32;
}

const HEAD_BYTES: usize = offsetof<SketchHead>();

@inline
function head(sketch: usize): SketchHead {
  return changetype<SketchHead>(sketch);
}

@inline
function idAt(sketch: usize, index: u32): i32 {
  return load<i32>(sketch + HEAD_BYTES + (<usize>index << 2));
}

@inline
function pageAt(sketch: usize, index: u32): usize {
  return sketch + HEAD_BYTES + (<usize>head(sketch).capacity << 2) + <usize>index * PAGE_BYTES;
}

export function sketchCreate(): usize {
  const sketch = heap.alloc(HEAD_BYTES + FIRST_CAPACITY * (4 + PAGE_BYTES));
  head(sketch).capacity = FIRST_CAPACITY;
  countMemory(sketchBytes(sketch));
  sketchReset(sketch);
  return sketch;
}

export function sketchDispose(sketch: usize): void {
  countMemory(-sketchBytes(sketch));
  heap.free(sketch);
}

export function sketchCopy(sketch: usize): usize {
  const bytes = sketchBytes(sketch);
  const copy = heap.alloc(bytes);
  memory.copy(copy, sketch, bytes);
  countMemory(bytes);
  return copy;
}

export function sketchReset(sketch: usize): void {
  head(sketch).buckets = 0;
  head(sketch).pages = 0;
  head(sketch).last = 0;
}

/** The bucket of a finite value. */
@inline
export function sketchKeyOf(value: f64): i32 {
  let bits = reinterpret<u64>(value) & 0x7fffffffffffffff;
  if (bits == 0) return 0;
  let exponent = <i32>(bits >> 52) + EXPONENT_BIAS;
  if (exponent == EXPONENT_BIAS) {
    // Subnormal: made normal by 2^52.
    bits = reinterpret<u64>(reinterpret<f64>(bits) * 4503599627370496);
    exponent = <i32>(bits >> 52);
  }
  const key = exponent * <i32>BUCKETS_PER_OCTAVE + <i32>(((bits & 0xfffffffffffff) * BUCKETS_PER_OCTAVE) >> 52) + 1;
  return value < 0 ? -key : key;
}

/** The value that is within 1 % of every value of the bucket. */
export function sketchValueOf(key: i32): f64 {
  if (key == 0) return 0;
  const index = abs(key) - 1;
  const lower = 1 + <f64>(index % <i32>BUCKETS_PER_OCTAVE) / <f64>BUCKETS_PER_OCTAVE;
  const upper = lower + 1 / <f64>BUCKETS_PER_OCTAVE;
  const middle = (2 * lower * upper) / (lower + upper);
  const value = scaleByPower(middle, index / <i32>BUCKETS_PER_OCTAVE - EXPONENT_BIAS - 1023);
  return key > 0 ? value : -value;
}

/** Counts a bucket `times` (≥ 1) more; returns the sketch, which may have moved. */
export function sketchAdd(sketch: usize, key: i32, times: u64): usize {
  const page = key >> PAGE_BITS;
  let index = head(sketch).last;
  if (index >= head(sketch).pages || idAt(sketch, index) != page) {
    index = findPage(sketch, page);
    if (index == head(sketch).pages || idAt(sketch, index) != page) {
      if (isBelowFull(sketch, key)) return addLow(sketch, times);
      sketch = insertPage(sketch, index, page);
    }
    head(sketch).last = index;
  }
  const at = pageAt(sketch, index) + (<usize>(key & (PAGE_BUCKETS - 1)) << 2);
  const known = load<u32>(at);
  if (known == 0 && (head(sketch).pages == 0 || highOf(sketch, key) == 0)) {
    if (isBelowFull(sketch, key)) return addLow(sketch, times);
    head(sketch).buckets++;
  }
  const sum = <u64>known + times;
  store<u32>(at, <u32>sum);
  if (sum >> 32) sketch = addHigh(sketch, key, sum >> 32);
  return head(sketch).buckets > MAX_BUCKETS ? collapse(sketch) : sketch;
}

/** Counts a bucket `times` (≥ 1) more where that is all there is to do: it is in use, and its count stays in 32 bits. */
@inline
export function sketchCount(sketch: usize, key: i32, times: u32): bool {
  const pages = head(sketch).pages;
  const page = i32x4.splat(key >> PAGE_BITS);
  for (let i: u32 = 0; i < pages; i += 4) {
    // What is read behind the ids are counts, in memory of the sketch; an index from `pages` on is none.
    const isPage = i32x4.bitmask(i32x4.eq(v128.load(sketch + HEAD_BYTES + (<usize>i << 2)), page));
    if (isPage == 0) continue;
    const index = i + ctz<u32>(isPage);
    if (index >= pages) return false;
    const at = pageAt(sketch, index) + (<usize>(key & (PAGE_BUCKETS - 1)) << 2);
    const known = load<u32>(at);
    const sum = known + times;
    if (known == 0 || sum < known) return false;
    store<u32>(at, sum);
    return true;
  }
  return false;
}

/** Where the page is, or would go. */
function findPage(sketch: usize, page: i32): u32 {
  let from: u32 = 0;
  let to = head(sketch).pages;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (idAt(sketch, middle) < page) from = middle + 1;
    else to = middle;
  }
  return from;
}

function insertPage(sketch: usize, index: u32, page: i32): usize {
  if (head(sketch).pages == head(sketch).capacity) sketch = grow(sketch);
  const pages = head(sketch).pages;
  const id = sketch + HEAD_BYTES + (<usize>index << 2);
  memory.copy(id + 4, id, <usize>(pages - index) << 2);
  store<i32>(id, page);
  const place = pageAt(sketch, index);
  memory.copy(place + PAGE_BYTES, place, <usize>(pages - index) * PAGE_BYTES);
  memory.fill(place, 0, PAGE_BYTES);
  head(sketch).pages = pages + 1;
  return sketch;
}

function grow(sketch: usize): usize {
  const capacity = head(sketch).capacity << 1;
  const pages = head(sketch).pages;
  const grown = heap.alloc(HEAD_BYTES + capacity * (4 + PAGE_BYTES));
  memory.copy(grown, sketch, HEAD_BYTES + (<usize>pages << 2));
  head(grown).capacity = capacity;
  memory.copy(pageAt(grown, 0), pageAt(sketch, 0), <usize>pages * PAGE_BYTES);
  countMemory(sketchBytes(grown) - sketchBytes(sketch));
  heap.free(sketch);
  return grown;
}

function removePage(sketch: usize, index: u32): void {
  const pages = head(sketch).pages - 1;
  const id = sketch + HEAD_BYTES + (<usize>index << 2);
  memory.copy(id, id + 4, <usize>(pages - index) << 2);
  const place = pageAt(sketch, index);
  memory.copy(place, place + PAGE_BYTES, <usize>(pages - index) * PAGE_BYTES);
  head(sketch).pages = pages;
  head(sketch).last = 0;
}

/** Whether so many buckets more can come into use without any being lost. */
@inline
export function hasRoomFor(sketch: usize, buckets: u32): bool {
  return head(sketch).buckets + buckets <= MAX_BUCKETS;
}

/** Whether all buckets are in use and the key is below them. */
@inline
function isBelowFull(sketch: usize, key: i32): bool {
  return head(sketch).buckets >= MAX_BUCKETS && key < lowestKey(sketch);
}

function lowestKey(sketch: usize): i32 {
  const page = idAt(sketch, 0);
  const at = pageAt(sketch, 0);
  for (let b: u32 = 0; b < PAGE_BUCKETS; b++) {
    const key = (page << PAGE_BITS) + <i32>b;
    if (load<u32>(at + (b << 2)) != 0 || highOf(sketch, key) != 0) return key;
  }
  return page << PAGE_BITS;
}

function addLow(sketch: usize, times: u64): usize {
  return sketchAdd(sketch, lowestKey(sketch), times);
}

/** The lowest bucket joins the one above it. */
function collapse(sketch: usize): usize {
  const key = lowestKey(sketch);
  const times = countOf(sketch, 0, key);
  store<u32>(pageAt(sketch, 0) + (<usize>(key & (PAGE_BUCKETS - 1)) << 2), 0);
  const high = highPage(sketch, key);
  if (high != 0) store<u32>(high, 0);
  head(sketch).buckets--;
  if (isPageEmpty(sketch)) removePage(sketch, 0);
  return addLow(sketch, times);
}

function isPageEmpty(sketch: usize): bool {
  const first = idAt(sketch, 0) << PAGE_BITS;
  for (let b: u32 = 0; b < PAGE_BUCKETS; b++) if (countOf(sketch, 0, first + <i32>b) != 0) return false;
  return true;
}

/** The address of the upper half of a count, or 0 when it has none. */
function highPage(sketch: usize, key: i32): usize {
  const pages = head(sketch).pages;
  if (pages == 0 || idAt(sketch, pages - 1) < HIGH_PLANE >> 1) return 0;
  const page = (key >> PAGE_BITS) + HIGH_PLANE;
  const index = findPage(sketch, page);
  if (index == pages || idAt(sketch, index) != page) return 0;
  return pageAt(sketch, index) + (<usize>(key & (PAGE_BUCKETS - 1)) << 2);
}

@inline
function highOf(sketch: usize, key: i32): u32 {
  const at = highPage(sketch, key);
  return at == 0 ? 0 : load<u32>(at);
}

function addHigh(sketch: usize, key: i32, times: u64): usize {
  if (highPage(sketch, key) == 0) {
    const page = (key >> PAGE_BITS) + HIGH_PLANE;
    sketch = insertPage(sketch, findPage(sketch, page), page);
  }
  const at = highPage(sketch, key);
  store<u32>(at, load<u32>(at) + <u32>times);
  return sketch;
}

@inline
function countOf(sketch: usize, index: u32, key: i32): u64 {
  const lower = load<u32>(pageAt(sketch, index) + (<usize>(key & (PAGE_BUCKETS - 1)) << 2));
  return <u64>lower | (<u64>highOf(sketch, key) << 32);
}

/** The value at rank ⌊q·(total − 1)⌋ of the `total` values counted (at least one), within 1 %. */
export function sketchQuantile(sketch: usize, q: f64, total: u64): f64 {
  const rank = <u64>(q * <f64>(total - 1));
  let below: u64 = 0;
  let key: i32 = 0;
  for (let p: u32 = 0; p < head(sketch).pages; p++) {
    const id = idAt(sketch, p);
    if (id >= HIGH_PLANE >> 1) break;
    for (let b: i32 = 0; b < <i32>PAGE_BUCKETS; b++) {
      const times = countOf(sketch, p, (id << PAGE_BITS) + b);
      if (times == 0) continue;
      key = (id << PAGE_BITS) + b;
      below += times;
      if (below > rank) return sketchValueOf(key);
    }
  }
  return sketchValueOf(key);
}

/** Adds all that another sketch counts, which stays as it is; returns the sketch, which may have moved. */
export function sketchAddAll(sketch: usize, other: usize): usize {
  const pages = head(other).pages;
  if (pages == 0) return sketch;
  const isPlain =
    head(sketch).buckets + head(other).buckets <= MAX_BUCKETS && !hasHighPages(sketch) && !hasHighPages(other);
  let at = isPlain ? findPage(sketch, idAt(other, 0)) : 0;
  for (let p: u32 = 0; p < pages; p++) {
    const id = idAt(other, p);
    if (id >= HIGH_PLANE >> 1) break;
    if (isPlain) {
      while (at < head(sketch).pages && idAt(sketch, at) < id) at++;
      if (at == head(sketch).pages || idAt(sketch, at) != id) sketch = insertPage(sketch, at, id);
      if (addPage(sketch, at, pageAt(other, p))) continue;
    }
    for (let b: i32 = 0; b < <i32>PAGE_BUCKETS; b++) {
      const key = (id << PAGE_BITS) + b;
      const times = countOf(other, p, key);
      if (times != 0) sketch = sketchAdd(sketch, key, times);
    }
  }
  return sketch;
}

@inline
function hasHighPages(sketch: usize): bool {
  const pages = head(sketch).pages;
  return pages != 0 && idAt(sketch, pages - 1) >= HIGH_PLANE >> 1;
}

/** Adds the counts of a page to one of the same keys; returns false, without a change, when one would pass 32 bits. */
function addPage(sketch: usize, index: u32, from: usize): bool {
  const to = pageAt(sketch, index);
  const zero = i32x4.splat(0);
  const a = v128.load(to);
  const b = v128.load(to, 16);
  const sumA = i32x4.add(a, v128.load(from));
  const sumB = i32x4.add(b, v128.load(from, 16));
  if (v128.any_true(v128.or(i32x4.lt_u(sumA, a), i32x4.lt_u(sumB, b)))) return false;
  // Lanes are -1 where a bucket comes into use.
  const news = i32x4.add(
    v128.and(i32x4.eq(a, zero), i32x4.ne(sumA, zero)),
    v128.and(i32x4.eq(b, zero), i32x4.ne(sumB, zero)),
  );
  const pairs = i32x4.add(news, i32x4.shuffle(news, news, 2, 3, 0, 1));
  head(sketch).buckets -= i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1);
  v128.store(to, sumA);
  v128.store(to, sumB, 16);
  return true;
}

/** Writes the buckets in ascending order: how many, then key (as a difference) and count each, as varints. */
export function sketchWrite(sketch: usize, out: ByteBuffer): void {
  writeVarint(out, head(sketch).buckets);
  let previous: i32 = 0;
  for (let p: u32 = 0; p < head(sketch).pages; p++) {
    const id = idAt(sketch, p);
    if (id >= HIGH_PLANE >> 1) return;
    for (let b: i32 = 0; b < <i32>PAGE_BUCKETS; b++) {
      const key = (id << PAGE_BITS) + b;
      const times = countOf(sketch, p, key);
      if (times == 0) continue;
      writeVarint(out, zigzag(key - previous));
      writeVarint(out, times);
      previous = key;
    }
  }
}

/** Adds the buckets that `sketchWrite` wrote; returns the sketch, and the address behind them in `varintEnd`. */
export function sketchAddWritten(sketch: usize, from: usize): usize {
  const buckets = <u32>readVarint(from);
  let key: i32 = 0;
  for (let i: u32 = 0; i < buckets; i++) {
    key += <i32>unzigzag(readVarint(varintEnd));
    sketch = sketchAdd(sketch, key, readVarint(varintEnd));
  }
  return sketch;
}

function sketchBytes(sketch: usize): i32 {
  return <i32>HEAD_BYTES + head(sketch).capacity * (4 + PAGE_BYTES);
}
