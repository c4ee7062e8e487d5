import { countMemory } from "../../aggregate/memory";
import { Fragment } from "./fragment";
import { Waiting } from "./waiting";

/** No time: before every event, or of nothing. */
export const NEVER: i64 = i64.MAX_VALUE;
export const BEFORE_ALL: i64 = i64.MIN_VALUE;

/** One key: its clock, its open windows, and the events that wait. Its number is that of the key. */
@unmanaged
export class KeyedGroup {
  /** The key's own clock; `BEFORE_ALL` where keys have none. */
  clockUs: i64;
  /** When it is to be looked at, by the stream's clock; `NEVER` when it need not be. */
  dueUs: i64;
  /** Addresses by first event: Fragment[capacity]. With capacity 0 the only fragment itself, as most keys have one. */
  fragments: usize;
  count: u32;
  capacity: u32;
  waiting: usize; // Waiting, or 0
  /** See the constants below. */
  flags: u32;
  /** When it was changed last, see state/capture.ts. */
  mark: u32;
}

export const GROUP_BYTES: u32 = offsetof<KeyedGroup>();
const FIRST_CAPACITY: u32 = 2;
/** The key is in use: it has a window, a waiting event, or a clock that is remembered. */
export const HELD: u32 = 1;
/** It waits to be looked at since its clock has moved. */
export const TOUCHED: u32 = 2;
/** It stands in the schedule of clocks. */
export const CLOCKED: u32 = 4;
/** It has a window or an event that waits. */
export const OPEN: u32 = 8;
/** Its clock has passed a multiple of `early`: what has changed is to be shown early. */
export const EARLY_DUE: u32 = 16;

@inline
export function fragmentAt(group: KeyedGroup, index: u32): Fragment {
  if (group.capacity == 0) return changetype<Fragment>(group.fragments);
  return load<Fragment>(group.fragments + (<usize>index << 2));
}

@inline
export function waitingOf(group: KeyedGroup): Waiting {
  return changetype<Waiting>(group.waiting);
}

/** Whether it has a window or an event that waits: the flag `OPEN` follows, see `KeyedWindows.refresh`. */
@inline
export function isOpen(group: KeyedGroup): bool {
  return group.count != 0 || group.waiting != 0;
}

/** The number of the first fragment that starts at or after `firstUs`. */
export function findFragment(group: KeyedGroup, firstUs: i64): u32 {
  let from: u32 = 0;
  let to = group.count;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (fragmentAt(group, middle).firstUs < firstUs) from = middle + 1;
    else to = middle;
  }
  return from;
}

export function insertFragment(group: KeyedGroup, index: u32, fragment: Fragment): void {
  if (group.count == 0) {
    group.fragments = changetype<usize>(fragment);
    group.count = 1;
    return;
  }
  if (group.capacity == 0) {
    const only = group.fragments;
    group.capacity = FIRST_CAPACITY;
    group.fragments = heap.alloc(<usize>FIRST_CAPACITY << 2);
    store<usize>(group.fragments, only);
    countMemory(FIRST_CAPACITY << 2);
  } else if (group.count == group.capacity) {
    countMemory(<i32>(group.capacity << 2));
    group.capacity <<= 1;
    group.fragments = heap.realloc(group.fragments, <usize>group.capacity << 2);
  }
  const place = group.fragments + (<usize>index << 2);
  memory.copy(place + 4, place, <usize>(group.count - index) << 2);
  store<Fragment>(place, fragment);
  group.count++;
}

/** Takes `n` fragments out, from number `index` on; they are not freed. */
export function removeFragments(group: KeyedGroup, index: u32, n: u32): void {
  if (n == 0) return;
  if (group.capacity != 0) {
    const place = group.fragments + (<usize>index << 2);
    memory.copy(place, place + (<usize>n << 2), <usize>(group.count - index - n) << 2);
  }
  group.count -= n;
  if (group.count > 1) return;
  const only = group.count == 1 ? changetype<usize>(fragmentAt(group, 0)) : 0;
  freeFragments(group);
  group.fragments = only;
}

/** Frees the list, not what stands in it. */
export function freeFragments(group: KeyedGroup): void {
  if (group.capacity != 0) {
    countMemory(-(<i32>(group.capacity << 2)));
    heap.free(group.fragments);
  }
  group.fragments = 0;
  group.capacity = 0;
}
