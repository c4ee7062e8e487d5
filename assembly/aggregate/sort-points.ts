import { ByteBuffer } from "../memory/bytes";
import { isPointAfter, POINT_BYTES } from "./points";

const scratch = ByteBuffer.create(1024);

/** Sorts n points by (time, value): runs of growing width are merged. O(n log n). */
export function sortPoints(points: usize, n: u32): void {
  scratch.reset();
  const spare = scratch.reserve(n * POINT_BYTES);
  const end = points + <usize>n * POINT_BYTES;
  for (let width: usize = POINT_BYTES; width < end - points; width <<= 1) {
    let to = spare;
    for (let from = points; from < end; from += width << 1) {
      let left = from;
      const middle = min(from + width, end);
      let right = middle;
      const stop = min(from + (width << 1), end);
      while (left < middle || right < stop) {
        const takesLeft = left < middle && (right >= stop || !isPointAfter(left, right));
        v128.store(to, v128.load(takesLeft ? left : right));
        if (takesLeft) left += POINT_BYTES;
        else right += POINT_BYTES;
        to += POINT_BYTES;
      }
    }
    memory.copy(points, spare, <usize>n * POINT_BYTES);
  }
}
