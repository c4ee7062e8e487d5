import { ByteBuffer } from "./bytes";

/** One interned string: its first bytes, where all of them stand in `Dictionary.bytes`, and its hash. */
@unmanaged
export class DictionaryEntry {
  /** The first 16 bytes, zero-padded: short strings are compared here, without a look at `bytes`. */
  prefixLow: u64;
  prefixHigh: u64;
  offset: u32;
  length: u32;
  hash: u32;
  /** length + 1 of a short string that `setPlain` was called for, or 0. */
  plain: u32;
}

const ENTRY_SHIFT: usize = 5;
const FIRST_TABLE_SIZE: u32 = 1024;
const BLOCK: u32 = 16;
/** What `find` gives for a string that was never interned. */
export const NOT_INTERNED: u32 = 0xffffffff;

/** Sixteen masks of 16 bytes: mask n keeps the first n bytes. */
const MASKS = memory.data(16 * 16, 16);
for (let n: usize = 0; n < 16; n++) memory.fill(MASKS + (n << 4), 0xff, n);

/** Odd multipliers of splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014). */
const MIX_A: u64 = 0xbf58476d1ce4e5b9;
const MIX_B: u64 = 0x94d049bb133111eb;
const GOLDEN: u64 = 0x9e3779b97f4a7c15;

let seedState: u64 = GOLDEN;

/** Makes the hashes of dictionaries created from now on unpredictable, so that nobody can send colliding strings. */
export function seedDictionaries(entropy: u64): void {
  seedState ^= entropy;
}

export function nextSeed(): u64 {
  seedState += GOLDEN;
  let mixed = (seedState ^ (seedState >> 30)) * MIX_A;
  mixed = (mixed ^ (mixed >> 27)) * MIX_B;
  return mixed ^ (mixed >> 31);
}

/** The 16 bytes at `source` with all but the first `length` (< 16) zero. Reads 16 bytes. */
@inline
export function maskedBlock(block: v128, length: u32): v128 {
  return v128.and(block, v128.load(MASKS + (<usize>length << 4)));
}

/**
 * Interns byte strings to dense ids 0, 1, 2 … in order of first appearance. Ids do not depend on the seed.
 *
 * Invariant: the table holds id + 1 (0 is free), its size is a power of two and at least twice `count`.
 * `reset` costs at most one fill of the table and keeps all memory.
 */
@unmanaged
export class Dictionary {
  table: usize; // u32[tableMask + 1]
  tableMask: u32;
  entries: usize; // DictionaryEntry[capacity]
  capacity: u32;
  count: u32;
  /** How many were there when the batch began, for who keeps texts between batches. */
  kept: u32;
  bytes: ByteBuffer;
  seedLow: u64;
  seedHigh: u64;
  /** Tells its ids from those of any other dictionary, and from its own before a `reset`; unpredictable, never 0. */
  identity: u64;
  /** Memory (of `heap`) with what somebody keeps by id, or 0; freed when the ids end. */
  notes: usize;

  static create(): Dictionary {
    const self = changetype<Dictionary>(heap.alloc(offsetof<Dictionary>()));
    self.tableMask = FIRST_TABLE_SIZE - 1;
    self.table = heap.alloc(FIRST_TABLE_SIZE << 2);
    memory.fill(self.table, 0, FIRST_TABLE_SIZE << 2);
    self.capacity = FIRST_TABLE_SIZE >> 1;
    self.entries = heap.alloc(<usize>self.capacity << ENTRY_SHIFT);
    self.count = 0;
    self.kept = 0;
    self.bytes = ByteBuffer.create(4096);
    self.seedLow = nextSeed();
    self.seedHigh = nextSeed();
    self.identity = nextSeed() | 1;
    self.notes = 0;
    return self;
  }

  reset(): void {
    const size = this.tableMask + 1;
    if (this.count > size >> 4) {
      memory.fill(this.table, 0, <usize>size << 2);
    } else {
      // Backwards, so that every slot is found by probing from its hash.
      for (let id = this.count; id > 0; id--) {
        let slot = this.entry(id - 1).hash & this.tableMask;
        while (load<u32>(this.slotAt(slot)) != id) slot = (slot + 1) & this.tableMask;
        store<u32>(this.slotAt(slot), 0);
      }
    }
    this.count = 0;
    this.kept = 0;
    this.identity = nextSeed() | 1;
    this.freeNotes();
    this.bytes.reset();
  }

