/** Row numbers that are sorted here, n of them at once. */
let scratch: usize = 0;
let scratchRows: u32 = 0;

/** Sorts n row numbers (u32 at `rows`) by the rows' times (i64 by row). Stable; a look at each when they are in order. */
export function sortRowsByTime(rows: usize, n: u32, times: usize): void {
  let sorted: u32 = 1;
  while (sorted < n && timeOf(rows, sorted, times) >= timeOf(rows, sorted - 1, times)) sorted++;
  if (sorted >= n) return;
  if (n > scratchRows) {
    if (scratch != 0) heap.free(scratch);
    scratch = heap.alloc(<usize>n << 2);
    scratchRows = n;
  }
  for (let width: u32 = 1; width < n; width <<= 1) {
    for (let from: u32 = 0; from + width < n; from += width << 1) {
      merge(rows, from, from + width, min(from + (width << 1), n), times);
    }
  }
}

/** Merges two neighbouring sorted stretches. */
function merge(rows: usize, from: u32, middle: u32, to: u32, times: usize): void {
  if (timeOf(rows, middle, times) >= timeOf(rows, middle - 1, times)) return;
  const left = middle - from;
  memory.copy(scratch, rows + (<usize>from << 2), <usize>left << 2);
  let i: u32 = 0;
  let j = middle;
  for (let at = from; i < left; at++) {
    const takesLeft = j >= to || timeOf(scratch, i, times) <= timeOf(rows, j, times);
    store<u32>(rows + (<usize>at << 2), takesLeft ? rowAt(scratch, i++) : rowAt(rows, j++));
  }
}

@inline
function rowAt(rows: usize, index: u32): u32 {
  return load<u32>(rows + (<usize>index << 2));
}

@inline
function timeOf(rows: usize, index: u32, times: usize): i64 {
  return load<i64>(times + (<usize>rowAt(rows, index) << 3));
}
