import { Column, ColumnType } from "../batch/batch";
import { Field, NOT_A_TIME } from "./field";

/** What the row reader does with a value, by the key it stands under. */
export const enum Role {
  /** A 64-bit integer column; a number with a fraction widens it, which the full reader does. */
  Int = 1,
  Float = 2,
  /** A candidate for the event time. */
  Time = 3,
  Bool = 4,
  Text = 5,
  /** Goes to the extra column as it stands. */
  Extra = 6,
  Drop = 7,
  /** Anything but null and, where they may be, containers: for the full reader. */
  Other = 8,
}

export const MAX_KEYS: u32 = 1024;
const TABLE_SIZE: u32 = 4096;
const TABLE_SHIFT: u64 = 52;
const MAX_PROBES: u32 = 32;
/** Of the table for short keys. */
const QUICK_SIZE: u32 = 2048;
const QUICK_SHIFT: u64 = 53;
const QUICK_BYTES: u32 = 8;
const HASH_LOW: u64 = 0x9e3779b97f4a7c15;
const HASH_HIGH: u64 = 0xc2b2ae3d27d4eb4f;

/** Mask n keeps the first n bytes of 16. */
const MASKS = memory.data(17 * 16, 16);
for (let n: usize = 0; n <= 16; n++) memory.fill(MASKS + (n << 4), 0xff, n);

/** A key as it is spelled in an object, known from earlier lines. Keys with escapes are never here. */
@unmanaged
export class Key {
  /** Key, closing quote and colon, zero-padded to 16 bytes; of a key that has not room here, what cannot match. */
  guess: v128;
  guessMask: v128;
  /** Key and closing quote in the same way. */
  block: v128;
  length: u32;
  role: Role;
  /** The key that followed in the same object the last time. */
  next: usize;
  /** The first key of the object under this key the last time. */
  first: usize;
  /** The row this key was met in last. */
  serial: u32;
  /** The field's column, when it has one. */
  column: usize;
  /** Marks that a value here sets: see `MARK_KEY`, `MARK_TIME` and `timeMark`. */
  marks: u32;
  /** Arrays go to the extra column (Extra), are dropped (Drop), or are for the full reader (Other). */
  arrayRole: Role;
  /** Objects are looked into. */
  isBranch: u32;
  timeRank: u32;
  parent: usize;
  /** The key's entry in the table for short keys, or 0. */
  quick: usize;
  /** The key's slot, or 0: see `Slots`. */
  slot: usize;
  path: usize;
  pathLength: u32;
  /** All bytes of the key: the end of its path. */
  text: usize;

  @inline get columnOf(): Column {
    return changetype<Column>(this.column);
  }
}

export const MARK_KEY: u32 = 1;
export const MARK_TIME: u32 = 2;
/** Of rows whose time is that of their arrival. */
export const MARK_ARRIVAL: u32 = 4;
const TIME_MARKS_SHIFT: u32 = 8;
const MAX_TIME_MARKS: u32 = 16;

/** Says which of the candidates gave the time; from the 16th on they share a mark. */
@inline
export function timeMark(rank: u32): u32 {
  return 1 << (TIME_MARKS_SHIFT + min<u32>(rank, MAX_TIME_MARKS - 1));
}

/** An entry of the table for keys of up to 7 bytes, with all that is needed to know what comes after the key. */
@unmanaged
export class QuickKey {
  /** Key and closing quote, zero-padded. */
  word: u64;
  /** 0: the entry is free. */
  key: usize;
  role: Role;
}
const QUICK_KEY_SHIFT: usize = 4;

/**
 * The bytes of a word up to and with its first quote: all eight when there is none. From the test for a zero byte in
 * Warren, "Hacker's Delight", §6-1, whose lowest mark is exact.
 */
@inline
export function markQuote(word: u64): u64 {
  const bytes = word ^ 0x2222222222222222;
  return (bytes - 0x0101010101010101) & ~bytes & 0x8080808080808080;
}

/** The keys of a parser: a tree by objects, one table over all of it, and one over the short ones. */
@unmanaged
export class KeySet {
  /** The event's own object. */
  root: Key;
  table: usize;
  quick: usize;
  keys: usize;
  count: u32;
  /** Changes with the keys and what becomes of their values. */
  version: u32;

