import { ByteBuffer } from "../memory/bytes";
import { decodeBitmap, encodeBitmap } from "./bitmap";
import { decodeIntegers, encodeIntegers } from "./integers";
import { Failure, fail, failure, readU8 } from "./reader";
import { Scratch, scratch } from "./scratch";

/**
 * The rows' text ids. Devices that report in turns follow one another in the same order again and again: then an id
 * is predicted to be the one that followed its predecessor the last time, or, when there was none, the first id not
 * yet seen. A bitmap says which predictions hold, and only the other ids are written.
 */
const enum IdMode {
  Plain = 0,
  Predicted = 1,
}
const NONE: u32 = u32.MAX_VALUE;
/** A missed prediction in the bitmap, in bits, when there are few. */
const MISS_BITS: u64 = 8;
const HEAD_BITS: u64 = 128;
/** Prediction is slower, so it must save an eighth. */
const PREDICTED_GAIN: u64 = 7;

/** Misses of the last `predict`. */
let misses: u32 = 0;

/** About how many bits `encodeIds` takes. Call it before `encodeIds`, which relies on its findings. */
export function estimateIds(ids: usize, count: u32, used: u32): u64 {
  predict(ids, count, used);
  return min(plainBits(count, used), predictedBits(count, used));
}

@inline
function plainBits(count: u32, used: u32): u64 {
  return <u64>count * (32 - clz<u32>(used - 1));
}

@inline
function predictedBits(count: u32, used: u32): u64 {
  return min<u64>(count, misses * MISS_BITS) + <u64>misses * (32 - clz<u32>(used - 1)) + HEAD_BITS;
}

/** Appends `count` ids below `used`, given as i64; `estimateIds` was called for them. */
export function encodeIds(ids: usize, count: u32, used: u32, out: ByteBuffer): void {
  if (predictedBits(count, used) << 3 >= plainBits(count, used) * PREDICTED_GAIN) {
    out.u8(<u8>IdMode.Plain);
    return encodeIntegers(ids, count, out);
  }
  out.u8(<u8>IdMode.Predicted);
  encodeBitmap(scratch(Scratch.Hits, 0), count, count - misses, out);
  encodeIntegers(scratch(Scratch.Missed, 0), misses, out);
}

/** Writes each row's hit as a byte, and the ids missed. */
function predict(ids: usize, count: u32, used: u32): void {
  const hits = scratch(Scratch.Hits, count);
  const missed = scratch(Scratch.Missed, (<usize>count + 1) << 3);
  const followers = scratch(Scratch.Followers, (<usize>used + 1) << 2);
  memory.fill(followers, 0xff, (<usize>used + 1) << 2);
  let before = used;
  let unseen: u32 = 0;
  let found: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const id = load<u32>(ids + (<usize>i << 3));
    const at = followers + (<usize>before << 2);
    const follower = load<u32>(at);
    const predicted = follower == NONE ? unseen : follower;
    const isHit = id == predicted;
    store<u8>(hits + i, <u8>isHit);
    store<u64>(missed + (<usize>found << 3), id);
    found += <u32>!isHit;
    store<u32>(at, id);
    unseen += <u32>(id == unseen);
    before = id;
  }
  misses = found;
}

/** Reads `count` ids below `used` to `target`, as i64. */
export function decodeIds(count: u32, used: u32, target: usize): void {
  const mode = readU8();
  if (mode == IdMode.Predicted) decodePredicted(count, used, target);
  else if (mode == IdMode.Plain) decodeIntegers(count, target);
  else fail(Failure.Corrupt);
  if (failure != Failure.None) return;
  for (let at = target, end = target + (<usize>count << 3); at < end; at += 8) {
    if (load<u64>(at) >= used) return fail(Failure.Corrupt);
  }
}

function decodePredicted(count: u32, used: u32, target: usize): void {
  const hits = scratch(Scratch.Hits, count);
  const hit = decodeBitmap(count, hits);
  if (failure != Failure.None) return;
  let missed = scratch(Scratch.Missed, (<usize>count + 1) << 3);
  decodeIntegers(count - hit, missed);
  if (failure != Failure.None) return;
  const followers = scratch(Scratch.Followers, (<usize>used + 1) << 2);
  memory.fill(followers, 0xff, (<usize>used + 1) << 2);
  let before = used;
  let unseen: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const at = followers + (<usize>before << 2);
    let id = load<u32>(at);
    if (load<u8>(hits + i) == 0) {
      const given = load<u64>(missed);
      missed += 8;
      if (given >= used) return fail(Failure.Corrupt);
      id = <u32>given;
    } else if (id == NONE) {
      if (unseen >= used) return fail(Failure.Corrupt);
      id = unseen;
    }
    store<u32>(at, id);
    unseen += <u32>(id == unseen);
    before = id;
    store<u64>(target + (<usize>i << 3), id);
  }
}
