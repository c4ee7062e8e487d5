/**
 * Sorts n numbers (u32 at `items`) so that `isAfter(a, b)` is never true of neighbours a, b. Stable; O(n log n).
 * `context` is handed to `isAfter`.
 */
export function sortNumbers(items: usize, n: u32, context: usize, isAfter: (context: usize, a: u32, b: u32) => bool): void {
  const scratch = heap.alloc((<usize>n << 2) + 1);
  for (let width: u32 = 1; width < n; width <<= 1) {
    for (let from: u32 = 0; from < n; from += width << 1) {
      const middle = min(from + width, n);
      const to = min(from + (width << 1), n);
      let left = from;
      let right = middle;
      for (let at = from; at < to; at++) {
        const takesLeft =
          left < middle && (right >= to || !isAfter(context, number(items, left), number(items, right)));
        store<u32>(scratch + (<usize>at << 2), takesLeft ? number(items, left++) : number(items, right++));
      }
    }
    memory.copy(items, scratch, <usize>n << 2);
  }
  heap.free(scratch);
}

@inline
function number(items: usize, index: u32): u32 {
  return load<u32>(items + (<usize>index << 2));
}

/** Whether bytes a are after bytes b in the order of bytes. */
export function isBytesAfter(a: usize, aLength: u32, b: usize, bLength: u32): bool {
  const order = memory.compare(a, b, min(aLength, bLength));
  return order != 0 ? order > 0 : aLength > bLength;
}
