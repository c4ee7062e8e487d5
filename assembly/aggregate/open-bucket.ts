import {
  isSketchFull,
  sketchAdd,
  sketchAddAll,
  sketchAddWritten,
  sketchCount,
  sketchCreate,
  sketchQuantile,
  sketchWrite,
} from "./sketch";
import { ByteBuffer } from "../memory/bytes";

/**
 * What a record has of a sketch: its address, and beside it one bucket of it, which is open: values that fall into it are
 * counted here. A device's values mostly fall where the one before did, so most of them need nothing outside the record, and
 * a group whose values are all in one bucket has no sketch at all.
 *
 * Invariant: together they are the sketch that the values make, whatever their order. So a bucket is only opened while the
 * sketch has room for it, and all else that is added settles the open one before.
 */
@unmanaged
export class OpenBucket {
  /** Address, or 0 when there is none. */
  sketch: u32;
  key: i32;
  /** 0: no bucket is open. */
  times: u32;
}

export const OPEN_BUCKET_BYTES: u32 = offsetof<OpenBucket>();

/** Counts a bucket once more. */
@inline
export function countBucket(place: OpenBucket, key: i32): void {
  // Of 0 times and of the most that fit others take care.
  if (place.key == key && place.times + 1 >= 2) place.times++;
  else openBucket(place, key, 1);
}

function openBucket(place: OpenBucket, key: i32, times: u32): void {
  const sketch = settle(place);
  if (sketch != 0 && isSketchFull(sketch)) {
    place.sketch = <u32>sketchAdd(sketch, key, times);
    return;
  }
  place.key = key;
  place.times = times;
}

/** Puts the open bucket into the sketch; returns that, or 0 when nothing was ever counted. */
function settle(place: OpenBucket): usize {
  let sketch: usize = place.sketch;
  const times = place.times;
  if (times == 0) return sketch;
  place.times = 0;
  if (sketch == 0) sketch = sketchCreate();
  else if (times == 1 && sketchCount(sketch, place.key)) return sketch;
  sketch = sketchAdd(sketch, place.key, times);
  place.sketch = <u32>sketch;
  return sketch;
}

@inline
function settled(place: OpenBucket): usize {
  const sketch = settle(place);
  return sketch == 0 ? sketchCreate() : sketch;
}

/** Adds all that another one counts, which stays as it is. */
export function addBuckets(place: OpenBucket, other: OpenBucket): void {
  if (other.sketch != 0) place.sketch = <u32>sketchAddAll(settled(place), other.sketch);
  if (other.times != 0) openBucket(place, other.key, other.times);
}

/** Adds what `writeBuckets` wrote; the address behind it is in `varintEnd`. */
export function addWrittenBuckets(place: OpenBucket, from: usize): void {
  place.sketch = <u32>sketchAddWritten(settled(place), from);
}

export function writeBuckets(place: OpenBucket, out: ByteBuffer): void {
  sketchWrite(place.sketch, place.key, place.times, out);
}

/** As `sketchQuantile`. */
export function bucketsQuantile(place: OpenBucket, q: f64, total: u64): f64 {
  return sketchQuantile(place.sketch, place.key, place.times, q, total);
}