  static create(): KeySet {
    const self = changetype<KeySet>(heap.alloc(offsetof<KeySet>()));
    self.table = heap.alloc(TABLE_SIZE << 2);
    memory.fill(self.table, 0, TABLE_SIZE << 2);
    self.quick = heap.alloc(<usize>QUICK_SIZE << QUICK_KEY_SHIFT);
    memory.fill(self.quick, 0, <usize>QUICK_SIZE << QUICK_KEY_SHIFT);
    self.keys = heap.alloc(MAX_KEYS * sizeof<usize>());
    self.count = 0;
    self.version = 1;
    self.root = newKey(0, 0, 0, 0);
    return self;
  }

  @inline key(index: u32): Key {
    return load<Key>(this.keys + <usize>index * sizeof<usize>());
  }

  /** The entry of a key given as its bytes and closing quote, in the object under `parent`; an empty one when it is not there. */
  @inline findQuick(parent: usize, word: u64): QuickKey {
    let slot = hashQuick(parent, word);
    while (true) {
      const entry = changetype<QuickKey>(this.quick + (<usize>slot << QUICK_KEY_SHIFT));
      if (entry.word == word && changetype<Key>(entry.key).parent == parent) return entry;
      if (entry.key == 0) return entry;
      slot = (slot + 1) & (QUICK_SIZE - 1);
    }
  }

  /** The key that follows at `at` (after its opening quote) in the object under `parent`, or 0. Reads 16 bytes. */
  @inline find(parent: usize, at: usize): usize {
    const block = v128.load(at);
    const quotes = i8x16.bitmask(i8x16.eq(block, i8x16.splat(0x22)));
    if (quotes == 0) return this.findLong(parent, at);
    const spelled = v128.and(block, v128.load(MASKS + (<usize>(ctz<i32>(quotes) + 1) << 4)));
    let slot = hashKey(parent, spelled);
    while (true) {
      const key = load<usize>(this.table + (<usize>slot << 2));
      if (key == 0) return 0;
      const isEqual =
        !v128.any_true(v128.xor(changetype<Key>(key).block, spelled)) && changetype<Key>(key).parent == parent;
      if (isEqual) return key;
      slot = (slot + 1) & (TABLE_SIZE - 1);
    }
  }

  private findLong(parent: usize, at: usize): usize {
    let quotes: i32 = 0;
    let end = at;
    while (true) {
      const block = v128.load(end);
      quotes = i8x16.bitmask(i8x16.eq(block, i8x16.splat(0x22)));
      if (quotes != 0) break;
      // Whatever is no text ends the search, so that it stays in the body.
      if (i8x16.bitmask(i8x16.lt_u(block, i8x16.splat(0x20))) != 0) return 0;
      end += 16;
    }
    return this.findText(parent, at, <u32>(end + ctz<i32>(quotes) - at));
  }

  /** The key of that text (without quotes) in the object under `parent`, or 0. */
  findText(parent: usize, text: usize, length: u32): usize {
    if (length < 16) {
      const spelled = memory.data(16, 16);
      v128.store(spelled, i8x16.splat(0));
      memory.copy(spelled, text, length);
      store<u8>(spelled + length, 0x22);
      let slot = hashKey(parent, v128.load(spelled));
      while (true) {
        const key = load<usize>(this.table + (<usize>slot << 2));
        if (key == 0) return 0;
        if (isSameKey(changetype<Key>(key), parent, text, length)) return key;
        slot = (slot + 1) & (TABLE_SIZE - 1);
      }
    }
    let slot = hashKey(parent, v128.load(text));
    while (true) {
      const key = load<usize>(this.table + (<usize>slot << 2));
      if (key == 0) return 0;
      if (isSameKey(changetype<Key>(key), parent, text, length)) return key;
      slot = (slot + 1) & (TABLE_SIZE - 1);
    }
  }

  /** Adds a key that is not there; 0 when there is no room. The path is copied, and ends with the key. */
  add(parent: usize, path: usize, pathLength: u32, length: u32): usize {
    if (this.count == MAX_KEYS) return 0;
    const key = newKey(parent, path, pathLength, length);
    let slot = length < 16 ? hashKey(parent, key.block) : hashKey(parent, v128.load(key.text));
    let probes: u32 = 0;
    while (load<usize>(this.table + (<usize>slot << 2)) != 0) {
      if (++probes == MAX_PROBES) {
        disposeKey(key);
        return 0;
      }
      slot = (slot + 1) & (TABLE_SIZE - 1);
    }
    store<Key>(this.table + (<usize>slot << 2), key);
    if (length < QUICK_BYTES) this.addQuick(key);
    store<Key>(this.keys + <usize>this.count * sizeof<usize>(), key);
    this.count++;
    this.version++;
    return changetype<usize>(key);
  }

