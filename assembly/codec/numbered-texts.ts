import { Dictionary } from "../memory/dictionary";

/** Templates that are remembered, each of another dictionary. */
const MAX_REMEMBERED: u32 = 4;
/** A table pays while it has no more places than this for each text … */
const PLACES_PER_TEXT: u64 = 4;
/** … and takes no more memory than 512 KiB. */
const MAX_PLACES: u64 = 1 << 17;
/** Tables grow by so many places at least, less one. */
const GROWTH: u64 = 1023;

/**
 * The ids that a dictionary has given to texts of one template, by the number in it: so that a text that was met before, in
 * this block or another, is neither written out nor looked for.
 */
@unmanaged
export class NumberedTexts {
  /** Of the dictionary. */
  identity: u64;
  /** The first and the last number that there is a place for. */
  least: u64;
  greatest: u64;
  /** u32 by number from `least` on: one more than the id, or 0. */
  table: usize;
  digits: u32;
  /** Bytes in front of the number, and behind it: 256 at most, see `template.ts`. */
  front: u32;
  behind: u32;
  usedAt: u32;

  @inline get pattern(): usize {
    return changetype<usize>(this) + offsetof<NumberedTexts>();
  }

  @inline placeOf(number: u64): usize {
    return this.table + (<usize>(number - this.least) << 2);
  }
}

/** Of one with its pattern. */
const SIZE: usize = 48 + 256;
const REMEMBERED = memory.data(4 * (48 + 256), 8);
let uses: u32 = 0;

@inline
function remembered(index: u32): NumberedTexts {
  return changetype<NumberedTexts>(REMEMBERED + <usize>index * SIZE);
}

/**
 * The ids of the dictionary's texts of a template with one number, with a place for each of the `count` numbers (u64 each); null
 * where they lie too far apart. `pattern`: the bytes in front of the number and those behind it.
 */
export function numberedTexts(
  dictionary: Dictionary,
  pattern: usize,
  front: u32,
  behind: u32,
  digits: u32,
  numbers: usize,
  count: u32,
): NumberedTexts {
  const none = changetype<NumberedTexts>(0);
  if (count == 0) return none;
  let least = u64.MAX_VALUE;
  let greatest: u64 = 0;
  for (let at = numbers, end = numbers + (<usize>count << 3); at < end; at += 8) {
    least = min(least, load<u64>(at));
    greatest = max(greatest, load<u64>(at));
  }
  let found = none;
  let oldest = remembered(0);
  for (let i: u32 = 0; i < MAX_REMEMBERED; i++) {
    const each = remembered(i);
    if (each.usedAt < oldest.usedAt) oldest = each;
    if (each.table == 0 || each.identity != dictionary.identity || each.digits != digits) continue;
    if (each.front != front || each.behind != behind) continue;
    if (memory.compare(each.pattern, pattern, front + behind) == 0) found = each;
  }
  if (changetype<usize>(found) != 0) {
    if (least < found.least || greatest > found.greatest) {
      if (!cover(found, min(least, found.least), max(greatest, found.greatest), placesFor(dictionary, count))) return none;
    }
  } else {
    oldest.least = least;
    oldest.greatest = least;
    if (oldest.table != 0) heap.free(oldest.table);
    oldest.table = 0;
    if (!cover(oldest, least, greatest, placesFor(dictionary, count))) return none;
    oldest.identity = dictionary.identity;
    oldest.digits = digits;
    oldest.front = front;
    oldest.behind = behind;
    memory.copy(oldest.pattern, pattern, front + behind);
    found = oldest;
  }
  found.usedAt = ++uses;
  return found;
}

function placesFor(dictionary: Dictionary, count: u32): u64 {
  return min<u64>(MAX_PLACES, <u64>max(count, dictionary.count) * PLACES_PER_TEXT);
}

/** Makes the table reach over more numbers; false when that were too many. */
function cover(texts: NumberedTexts, least: u64, greatest: u64, places: u64): bool {
  if (greatest - least >= places) return false;
  least &= ~GROWTH;
  greatest |= GROWTH;
  const size = (<usize>(greatest - least) + 1) << 2;
  const table = heap.alloc(size);
  memory.fill(table, 0, size);
  if (texts.table != 0) {
    const known = (<usize>(texts.greatest - texts.least) + 1) << 2;
    memory.copy(table + (<usize>(texts.least - least) << 2), texts.table, known);
    heap.free(texts.table);
  }
  texts.table = table;
  texts.least = least;
  texts.greatest = greatest;
  return true;
}
