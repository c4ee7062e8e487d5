import { Plan } from "../plan";
import { RecordHead } from "../record";

/**
 * A window that was shown and then grew into another, so that its row is to be retracted. A list of them in the order of
 * time: windows of one key that stood side by side do not overlap.
 */
@unmanaged
export class Shown {
  startUs: i64;
  endUs: i64;
  /** The retraction's revision. */
  revision: u32;
  next: usize;
  /** 1 when all rows of it were early ones. */
  isEarly: u32;
}

export const SHOWN_BYTES: u32 = offsetof<Shown>();

/** An open window of one key. The group's record follows, see `recordOf`. */
@unmanaged
export class Fragment {
  /** Session, count: the first event. Else the window's start. */
  firstUs: i64;
  /** Session, count: the last event. Aligned: the window's start. Calendar: its end. */
  lastUs: i64;
  /** What is to be retracted with the next row: the first `Shown`, or 0. */
  shown: usize;
  /** 1 when the clock had passed the window's end before its last change. */
  isLate: u8;
  /** 1 when all its rows so far were early ones: it is to be shown on time, changed or not. */
  isEarly: u8;
}

/** A multiple of 8. */
const FRAGMENT_BYTES: u32 = 24;

@inline
export function recordOf(fragment: Fragment): usize {
  return changetype<usize>(fragment) + FRAGMENT_BYTES;
}

@inline
export function headOf(fragment: Fragment): RecordHead {
  return changetype<RecordHead>(recordOf(fragment));
}

export function createFragment(plan: Plan, firstUs: i64, lastUs: i64, key: u32): Fragment {
  const self = changetype<Fragment>(heap.alloc(fragmentBytes(plan)));
  self.firstUs = firstUs;
  self.lastUs = lastUs;
  self.shown = 0;
  self.isLate = 0;
  self.isEarly = 0;
  const head = headOf(self);
  head.rows = 0;
  head.key = key;
  head.emitted = 0;
  head.isDirty = 0;
  for (let f: u32 = 0; f < plan.fieldCount; f++) plan.layout(f).clear(recordOf(self));
  return self;
}

@inline
export function fragmentBytes(plan: Plan): u32 {
  return FRAGMENT_BYTES + plan.stride;
}

/** Frees it and all that it holds. */
export function disposeFragment(plan: Plan, fragment: Fragment): void {
  for (let f: u32 = 0; f < plan.fieldCount; f++) plan.layout(f).release(recordOf(fragment));
  for (let at = fragment.shown; at != 0; ) {
    const next = changetype<Shown>(at).next;
    heap.free(at);
    at = next;
  }
  heap.free(changetype<usize>(fragment));
}

/** Adds a window that is to be retracted, in the order of time. */
export function addShown(fragment: Fragment, startUs: i64, endUs: i64, revision: u32, isEarly: u32): void {
  const added = changetype<Shown>(heap.alloc(SHOWN_BYTES));
  added.startUs = startUs;
  added.endUs = endUs;
  added.revision = revision;
  added.isEarly = isEarly;
  insertShown(fragment, added);
}

/** Moves all that `from` is to retract to `to`. */
export function moveShown(from: Fragment, to: Fragment): void {
  for (let at = from.shown; at != 0; ) {
    const shown = changetype<Shown>(at);
    at = shown.next;
    insertShown(to, shown);
  }
  from.shown = 0;
}

function insertShown(fragment: Fragment, added: Shown): void {
  let previous: usize = 0;
  let at = fragment.shown;
  while (at != 0 && changetype<Shown>(at).startUs < added.startUs) {
    previous = at;
    at = changetype<Shown>(at).next;
  }
  added.next = at;
  if (previous == 0) fragment.shown = changetype<usize>(added);
  else changetype<Shown>(previous).next = changetype<usize>(added);
}
