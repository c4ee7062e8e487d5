import { ByteBuffer } from "../memory/bytes";
import { readVarint, varintEnd, writeVarint } from "../state/varint";
import { BoxKind, boxes, boxOf } from "./box";
import { countMemory } from "./memory";

/**
 * Counts by fixed bounds b₁ < b₂ < … < bₙ: n + 1 of them, of the numbers below b₁, in [b₁, b₂) …, and from bₙ on. Exact. A
 * sum of counts, so merging is exact and order does not matter. Memory: 8 bytes a count, 257 counts at most.
 *
 * Form: the explicit bucket boundaries of OpenTelemetry's histograms, but with lower bounds inclusive, as windows have.
 */
export function histogramCreate(boundCount: u32): usize {
  const counts = heap.alloc((<usize>boundCount + 1) << 3);
  countMemory(<i32>((boundCount + 1) << 3));
  histogramReset(counts, boundCount);
  return counts;
}

export function histogramDispose(counts: usize, boundCount: u32): void {
  countMemory(-<i32>((boundCount + 1) << 3));
  heap.free(counts);
}

export function histogramReset(counts: usize, boundCount: u32): void {
  memory.fill(counts, 0, (<usize>boundCount + 1) << 3);
}

/** Counts n finite numbers. Cost: a binary search each. */
export function histogramAdd(counts: usize, bounds: usize, boundCount: u32, values: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    const value = load<f64>(values + (<usize>i << 3));
    let from: u32 = 0;
    let to = boundCount;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (load<f64>(bounds + (<usize>middle << 3)) <= value) from = middle + 1;
      else to = middle;
    }
    const place = counts + (<usize>from << 3);
    store<u64>(place, load<u64>(place) + 1);
  }
}

/** The counts as a result; all are 0 where `counts` is none (0). */
export function histogramResult(counts: usize, boundCount: u32): f64 {
  const at = boxes.length;
  boxes.u32(boundCount + 1);
  for (let i: u32 = 0; i <= boundCount; i++) boxes.u64(counts == 0 ? 0 : load<u64>(counts + (<usize>i << 3)));
  return boxOf(BoxKind.Counts, at);
}

export function isHistogramEmpty(counts: usize, boundCount: u32): bool {
  for (let i: u32 = 0; i <= boundCount; i++) if (load<u64>(counts + (<usize>i << 3)) != 0) return false;
  return true;
}

export function histogramWrite(out: ByteBuffer, counts: usize, boundCount: u32): void {
  for (let i: u32 = 0; i <= boundCount; i++) writeVarint(out, load<u64>(counts + (<usize>i << 3)));
}

/** Adds what `histogramWrite` wrote; returns the address behind it. */
export function histogramAddWritten(counts: usize, boundCount: u32, at: usize): usize {
  for (let i: u32 = 0; i <= boundCount; i++) {
    const place = counts + (<usize>i << 3);
    store<u64>(place, load<u64>(place) + readVarint(at));
    at = varintEnd;
  }
  return at;
}
