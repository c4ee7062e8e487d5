import { ByteBuffer } from "./bytes";

/** One interned string: where its bytes stand in `Dictionary.bytes`, and its hash. */
@unmanaged
export class DictionaryEntry {
  offset: u32;
  length: u32;
  hash: u32;
}

const ENTRY_SIZE: u32 = offsetof<DictionaryEntry>();

/**
 * Interns byte strings to dense ids 0, 1, 2 … in order of first appearance.
 *
 * Invariant: the table holds id + 1 (0 is free), its size is a power of two and at least twice `count`.
 * `reset` costs one fill of the table and keeps all memory.
 */
@unmanaged
export class Dictionary {
  table: usize; // u32[tableMask + 1]
  tableMask: u32;
  entries: usize; // DictionaryEntry[capacity]
  capacity: u32;
  count: u32;
  bytes: ByteBuffer;

  static create(): Dictionary {
    const self = changetype<Dictionary>(heap.alloc(offsetof<Dictionary>()));
    self.tableMask = 1023;
    self.table = heap.alloc(1024 << 2);
    memory.fill(self.table, 0, 1024 << 2);
    self.capacity = 512;
    self.entries = heap.alloc(512 * ENTRY_SIZE);
    self.count = 0;
    self.bytes = ByteBuffer.create(4096);
    return self;
  }

  reset(): void {
    if (this.count == 0) return;
    memory.fill(this.table, 0, <usize>(this.tableMask + 1) << 2);
    this.count = 0;
    this.bytes.reset();
  }

  @inline entry(id: u32): DictionaryEntry {
    return changetype<DictionaryEntry>(this.entries + <usize>id * ENTRY_SIZE);
  }

  @inline pointer(id: u32): usize {
    return this.bytes.data + this.entry(id).offset;
  }

  @inline length(id: u32): u32 {
    return this.entry(id).length;
  }

  /** The id of the string at `source`; interns a copy when it is new. */
  intern(source: usize, length: u32): u32 {
    const hash = hashBytes(source, length);
    const mask = this.tableMask;
    let slot = hash & mask;
    while (true) {
      const stored = load<u32>(this.table + (<usize>slot << 2));
      if (stored == 0) break;
      const entry = this.entry(stored - 1);
      if (entry.hash == hash && entry.length == length && equalBytes(this.bytes.data + entry.offset, source, length)) {
        return stored - 1;
      }
      slot = (slot + 1) & mask;
    }
    return this.insert(slot, source, length, hash);
  }

  private insert(slot: u32, source: usize, length: u32, hash: u32): u32 {
    const id = this.count;
    if (id == this.capacity) {
      this.capacity <<= 1;
      this.entries = heap.realloc(this.entries, <usize>this.capacity * ENTRY_SIZE);
    }
    const offset = this.bytes.append(source, length);
    const entry = this.entry(id);
    entry.offset = offset;
    entry.length = length;
    entry.hash = hash;
    this.count = id + 1;
    store<u32>(this.table + (<usize>slot << 2), id + 1);
    if (<u64>this.count * 2 > this.tableMask) this.rehash();
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
      while (load<u32>(this.table + (<usize>slot << 2)) != 0) slot = (slot + 1) & mask;
      store<u32>(this.table + (<usize>slot << 2), id + 1);
    }
  }

  dispose(): void {
    heap.free(this.table);
    heap.free(this.entries);
    this.bytes.dispose();
    heap.free(changetype<usize>(this));
  }
}

// Odd 64-bit constants of wyhash (https://github.com/wangyi-fudan/wyhash), used as multipliers.
const K0: u64 = 0xa0761d6478bd642f;
const K1: u64 = 0xe7037ed1a0b428db;

@inline
function mix(a: u64, b: u64): u64 {
  const product = a * b;
  return product ^ (product >> 32) ^ rotl<u64>(b, 23);
}

/** A 32-bit hash of `length` bytes, the same on every run and machine. */
@inline
export function hashBytes(source: usize, length: u32): u32 {
  let hash: u64 = K0 ^ length;
  let left = length;
  while (left >= 8) {
    hash = mix(hash ^ load<u64>(source), K1);
    source += 8;
    left -= 8;
  }
  let tail: u64 = 0;
  if (left & 4) {
    tail = load<u32>(source);
    source += 4;
  }
  if (left & 2) {
    tail = (tail << 16) | load<u16>(source);
    source += 2;
  }
  if (left & 1) tail = (tail << 8) | load<u8>(source);
  hash = mix(hash ^ tail, K0);
  return <u32>(hash ^ (hash >> 29));
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
