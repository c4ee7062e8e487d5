import { ByteBuffer } from "../memory/bytes";
import { countMemory, outsideBytes } from "./memory";
import {
  hasRoomFor,
  sketchAdd,
  sketchAddAll,
  sketchAddWritten,
  sketchCount,
  sketchCreate,
  sketchQuantile,
  sketchReset,
  sketchValueOf,
  sketchWrite,
} from "./sketch";

/**
 * What a record has of a sketch: its address, and beside it two buckets that are open: values that fall into these are counted
 * here. A device's values mostly fall where those before did, or next to it, so most of them need nothing outside the
 * record, and a group whose values are all in two buckets has no sketch at all.
 *
 * Invariant: together they are the sketch that the values make, whatever their order. So a bucket is only opened while the
 * sketch has room for both, and all else that is added to the sketch comes after the open ones. Those differ; one that was counted 0
 * times is not open, and the first is open when the second is.
 */
@unmanaged
export class OpenBuckets {
  /** Address, or 0 when there is none. */
  sketch: u32;
  key: i32;
  times: u32;
  secondKey: i32;
  secondTimes: u32;
}

export const OPEN_BUCKETS_BYTES: u32 = offsetof<OpenBuckets>();
const BUCKET_BYTES: usize = 8;

/** Counts a bucket once more. */
@inline
export function countBucket(place: OpenBuckets, key: i32): void {
  const at = changetype<usize>(place) + (place.key == key ? 0 : BUCKET_BYTES);
  const times = load<u32>(at, offsetof<OpenBuckets>("times"));
  // Of 0 times and of the most that fit others take care.
  if (load<i32>(at, offsetof<OpenBuckets>("key")) == key && times + 1 >= 2) {
    store<u32>(at, times + 1, offsetof<OpenBuckets>("times"));
  } else openBucket(place, key);
}

/** Counts a bucket, which becomes the first, and the first the second; what was counted in that goes to the sketch. */
function openBucket(place: OpenBuckets, key: i32): void {
  if (sketchTakesSecond(place)) {
    place.secondKey = place.key;
    place.secondTimes = place.times;
    place.key = key;
    place.times = 1;
    return;
  }
  const isFirst = place.key == key && place.times != 0;
  if (isFirst || (place.secondKey == key && place.secondTimes != 0)) settle(place);
  const sketch: usize = place.sketch;
  if (sketch != 0 && !hasRoomFor(sketch, 3)) {
    place.sketch = <u32>sketchAdd(settle(place), key, 1);
    return;
  }
  if (place.secondTimes != 0) {
    place.sketch = <u32>sketchAdd(sketch == 0 ? sketchCreate() : sketch, place.secondKey, place.secondTimes);
  }
  place.secondKey = place.key;
  place.secondTimes = place.times;
  place.key = key;
  place.times = 1;
}

/**
 * Counts the second bucket in the sketch where that has it already, and has room for two more; else, or where a bucket is
 * counted so often that no more fits, changes nothing. The most there is to do for values that never stay where they were.
 */
@inline
function sketchTakesSecond(place: OpenBuckets): bool {
  const sketch: usize = place.sketch;
  if (sketch == 0 || place.secondTimes == 0 || place.secondTimes == u32.MAX_VALUE || place.times == u32.MAX_VALUE) {
    return false;
  }
  return hasRoomFor(sketch, 3) && sketchCount(sketch, place.secondKey, place.secondTimes);
}

/** Puts the open buckets into the sketch; returns that, or 0 when nothing was ever counted. */
function settle(place: OpenBuckets): usize {
  if (place.times == 0) return place.sketch;
  const sketch: usize = place.sketch == 0 ? sketchCreate() : place.sketch;
  place.sketch = <u32>addOpen(sketch, place);
  place.times = 0;
  place.secondTimes = 0;
  return place.sketch;
}

function addOpen(sketch: usize, place: OpenBuckets): usize {
  if (place.times != 0) sketch = sketchAdd(sketch, place.key, place.times);
  if (place.secondTimes != 0) sketch = sketchAdd(sketch, place.secondKey, place.secondTimes);
  return sketch;
}

@inline
function settled(place: OpenBuckets): usize {
  const sketch = settle(place);
  return sketch == 0 ? sketchCreate() : sketch;
}

/** Adds all that another one counts, which stays as it is. */
export function addBuckets(place: OpenBuckets, other: OpenBuckets): void {
  if (other.sketch == 0 && other.times == 0) return;
  let sketch = settled(place);
  if (other.sketch != 0) sketch = sketchAddAll(sketch, other.sketch);
  place.sketch = <u32>addOpen(sketch, other);
}

/** Adds what `writeBuckets` wrote; the address behind it is in `varintEnd`. */
export function addWrittenBuckets(place: OpenBuckets, from: usize): void {
  place.sketch = <u32>sketchAddWritten(settled(place), from);
}

export function writeBuckets(place: OpenBuckets, out: ByteBuffer): void {
  sketchWrite(wholeOf(place), out);
}

/** As `sketchQuantile`. */
export function bucketsQuantile(place: OpenBuckets, q: f64, total: u64): f64 {
  if (place.sketch == 0 && place.secondTimes == 0) return sketchValueOf(place.key);
  return sketchQuantile(wholeOf(place), q, total);
}

/** A sketch for `wholeOf`. */
let scratch: usize = 0;

/** The sketch with its open buckets, until the next call; the record stays as it is. */
function wholeOf(place: OpenBuckets): usize {
  if (place.times == 0 && place.sketch != 0) return place.sketch;
  // Of no windows' memory.
  const before = outsideBytes;
  if (scratch == 0) scratch = sketchCreate();
  sketchReset(scratch);
  if (place.sketch != 0) scratch = sketchAddAll(scratch, place.sketch);
  scratch = addOpen(scratch, place);
  countMemory(<i32>(before - outsideBytes));
  return scratch;
}
