import { ByteBuffer } from "../memory/bytes";
import { endVarintAt, readVarint, varintEnd, writeVarint } from "../state/varint";
import { countMemory } from "./memory";
import { sortPoints } from "./sort-points";

/**
 * Numbers with their times, for what depends on their order in time: rate, twa, integral.
 *
 * Points stand in the order of (time, value). Time is cut into buckets of 2^level µs, aligned to the epoch; of each bucket
 * the first, the last, the least and the greatest point are kept (among equals the earliest). The level is the smallest
 * at which at most 4,096 buckets have points. It begins at 0, where a bucket is one instant: so up to 4,096 different
 * times nothing is lost but what is between the least and the greatest value of one instant. Beyond, the curve between
 * the kept points stands for all of them: within a bucket it stays between the bucket's least and greatest value.
 *
 * Source: U. Jugel, Z. Jerzak, G. Hackenbroich, V. Markl, "M4: a visualization-oriented time series data aggregation",
 * PVLDB 7 (2014). Each of the four is a minimum under an order of points, buckets of one level are unions of those of the
 * level below, and more points never lower the level: so what is kept depends on the set of points alone, merging is
 * exact, and order does not matter.
 *
 * Memory: 16 bytes a point; at most 4 · 4,096 points, 256 KiB.
 */
const MAX_BUCKETS: u32 = 4096;
const FIRST_CAPACITY: u32 = 2;
export const POINT_BYTES: u32 = 16;

@unmanaged
class PointsHead {
  count: u32;
  capacity: u32;
  buckets: u32;
  level: u32;
}

const HEAD_BYTES: u32 = offsetof<PointsHead>();
/** New points, sorted; and the end of the known ones merged with them. */
const fresh = ByteBuffer.create(1024);
const merged = ByteBuffer.create(1024);

@inline
function head(points: usize): PointsHead {
  return changetype<PointsHead>(points);
}

@inline
export function pointCount(points: usize): u32 {
  return head(points).count;
}

/** Where the points begin. */
@inline
export function firstPoint(points: usize): usize {
  return points + HEAD_BYTES;
}

@inline
export function timeAt(point: usize): i64 {
  return load<i64>(point);
}

@inline
export function valueAt(point: usize): f64 {
  return load<f64>(point, 8);
}

function allocate(capacity: u32): usize {
  const bytes = HEAD_BYTES + capacity * POINT_BYTES;
  const points = heap.alloc(bytes);
  head(points).capacity = capacity;
  countMemory(<i32>bytes);
  return points;
}

export function pointsCreate(): usize {
  const points = allocate(FIRST_CAPACITY);
  pointsReset(points);
  return points;
}

export function pointsDispose(points: usize): void {
  countMemory(-<i32>(HEAD_BYTES + head(points).capacity * POINT_BYTES));
  heap.free(points);
}

export function pointsReset(points: usize): void {
  head(points).count = 0;
  head(points).buckets = 0;
  head(points).level = 0;
}

/** Takes in n finite numbers with their times (i64); returns the points, which may have moved. */
export function pointsAdd(points: usize, values: usize, times: usize, n: u32): usize {
  fresh.reset();
  const to = fresh.reserve(n * POINT_BYTES);
  let isSorted = true;
  for (let i: u32 = 0; i < n; i++) {
    const point = to + <usize>i * POINT_BYTES;
    store<i64>(point, load<i64>(times + (<usize>i << 3)));
    store<f64>(point, load<f64>(values + (<usize>i << 3)), 8);
    if (i > 0 && isPointAfter(point - POINT_BYTES, point)) isSorted = false;
  }
  if (!isSorted) sortPoints(to, n);
  return addSorted(points, to, n);
}

@inline
export function isPointAfter(a: usize, b: usize): bool {
  const timeA = timeAt(a);
  const timeB = timeAt(b);
  return timeA > timeB || (timeA == timeB && valueAt(a) > valueAt(b));
}

/** Cost: the known points from the first new one's bucket on. */
function addSorted(points: usize, from: usize, n: u32): usize {
  if (n == 0) return points;
  const level = head(points).level;
  const firstBucket = timeAt(from) >> level;
  const known = head(points).count;
  // Back to where the new points begin; that many buckets are made anew.
  let keep = known;
  let buckets = head(points).buckets;
  let bucket: i64 = i64.MIN_VALUE;
  while (keep > 0) {
    const before = timeAt(pointAt(points, keep - 1)) >> level;
    if (before < firstBucket) break;
    if (keep == known || before != bucket) buckets--;
    bucket = before;
    keep--;
  }
  const total = mergeRuns(pointAt(points, keep), known - keep, from, n);
  points = ensure(points, keep + total);
  const to = pointAt(points, keep);
  memory.copy(to, merged.data, total * POINT_BYTES);
  head(points).count = keep + reduce(to, total, level);
  head(points).buckets = buckets + reducedBuckets;
  return head(points).buckets > MAX_BUCKETS ? coarsen(points, level + 1) : points;
}