  private freeNotes(): void {
    if (this.notes != 0) heap.free(this.notes);
    this.notes = 0;
  }

  @inline entry(id: u32): DictionaryEntry {
    return changetype<DictionaryEntry>(this.entries + (<usize>id << ENTRY_SHIFT));
  }

  @inline private slotAt(slot: u32): usize {
    return this.table + (<usize>slot << 2);
  }

  @inline pointer(id: u32): usize {
    return this.bytes.data + this.entry(id).offset;
  }

  @inline length(id: u32): u32 {
    return this.entry(id).length;
  }

  /** The first 16 bytes of a string, zero-padded. */
  @inline prefix(id: u32): v128 {
    return v128.load(changetype<usize>(this.entry(id)));
  }

  /** The id of the string at `source`; interns a copy when it is new. */
  intern(source: usize, length: u32): u32 {
    if (length < BLOCK) return this.internShort(loadShort(source, length), length);
    const hash = this.hashLong(source, length);
    const slot = this.probeLong(source, length, hash);
    const stored = load<u32>(this.slotAt(slot));
    return stored != 0 ? stored - 1 : this.insert(slot, v128.load(source), source, length, hash);
  }

  /** `intern` of fewer than 16 bytes, given as a zero-padded block. */
  @inline internShort(block: v128, length: u32): u32 {
    const low = v128.extract_lane<u64>(block, 0);
    const high = v128.extract_lane<u64>(block, 1);
    const hash = finish(this.mix(low, high), length);
    const mask = this.tableMask;
    let slot = hash & mask;
    while (true) {
      const stored = load<u32>(this.slotAt(slot));
      if (stored == 0) return this.insert(slot, block, 0, length, hash);
      const entry = this.entry(stored - 1);
      if (((entry.prefixLow ^ low) | (entry.prefixHigh ^ high)) == 0 && entry.length == length) return stored - 1;
      slot = (slot + 1) & mask;
    }
  }

  /**
   * id + 1 of a string of fewer than 16 bytes that `setPlain` was called for, or 0. Reads 16 bytes, so these must not be the
   * memory's last. Changes nothing and calls nothing.
   */
  @inline findPlain(source: usize, length: u32): u32 {
    if (length >= BLOCK) return 0;
    const block = maskedBlock(v128.load(source), length);
    const mask = this.tableMask;
    const table = this.table;
    const entries = this.entries - (1 << ENTRY_SHIFT);
    let slot = finish(this.mix(v128.extract_lane<u64>(block, 0), v128.extract_lane<u64>(block, 1)), length) & mask;
    while (true) {
      const stored = load<u32>(table + (<usize>slot << 2));
      if (stored == 0) return 0;
      const entry = changetype<DictionaryEntry>(entries + (<usize>stored << ENTRY_SHIFT));
      if (i8x16.bitmask(i8x16.eq(v128.load(changetype<usize>(entry)), block)) == 0xffff) {
        if (entry.plain == length + 1) return stored;
      }
      slot = (slot + 1) & mask;
    }
  }

  /** Has `findPlain` find a string: the caller has seen that it can stand in its source as it is. */
  setPlain(id: u32): void {
    const entry = this.entry(id);
    if (entry.length < BLOCK) entry.plain = entry.length + 1;
  }

  /** The id of the string at `source`, or `NOT_INTERNED`. */
  find(source: usize, length: u32): u32 {
    let slot: u32;
    if (length < BLOCK) {
      const block = loadShort(source, length);
      const low = v128.extract_lane<u64>(block, 0);
      const high = v128.extract_lane<u64>(block, 1);
      slot = finish(this.mix(low, high), length) & this.tableMask;
      while (true) {
        const stored = load<u32>(this.slotAt(slot));
        if (stored == 0) return NOT_INTERNED;
        const entry = this.entry(stored - 1);
        if (entry.prefixLow == low && entry.prefixHigh == high && entry.length == length) return stored - 1;
        slot = (slot + 1) & this.tableMask;
      }
    }
    slot = this.probeLong(source, length, this.hashLong(source, length));
    const stored = load<u32>(this.slotAt(slot));
    return stored != 0 ? stored - 1 : NOT_INTERNED;
  }

