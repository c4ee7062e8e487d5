import { Key, KeySet, MARK_KEY, Role } from "./key";

/** So many keys have slots: a bit for each. */
export const MAX_SLOTS: u32 = 64;
/** Rows that are read at once. */
export const MAX_RUN: u32 = 128;
/** A table so large that a multiplier without collisions is soon found. */
const PLACES: usize = 1024;
const PLACE_SHIFT: u64 = 54;
const MAX_TRIES: u32 = 100;
/** Of Knuth's MMIX generator, which gives the multipliers to try. */
const FIRST_MULTIPLIER: u64 = 0x9e3779b97f4a7c15;
const NEXT_MULTIPLIER: u64 = 6364136223846793005;
/** With its quotes and colon, a key has room in one block beside the number of its object, or in two that overlap. */
export const MAX_SHORT: usize = 15;
export const MAX_LONG: usize = 32;
/** Two quotes and the colon. */
const AROUND_KEY: u32 = 3;

/** Mask n keeps the first n bytes of 16. */
const MASKS = memory.data(16 * 16, 16);
for (let n: usize = 0; n < 16; n++) memory.fill(MASKS + (n << 4), 0xff, n);

/** A value without the white space in front of it. */
@unmanaged
export class Span {
  at: u32;
  /** The byte before the comma or brace behind it: its last one, but for white space. */
  last: u32;
}
export const SPAN_SHIFT: usize = 3;

/** Where the values of one key stand, for a run of rows. */
@unmanaged
export class Slot {
  /** What `shortBlock` gives for the key; of a long one its first 16 bytes. */
  block: v128;
  /** What `longTail` gives for the key when it is long. */
  tail: v128;
  bit: u64;
  key: Key;
  /** Of the key with its quotes and colon. */
  length: u32;
  /** Of the object under the key; that of the event itself is 0. */
  object: u32;
  /** To 64 bytes, so that no block is in two lines of the cache. */
  unused: u32;
  unusedToo: u64;
  /** Here follow the spans: Span[MAX_RUN] */
}
export const SPANS: usize = offsetof<Slot>();
const SLOT_BYTES: usize = offsetof<Slot>() + ((<usize>MAX_RUN) << SPAN_SHIFT);

/** What the table has where no key is: nothing is equal to it. */
const FREE = memory.data(offsetof<Slot>(), 16);
changetype<Slot>(FREE).block = i8x16.splat(-1);

/**
 * The keys whose values are read column by column, found by a table in which each has a place of its own.
 *
 * Invariant: `version` is that of the keys when it was made, or else it is to be made anew.
 */
@unmanaged
export class Slots {
  version: u32;
  count: u32;
  /** Of keys whose values give the event's time; of those that give its key. */
  timeBits: u64;
  keyBits: u64;
  multiplier: u64;
  table: usize; // Slot[PLACES]
  slots: usize; // Slot[count], SLOT_BYTES each

  static create(): Slots {
    const self = changetype<Slots>(heap.alloc(offsetof<Slots>()));
    self.version = 0;
    self.count = 0;
    self.multiplier = FIRST_MULTIPLIER;
    self.table = heap.alloc(PLACES << 2);
    self.slots = heap.alloc(0);
    return self;
  }

  @inline slot(index: u32): Slot {
    return changetype<Slot>(this.slots + <usize>index * SLOT_BYTES);
  }

  /** Makes slots for the keys there are; for none when there are too many, or no table for them is found. */
  fill(keys: KeySet): void {
    this.version = keys.version;
    this.count = 0;
    this.timeBits = 0;
    this.keyBits = 0;
    if (keys.count > MAX_SLOTS) return;
    heap.free(this.slots);
    this.slots = heap.alloc(<usize>keys.count * SLOT_BYTES);
    for (let i: u32 = 0; i < keys.count; i++) {
      keys.key(i).slot = 0;
      if (isFit(keys, keys.key(i))) this.add(keys.key(i));
    }
    let tries: u32 = 0;
    while (!this.place()) {
      if (++tries == MAX_TRIES) {
        this.count = 0;
        return;
      }
      this.multiplier = this.multiplier * NEXT_MULTIPLIER + 2;
    }
  }