@inline
function pointAt(points: usize, index: u32): usize {
  return points + HEAD_BYTES + <usize>index * POINT_BYTES;
}

/** Merges two sorted runs into `merged`; returns how many points there are. */
function mergeRuns(a: usize, aCount: u32, b: usize, bCount: u32): u32 {
  const total = aCount + bCount;
  merged.reset();
  let to = merged.reserve(total * POINT_BYTES);
  const aEnd = a + <usize>aCount * POINT_BYTES;
  const bEnd = b + <usize>bCount * POINT_BYTES;
  while (a < aEnd && b < bEnd) {
    if (isPointAfter(a, b)) {
      v128.store(to, v128.load(b));
      b += POINT_BYTES;
    } else {
      v128.store(to, v128.load(a));
      a += POINT_BYTES;
    }
    to += POINT_BYTES;
  }
  memory.copy(to, a, aEnd - a);
  memory.copy(to + (aEnd - a), b, bEnd - b);
  return total;
}

function ensure(points: usize, count: u32): usize {
  if (count <= head(points).capacity) return points;
  let capacity = head(points).capacity;
  while (capacity < count) capacity <<= 1;
  const grown = allocate(capacity);
  const known = head(points).count;
  head(grown).count = known;
  head(grown).buckets = head(points).buckets;
  head(grown).level = head(points).level;
  memory.copy(grown + HEAD_BYTES, points + HEAD_BYTES, known * POINT_BYTES);
  pointsDispose(points);
  return grown;
}

/** How many buckets the last `reduce` found: AssemblyScript returns one value. */
let reducedBuckets: u32 = 0;

/** Keeps of each bucket's points, sorted at `at`, the four that matter; returns how many are left. */
function reduce(at: usize, n: u32, level: u32): u32 {
  const end = at + <usize>n * POINT_BYTES;
  let to = at;
  reducedBuckets = 0;
  for (let from = at; from < end; ) {
    const bucket = timeAt(from) >> level;
    let least = from;
    let greatest = from;
    let next = from + POINT_BYTES;
    for (; next < end && timeAt(next) >> level == bucket; next += POINT_BYTES) {
      if (valueAt(next) < valueAt(least)) least = next;
      if (valueAt(next) > valueAt(greatest)) greatest = next;
    }
    // In ascending order, so that no point is written over before it is read.
    const start = to;
    to = keepPoint(start, to, from);
    to = keepPoint(start, to, min(least, greatest));
    to = keepPoint(start, to, max(least, greatest));
    to = keepPoint(start, to, next - POINT_BYTES);
    reducedBuckets++;
    from = next;
  }
  return <u32>((to - at) / POINT_BYTES);
}

/** Writes a point unless it equals the one before it in its bucket. */
@inline
function keepPoint(start: usize, to: usize, point: usize): usize {
  if (to > start && timeAt(to - POINT_BYTES) == timeAt(point) && valueAt(to - POINT_BYTES) == valueAt(point)) return to;
  v128.store(to, v128.load(point));
  return to + POINT_BYTES;
}

/** Goes up to a level, and on while there are too many buckets. */
function coarsen(points: usize, level: u32): usize {
  while (true) {
    head(points).level = level;
    head(points).count = reduce(firstPoint(points), head(points).count, level);
    head(points).buckets = reducedBuckets;
    if (reducedBuckets <= MAX_BUCKETS) return points;
    level++;
  }
}

/** level, points, then each: time (as the difference to the one before), value f64. */
export function pointsWrite(out: ByteBuffer, points: usize): void {
  writeVarint(out, head(points).level);
  const n = head(points).count;
  writeVarint(out, n);
  let before: i64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const point = pointAt(points, i);
    if (i == 0) out.u64(<u64>timeAt(point));
    else writeVarint(out, <u64>(timeAt(point) - before));
    before = timeAt(point);
    out.f64(valueAt(point));
  }
}

/** Merges what `pointsWrite` wrote; returns the points, and the address behind it in `varintEnd`. */
export function pointsAddWritten(points: usize, at: usize): usize {
  const level = <u32>readVarint(at);
  const n = <u32>readVarint(varintEnd);
  at = varintEnd;
  // The level would rise to this by itself, step by step: first and last points keep both halves of a bucket in use.
  if (level > head(points).level) points = coarsen(points, level);
  fresh.reset();
  const to = fresh.reserve(n * POINT_BYTES);
  let time: i64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    if (i == 0) {
      time = load<i64>(at);
      at += 8;
    } else {
      time += <i64>readVarint(at);
      at = varintEnd;
    }
    store<i64>(to + <usize>i * POINT_BYTES, time);
    store<f64>(to + <usize>i * POINT_BYTES, load<f64>(at), 8);
    at += 8;
  }
  points = addSorted(points, to, n);
  endVarintAt(at);
  return points;
}