  /**
   * The multiplications of NH (Black, Halevi, Krawczyk, Krovetz, Rogaway, "UMAC", 1999), whose collisions cannot be
   * aimed at without the seed.
   */
  @inline private mix(low: u64, high: u64): u64 {
    const a = low + this.seedLow;
    const b = high + this.seedHigh;
    return (a & 0xffffffff) * (a >> 32) + (b & 0xffffffff) * (b >> 32);
  }

  private hashLong(source: usize, length: u32): u32 {
    let hash: u64 = 0;
    const last = source + length - BLOCK;
    for (let at = source; at < last; at += BLOCK) {
      hash = (rotl<u64>(hash, 25) ^ this.mix(load<u64>(at), load<u64>(at, 8))) * MIX_A;
    }
    hash = rotl<u64>(hash, 25) ^ this.mix(load<u64>(last), load<u64>(last, 8));
    return finish(hash, length);
  }

  /** The slot of a string of at least 16 bytes, or the free slot where it belongs. */
  private probeLong(source: usize, length: u32, hash: u32): u32 {
    const mask = this.tableMask;
    let slot = hash & mask;
    while (true) {
      const stored = load<u32>(this.slotAt(slot));
      if (stored == 0) return slot;
      const entry = this.entry(stored - 1);
      if (entry.hash == hash && entry.length == length && equalBytes(this.bytes.data + entry.offset, source, length)) {
        return slot;
      }
      slot = (slot + 1) & mask;
    }
  }

  /** `source` is not read for fewer than 16 bytes: these are all in `block`. */
  private insert(slot: u32, block: v128, source: usize, length: u32, hash: u32): u32 {
    const id = this.count;
    if (id == this.capacity) {
      this.capacity <<= 1;
      this.entries = heap.realloc(this.entries, <usize>this.capacity << ENTRY_SHIFT);
    }
    const entry = this.entry(id);
    const bytes = this.bytes;
    entry.offset = bytes.length;
    if (length < BLOCK) {
      v128.store(bytes.reserve(BLOCK), block);
      bytes.length += length;
    } else {
      bytes.append(source, length);
    }
    v128.store(changetype<usize>(entry), block);
    entry.length = length;
    entry.hash = hash;
    entry.plain = 0;
    this.count = id + 1;
    store<u32>(this.slotAt(slot), id + 1);
    if (this.count << 1 > this.tableMask) this.rehash();
    return id;
  }

  private rehash(): void {
    const size = (this.tableMask + 1) << 1;
    const mask = size - 1;
    heap.free(this.table);
    this.table = heap.alloc(<usize>size << 2);
    memory.fill(this.table, 0, <usize>size << 2);
    this.tableMask = mask;
    for (let id: u32 = 0; id < this.count; id++) {
      let slot = this.entry(id).hash & mask;
      while (load<u32>(this.slotAt(slot)) != 0) slot = (slot + 1) & mask;
      store<u32>(this.slotAt(slot), id + 1);
    }
  }

  dispose(): void {
    heap.free(this.table);
    heap.free(this.entries);
    this.freeNotes();
    this.bytes.dispose();
    heap.free(changetype<usize>(this));
  }
}

@inline
function finish(hash: u64, length: u32): u32 {
  return <u32>(((hash ^ ((<u64>length) << 56) ^ (hash >> 29)) * MIX_B) >> 32);
}

/** Fewer than 16 bytes as a zero-padded block. Never reads past the page that `source` is in. */
function loadShort(source: usize, length: u32): v128 {
  if ((source & 0xffff) <= 0x10000 - BLOCK) return maskedBlock(v128.load(source), length);
  let low: u64 = 0;
  let high: u64 = 0;
  for (let i = length; i > 8; i--) high = (high << 8) | load<u8>(source + i - 1);
  for (let i = min<u32>(length, 8); i > 0; i--) low = (low << 8) | load<u8>(source + i - 1);
  return i64x2.replace_lane(i64x2.splat(<i64>low), 1, <i64>high);
}

@inline
export function equalBytes(a: usize, b: usize, length: u32): bool {
  let left = length;
  while (left >= 8) {
    if (load<u64>(a) != load<u64>(b)) return false;
    a += 8;
    b += 8;
    left -= 8;
  }
  while (left > 0) {
    if (load<u8>(a) != load<u8>(b)) return false;
    a++;
    b++;
    left--;
  }
  return true;
}