  private add(key: Key): void {
    const parent = changetype<Key>(key.parent);
    const isTop = parent.parent == 0;
    if (!isTop && parent.slot == 0) return;
    const index = this.count++;
    const slot = this.slot(index);
    slot.bit = (<u64>1) << index;
    slot.key = key;
    slot.length = key.length + AROUND_KEY;
    slot.object = index + 1;
    key.slot = changetype<usize>(slot);
    const tag = tagOf(isTop ? 0 : changetype<Slot>(parent.slot).object);
    const spelled = spell(key);
    slot.block = isShort(slot) ? shortBlock(spelled, slot.length, tag) : v128.load(spelled);
    slot.tail = longTail(spelled, slot.length, tag);
    if (key.role == Role.Time) this.timeBits |= slot.bit;
    if (key.marks & MARK_KEY) this.keyBits |= slot.bit;
  }

  /** Gives whether each key got a place of its own. */
  private place(): bool {
    for (let i: usize = 0; i < PLACES << 2; i += 4) store<usize>(this.table + i, FREE);
    for (let i: u32 = 0; i < this.count; i++) {
      const slot = this.slot(i);
      const word = isShort(slot) ? shortWord(slot.block) : longWord(slot.block, slot.tail);
      const place = placeOf(this.table, word, this.multiplier);
      if (load<usize>(place) != FREE) return false;
      store<Slot>(place, slot);
    }
    return true;
  }

  dispose(): void {
    heap.free(this.slots);
    heap.free(this.table);
    heap.free(changetype<usize>(this));
  }
}

/** The key with its quotes and colon, until the next call. */
function spell(key: Key): usize {
  const at = SPELLED + 16;
  store<u8>(at, 0x22);
  memory.copy(at + 1, key.text, key.length);
  store<u16>(at + 1 + key.length, 0x3a22);
  return at;
}
const SPELLED = memory.data(64, 16);

@inline
function isShort(slot: Slot): bool {
  return slot.length <= <u32>MAX_SHORT;
}

/** Where the table has the slot of a key of that word, if there is one. */
@inline
export function placeOf(table: usize, word: u64, multiplier: u64): usize {
  return table + (<usize>((word * multiplier) >> PLACE_SHIFT) << 2);
}

/**
 * A key of up to `MAX_SHORT` bytes with its quotes and colon, zero-padded, and last the number of the object it is in. Reads 16 bytes.
 * Equal blocks are of equal length, for none of them ends with a zero.
 */
@inline
export function shortBlock(at: usize, length: usize, tag: v128): v128 {
  return v128.or(v128.and(v128.load(at), v128.load(MASKS + (length << 4))), tag);
}

@inline
export function shortWord(block: v128): u64 {
  return v128.extract_lane<u64>(block, 0) ^ v128.extract_lane<u64>(block, 1);
}

/** The last 16 bytes of a longer one, the last of them, its colon, changed by the object's number. */
@inline
export function longTail(at: usize, length: usize, tag: v128): v128 {
  return v128.xor(v128.load(at + length - 16), tag);
}

@inline
export function longWord(block: v128, tail: v128): u64 {
  return shortWord(block) * NEXT_MULTIPLIER + shortWord(tail);
}

/** What tells the keys of that object from those of others. */
@inline
export function tagOf(object: u32): v128 {
  return i8x16.replace_lane(i8x16.splat(0), 15, <i8>object);
}

/** Whether a key's values can be read column by column: no other key stands for the same field, and none is kept as it stands. */
function isFit(keys: KeySet, key: Key): bool {
  if (key.role == Role.Extra || key.role == Role.Drop || <usize>(key.length + AROUND_KEY) > MAX_LONG) return false;
  for (let i: u32 = 0; i < keys.count; i++) {
    const other = keys.key(i);
    const isSame = other != key && other.pathLength == key.pathLength && memory.compare(other.path, key.path, key.pathLength) == 0;
    if (isSame) return false;
  }
  return true;
}
