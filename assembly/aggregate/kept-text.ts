import { ByteBuffer } from "../memory/bytes";
import { isBytesAfter } from "../state/sort";
import { readVarint, varintEnd, writeVarint } from "../state/varint";
import { boxText } from "./box";
import { countMemory } from "./memory";
import { cutText } from "./value";

/**
 * first, last, min and max of texts: one text each, with its time. Exact, of texts cut to 4,096 bytes; the order is that of
 * UTF-8 bytes, which is that of code points. Among equal times first takes the smallest text and last the greatest, so that
 * the arrival order does not matter. Memory: 16 bytes and the text.
 *
 * A place is a u32 that holds the address of the kept text, or 0.
 */
@unmanaged
class KeptText {
  time: i64;
  capacity: u32;
  /** ABSENT when there is no text, and only the memory is kept. */
  length: u32;
}

const HEAD_BYTES: u32 = offsetof<KeptText>();
const ABSENT: u32 = 0xffffffff;
const MIN_CAPACITY: u32 = 16;
/** Bytes of a text that are kept: the memory of a key and window is bounded, whatever a device sends. */
const MAX_TEXT: u32 = 4096;

@inline
function at(place: usize): KeptText {
  return changetype<KeptText>(<usize>load<u32>(place));
}

@inline
export function hasText(place: usize): bool {
  return load<u32>(place) != 0 && at(place).length != ABSENT;
}

@inline
export function textTime(place: usize): i64 {
  return at(place).time;
}

@inline
function bytesAt(place: usize): usize {
  return <usize>load<u32>(place) + HEAD_BYTES;
}

export function keepFirstText(place: usize, time: i64, text: usize, length: u32): void {
  length = cutText(text, length, MAX_TEXT);
  if (hasText(place)) {
    const known = at(place);
    if (time > known.time) return;
    if (time == known.time && !isBytesAfter(bytesAt(place), known.length, text, length)) return;
  }
  set(place, time, text, length);
}

export function keepLastText(place: usize, time: i64, text: usize, length: u32): void {
  length = cutText(text, length, MAX_TEXT);
  if (hasText(place)) {
    const known = at(place);
    if (time < known.time) return;
    if (time == known.time && !isBytesAfter(text, length, bytesAt(place), known.length)) return;
  }
  set(place, time, text, length);
}

export function keepMinText(place: usize, text: usize, length: u32): void {
  length = cutText(text, length, MAX_TEXT);
  if (hasText(place) && !isBytesAfter(bytesAt(place), at(place).length, text, length)) return;
  set(place, 0, text, length);
}

export function keepMaxText(place: usize, text: usize, length: u32): void {
  length = cutText(text, length, MAX_TEXT);
  if (hasText(place) && !isBytesAfter(text, length, bytesAt(place), at(place).length)) return;
  set(place, 0, text, length);
}

function set(place: usize, time: i64, text: usize, length: u32): void {
  let kept: usize = load<u32>(place);
  if (kept == 0 || changetype<KeptText>(kept).capacity < length) {
    disposeText(place);
    const capacity = max(length, MIN_CAPACITY);
    kept = heap.alloc(HEAD_BYTES + capacity);
    changetype<KeptText>(kept).capacity = capacity;
    countMemory(<i32>(HEAD_BYTES + capacity));
    store<u32>(place, <u32>kept);
  }
  changetype<KeptText>(kept).time = time;
  changetype<KeptText>(kept).length = length;
  memory.copy(kept + HEAD_BYTES, text, length);
}

/** Forgets the text and keeps the memory. */
export function resetText(place: usize): void {
  if (load<u32>(place) != 0) at(place).length = ABSENT;
}

export function disposeText(place: usize): void {
  const kept: usize = load<u32>(place);
  if (kept == 0) return;
  countMemory(-<i32>(HEAD_BYTES + changetype<KeptText>(kept).capacity));
  heap.free(kept);
  store<u32>(place, 0);
}

/** The text as a result; null when there is none. */
export function textResult(place: usize): f64 {
  return hasText(place) ? boxText(bytesAt(place), at(place).length) : NaN;
}

export function writeText(out: ByteBuffer, place: usize): void {
  out.u64(<u64>at(place).time);
  writeVarint(out, at(place).length);
  out.append(bytesAt(place), at(place).length);
}

/** What `readText` read: AssemblyScript returns one value. */
export let readTime: i64 = 0;
export let readBytes: usize = 0;
export let readLength: u32 = 0;

/** Reads what `writeText` wrote; returns the address behind it. */
export function readText(from: usize): usize {
  readTime = load<i64>(from);
  readLength = <u32>readVarint(from + 8);
  readBytes = varintEnd;
  return varintEnd + readLength;
}