  private addQuick(key: Key): void {
    const word = v128.extract_lane<u64>(key.block, 0);
    const entry = this.findQuick(key.parent, word);
    entry.word = word;
    entry.key = changetype<usize>(key);
    entry.role = key.role;
    key.quick = changetype<usize>(entry);
  }

  get isFull(): bool {
    return this.count == MAX_KEYS;
  }

  /** Forgets all keys. */
  clear(): void {
    for (let i: u32 = 0; i < this.count; i++) disposeKey(this.key(i));
    this.count = 0;
    this.version++;
    memory.fill(this.table, 0, TABLE_SIZE << 2);
    memory.fill(this.quick, 0, <usize>QUICK_SIZE << QUICK_KEY_SHIFT);
    this.root.first = changetype<usize>(NOWHERE);
  }

  dispose(): void {
    this.clear();
    disposeKey(this.root);
    heap.free(this.table);
    heap.free(this.quick);
    heap.free(this.keys);
    heap.free(changetype<usize>(this));
  }
}

@inline
function hashKey(parent: usize, block: v128): u32 {
  const low = v128.extract_lane<u64>(block, 0) ^ (<u64>parent << 29);
  const high = v128.extract_lane<u64>(block, 1);
  return <u32>(((low * HASH_LOW) ^ (rotl<u64>(high, 32) * HASH_HIGH)) >> TABLE_SHIFT);
}

@inline
function hashQuick(parent: usize, word: u64): u32 {
  return <u32>(((word ^ (<u64>parent << 29)) * HASH_LOW) >> QUICK_SHIFT);
}

function isSameKey(key: Key, parent: usize, text: usize, length: u32): bool {
  return key.parent == parent && key.length == length && memory.compare(key.text, text, length) == 0;
}

function newKey(parent: usize, path: usize, pathLength: u32, length: u32): Key {
  const key = changetype<Key>(heap.alloc(offsetof<Key>()));
  key.path = heap.alloc(pathLength + 18);
  memory.copy(key.path, path, pathLength);
  key.pathLength = pathLength;
  key.text = key.path + pathLength - length;
  key.length = length;
  key.parent = parent;
  key.serial = 0;
  key.next = changetype<usize>(NOWHERE);
  key.first = changetype<usize>(NOWHERE);
  key.role = Role.Other;
  key.arrayRole = Role.Other;
  key.column = 0;
  key.quick = 0;
  key.slot = 0;
  key.marks = 0;
  key.isBranch = 0;
  key.timeRank = NOT_A_TIME;
  key.guessMask = i8x16.splat(0);
  key.guess = i8x16.splat(-1);
  key.block = i8x16.splat(-1);
  if (length < 16) {
    store<u16>(key.text + length, 0x3a22);
    const text = v128.load(key.text);
    key.block = v128.and(text, v128.load(MASKS + (<usize>(length + 1) << 4)));
    if (length < 15) {
      key.guessMask = v128.load(MASKS + (<usize>(length + 2) << 4));
      key.guess = v128.and(text, key.guessMask);
    }
  }
  return key;
}

function disposeKey(key: Key): void {
  heap.free(key.path);
  heap.free(changetype<usize>(key));
}

/** A key that no text matches: the prediction where there is none. */
const NOWHERE = memory.data(offsetof<Key>(), 16);
changetype<Key>(NOWHERE).guess = i8x16.splat(-1);

/** What becomes of an array, or of a scalar that has no column. */
export function roleOfExtra(policy: u32): Role {
  return policy == 0 ? Role.Extra : policy == 1 ? Role.Drop : Role.Other;
}

/** The role of a field's values by its column. */
export function roleOfColumn(type: ColumnType): Role {
  if (type == ColumnType.Int) return Role.Int;
  if (type == ColumnType.Float) return Role.Float;
  if (type == ColumnType.Bool) return Role.Bool;
  return type == ColumnType.Text ? Role.Text : Role.Other;
}

export function roleOfField(field: Field): Role {
  if (field.timeRank != NOT_A_TIME) return Role.Time;
  return field.hasColumn() ? roleOfColumn(field.columnOf.type) : Role.Other;
}
