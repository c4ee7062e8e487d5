const INSERTION_LIMIT: u32 = 48;
const counts = memory.data(256 * 4, 4);

/** Sorts n numbers (u32 at `items`) in ascending order: by insertion when they are few, else by their bytes (radix). */
export function sortWords(items: usize, n: u32): void {
  if (n <= INSERTION_LIMIT) {
    insertionSort(items, n);
    return;
  }
  const scratch = heap.alloc(<usize>n << 2);
  // Four passes: the result is back in its place.
  for (let shift: u32 = 0; shift < 32; shift += 16) {
    pass(items, scratch, n, shift);
    pass(scratch, items, n, shift + 8);
  }
  heap.free(scratch);
}

function insertionSort(items: usize, n: u32): void {
  for (let i: u32 = 1; i < n; i++) {
    const word = load<u32>(items + (<usize>i << 2));
    let at = items + (<usize>i << 2);
    for (; at > items && load<u32>(at - 4) > word; at -= 4) store<u32>(at, load<u32>(at - 4));
    store<u32>(at, word);
  }
}

function pass(from: usize, to: usize, n: u32, shift: u32): void {
  memory.fill(counts, 0, 256 * 4);
  for (let i: u32 = 0; i < n; i++) {
    const place = counts + (<usize>((load<u32>(from + (<usize>i << 2)) >> shift) & 255) << 2);
    store<u32>(place, load<u32>(place) + 1);
  }
  let sum: u32 = 0;
  for (let byte: usize = 0; byte < 256; byte++) {
    const count = load<u32>(counts + (byte << 2));
    store<u32>(counts + (byte << 2), sum);
    sum += count;
  }
  for (let i: u32 = 0; i < n; i++) {
    const word = load<u32>(from + (<usize>i << 2));
    const place = counts + (<usize>((word >> shift) & 255) << 2);
    const at = load<u32>(place);
    store<u32>(place, at + 1);
    store<u32>(to + (<usize>at << 2), word);
  }
}
