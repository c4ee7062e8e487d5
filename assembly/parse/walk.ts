import { Parser } from "./parser";
import { longTail, longWord, MAX_LONG, MAX_RUN, MAX_SHORT, placeOf, shortBlock, shortWord, Slot, SPAN_SHIFT, SPANS, tagOf } from "./slots";
import { NOTHING } from "./structure";
import { MAX_DEPTH } from "./value";

const BLANK: u32 = 0x20;
const COMMA: u32 = 0x2c;
const OPEN: u32 = 0x7b;
const CLOSE: u32 = 0x7d;
const CARRIAGE_RETURN_LINE_FEED: u32 = 0x0a0d;

/** What `walkRows` gives for each row. */
@unmanaged
export class Step {
  /** The bits of the slots that have a value. */
  seen: u64;
  start: u32;
  /** Its first mark. */
  mark: u32;
}
export const STEP_SHIFT: usize = 4;

let steps: usize = 0;
/** The tags of the objects around the one that is read. */
const TAGS = memory.data(64 * 16, 16);

/** To be called once, before any rows are walked. */
export function prepareWalk(): void {
  if (steps == 0) steps = heap.alloc(<usize>MAX_RUN << STEP_SHIFT);
}

@inline
export function stepAt(row: u32): Step {
  return changetype<Step>(steps + (<usize>row << STEP_SHIFT));
}

/** Where the walk ended: the first row that is not walked, and its first mark. */
export let walkedTo: usize = 0;
export let walkedMark: usize = 0;
/** Slots that every walked row has, and that any has. */
export let seenInAll: u64 = 0;
export let seenInAny: u64 = 0;
/** The walk ended for want of marks, not because a row is out of the ordinary. */
export let isOutOfMarks: bool = false;

/**
 * Finds the values of the rows from `start`, whose first mark is at `mark`: puts their spans into their keys' slots. Checks
 * all that stands between the values. Gives the number of rows, and ends before the first that has a key without a slot, a
 * key twice, an array, an empty object, two times, no time or key where one is declared, much white space, or is no JSON.
 *
 * Cost: a look-up for each key, in any order, without a branch that depends on which key it is. Calls nothing, so that all it
 * needs stays in registers.
 */
export function walkRows(parser: Parser, mark: usize, start: usize, end: usize, most: u32): u32 {
  const slots = parser.slots;
  const table = slots.table;
  const multiplier = slots.multiplier;
  const needsTime = u32(parser.plan.isTimeDeclared != 0);
  const needsKey = u32(parser.plan.isKeyDeclared != 0);
  let inAll: u64 = u64.MAX_VALUE;
  let inAny: u64 = 0;
  let row: u32 = 0;
  // The marks that were not read yet where the walk ended.
  let last = mark;
  while (row < most) {
    // Marks are of the byte before.
    let p: usize = load<u32>(mark);
    last = mark;
    if (p + 1 != start || load<u8>(p, 1) != OPEN) break;
    const spanAt = SPANS + (<usize>row << SPAN_SHIFT);
    let next = mark + 4;
    let met: u64 = 0;
    let objects: u64 = 0;
    let closed: usize = 0;
    let depth: usize = 0;
    let tag = i8x16.splat(0);
    let isWhole = false;
    while (true) {
      let isOdd = false;
      let slot: Slot;
      while (true) {
        const colon: usize = load<u32>(next);
        const stop: usize = load<u32>(next, 4);
        const key = afterBlank(p + 2);
        const length = colon + 2 - key;
        if (length > MAX_SHORT) {
          isOdd = true;
          break;
        }
        // Its quotes and the colon are compared with it.
        const block = shortBlock(key, length, tag);
        slot = load<Slot>(placeOf(table, shortWord(block), multiplier));
        if (!isEqual(slot.block, block)) {
          isOdd = true;
          break;
        }
        met |= slot.bit;
        const span = changetype<usize>(slot) + spanAt;
        store<u32>(span, afterBlank(colon + 2));
        store<u32>(span, stop, 4);
        next += 8;
        p = stop;
        if (load<u8>(p, 1) != COMMA) break;
      }
      if (isOdd) {
        const colon: usize = load<u32>(next);
        const stop: usize = load<u32>(next, 4);
        const key = afterBlank(p + 2);
        const length = colon + 2 - key;
        if (length <= MAX_SHORT || length > MAX_LONG) break;
        const block = v128.load(key);
        const tail = longTail(key, length, tag);
        slot = load<Slot>(placeOf(table, longWord(block, tail), multiplier));
        if (!isEqual(slot.block, block) || !isEqual(slot.tail, tail) || slot.length != <u32>length) break;
        met |= slot.bit;
        const span = changetype<usize>(slot) + spanAt;
        store<u32>(span, afterBlank(colon + 2));
        store<u32>(span, stop, 4);
        next += 8;
        p = stop;
      }
      let byte = <u32>load<u8>(p, 1);
      if (byte == OPEN) {
        if (p + 1 != load<u32>(changetype<usize>(slot) + spanAt) || !slot.key.isBranch || depth == MAX_DEPTH - 1) break;
        objects |= slot.bit;
        v128.store(TAGS + (depth << 4), tag);
        depth++;
        tag = tagOf(slot.object);
        continue;
      }
      while (byte == CLOSE && depth != 0) {
        const stop: usize = load<u32>(next);
        byte = stop == p + 1 ? load<u8>(stop, 1) : 0;
        p = stop;
        next += 4;
        closed += 4;
        depth--;
        tag = v128.load(TAGS + (depth << 4));
      }
      if (byte == COMMA) continue;
      isWhole = byte == CLOSE;
      break;
    }
    last = next;
    // Two marks a key, one for each bracket but the outer closing one: a key that came twice has one bit.
    if (!isWhole || <usize>popcnt<u64>(met) << 3 != next - mark - 4 - closed) break;

    const seen = met & ~objects;
    const times = seen & slots.timeBits;
    const isShort = (u32(times == 0) & needsTime) | (u32((seen & slots.keyBits) == 0) & needsKey);
    if (isShort | u32((times & (times - 1)) != 0)) break;
    let following = p + 3;
    if (load<u8>(p, 2) != 0x0a) {
      if (load<u16>(p, 2) == CARRIAGE_RETURN_LINE_FEED) following = p + 4;
      else if (p + 2 == end) following = end;
      else break;
    }
    const step = stepAt(row);
    step.seen = seen;
    step.start = <u32>start;
    step.mark = <u32>mark;
    inAll &= seen;
    inAny |= seen;
    start = following;
    mark = next;
    row++;
  }
  walkedTo = start;
  walkedMark = mark;
  seenInAll = inAll;
  seenInAny = inAny;
  isOutOfMarks = load<u32>(last, 4) == <u32>NOTHING;
  return row;
}

/** Past the blank at `at`, if there is one. */
@inline
function afterBlank(at: usize): usize {
  return at + usize(load<u8>(at) == BLANK);
}

@inline
function isEqual(a: v128, b: v128): bool {
  return i8x16.bitmask(i8x16.eq(a, b)) == 0xffff;
}
