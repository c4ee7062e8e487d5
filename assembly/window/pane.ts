import { NEW_MARK } from "../state/capture";
import { Plan } from "./plan";
import { RecordHead } from "./record";

const FIRST_TABLE_SIZE: u32 = 16;
/** Records a chunk: chunks never move, so that a pane grows without copying. */
const CHUNK_BITS: u32 = 6;
const CHUNK_RECORDS: u32 = 1 << CHUNK_BITS;
/** The first chunk alone starts smaller and grows: many panes have few keys. */
const FIRST_RECORDS: u32 = 4;
/** What `find` gives for a key that has no record. */
export const NO_RECORD: u32 = 0xffffffff;

/**
 * The groups of one slice of time (a tumbling window is one slice): a record of `Plan.stride` bytes for each key.
 *
 * Invariant: the table holds record number + 1 (0 is free), its size is a power of two and at least 16/9 of `count`; records
 * are numbered in order of arrival and stay until the pane is dropped. The table grows at another count than a dictionary of
 * as many keys, since both at once would hold up the windows.
 */
@unmanaged
export class Pane {
  start: i64;
  /** Where it ends: of a slice, the slice's end. */
  end: i64;
  /** Number of the slice. */
  number: i64;
  /** 1 once the watermark has passed the window's end: what is merged from then on is late. */
  isPassed: u32;
  count: u32;
  capacity: u32;
  stride: u32;
  chunks: usize; // addresses
  chunkCount: u32;
  chunkCapacity: u32;
  table: usize; // u32[tableMask + 1]
  tableMask: u32;
  /** Groups that wait to give an early result or a late revision. */
  dirty: u32;
  /** Tells it from every other slice and note there was: see state/pane-capture.ts. */
  id: u32;
  isNote: u32;
  /** The capture that last looked at it, and at how many records. */
  lookedIn: u32;
  looked: u32;

  /** With room for `records` before any of them moves. */
  static create(number: i64, start: i64, end: i64, stride: u32, records: u32 = FIRST_RECORDS): Pane {
    const self = changetype<Pane>(heap.alloc(offsetof<Pane>()));
    self.number = number;
    self.start = start;
    self.end = end;
    self.isPassed = 0;
    self.count = 0;
    self.stride = stride;
    self.chunkCapacity = 4;
    self.chunks = heap.alloc(4 * sizeof<usize>());
    self.chunkCount = 1;
    self.capacity = FIRST_RECORDS;
    while (self.capacity < min(records, CHUNK_RECORDS)) self.capacity <<= 1;
    store<usize>(self.chunks, heap.alloc(self.capacity * stride));
    self.tableMask = FIRST_TABLE_SIZE - 1;
    self.table = heap.alloc(FIRST_TABLE_SIZE << 2);
    memory.fill(self.table, 0, FIRST_TABLE_SIZE << 2);
    self.dirty = 0;
    self.id = 0;
    self.isNote = 0;
    self.lookedIn = 0;
    self.looked = 0;
    return self;
  }

  /** Frees what the records hold. */
  private release(plan: Plan): void {
    for (let f: u32 = 0; f < plan.fieldCount; f++) {
      const layout = plan.layout(f);
      for (let i: u32 = 0; i < this.count; i++) layout.release(this.record(i));
    }
  }

  /** Forgets all records; their memory is kept. */
  empty(plan: Plan): void {
    this.release(plan);
    this.count = 0;
    this.dirty = 0;
    memory.fill(this.table, 0, <usize>(this.tableMask + 1) << 2);
  }

  /** Frees the pane and all its records hold. */
  dispose(plan: Plan): void {
    this.release(plan);
    for (let c: u32 = 0; c < this.chunkCount; c++) heap.free(load<usize>(this.chunks + c * sizeof<usize>()));
    heap.free(this.chunks);
    heap.free(this.table);
    heap.free(changetype<usize>(this));
  }

  @inline record(index: u32): usize {
    const chunk = load<usize>(this.chunks + (index >> CHUNK_BITS) * sizeof<usize>());
    return chunk + <usize>(index & (CHUNK_RECORDS - 1)) * this.stride;
  }

  @inline head(index: u32): RecordHead {
    return changetype<RecordHead>(this.record(index));
  }

  /** The number of a key's record; made empty when it is new. */
  @inline recordOf(key: u32, plan: Plan): u32 {
    let slot = hashKey(key) & this.tableMask;
    while (true) {
      const stored = load<u32>(this.table + (<usize>slot << 2));
      if (stored == 0) return this.insert(slot, key, plan);
      if (this.head(stored - 1).key == key) return stored - 1;
      slot = (slot + 1) & this.tableMask;
    }
  }

  /** Likely the record of a key, which may be another's; 0 when it has none. */
  @inline guess(key: u32): usize {
    const stored = load<u32>(this.table + (<usize>(hashKey(key) & this.tableMask) << 2));
    return stored == 0 ? 0 : this.record(stored - 1);
  }

  /** The number of a key's record, or `NO_RECORD`. */
  @inline find(key: u32): u32 {
    let slot = hashKey(key) & this.tableMask;
    while (true) {
      const stored = load<u32>(this.table + (<usize>slot << 2));
      if (stored == 0) return NO_RECORD;
      if (this.head(stored - 1).key == key) return stored - 1;
      slot = (slot + 1) & this.tableMask;
    }
  }

  private insert(slot: u32, key: u32, plan: Plan): u32 {
    const index = this.count;
    if (index == this.capacity) this.grow();
    this.count = index + 1;
    const head = this.head(index);
    head.rows = 0;
    head.key = key;
    head.emitted = 0;
    head.isDirty = 0;
    head.mark = NEW_MARK;
    for (let f: u32 = 0; f < plan.fieldCount; f++) plan.layout(f).clear(changetype<usize>(head));
    store<u32>(this.table + (<usize>slot << 2), index + 1);
    if (this.count << 4 > this.tableMask * 9) this.rehash((this.tableMask + 1) << 1);
    return index;
  }

  private grow(): void {
    if (this.capacity < CHUNK_RECORDS) {
      this.capacity <<= 1;
      store<usize>(this.chunks, heap.realloc(load<usize>(this.chunks), this.capacity * this.stride));
      return;
    }
    if (this.chunkCount == this.chunkCapacity) {
      this.chunkCapacity <<= 1;
      this.chunks = heap.realloc(this.chunks, this.chunkCapacity * sizeof<usize>());
    }
    store<usize>(this.chunks + this.chunkCount * sizeof<usize>(), heap.alloc(CHUNK_RECORDS * this.stride));
    this.chunkCount++;
    this.capacity += CHUNK_RECORDS;
  }

  /** Builds the table anew; after keys were renumbered too. */
  rehash(size: u32): void {
    heap.free(this.table);
    this.table = heap.alloc(<usize>size << 2);
    memory.fill(this.table, 0, <usize>size << 2);
    this.tableMask = size - 1;
    for (let i: u32 = 0; i < this.count; i++) {
      let slot = hashKey(this.head(i).key) & this.tableMask;
      while (load<u32>(this.table + (<usize>slot << 2)) != 0) slot = (slot + 1) & this.tableMask;
      store<u32>(this.table + (<usize>slot << 2), i + 1);
    }
  }

  /** Lengthens every record by the plan's last fields, from number `from` on. */
  widen(plan: Plan, from: u32): void {
    const old = this.stride;
    const stride = plan.stride;
    for (let c: u32 = 0; c < this.chunkCount; c++) {
      const place = this.chunks + c * sizeof<usize>();
      const chunk = load<usize>(place);
      const capacity = this.capacity < CHUNK_RECORDS ? this.capacity : CHUNK_RECORDS;
      const moved = heap.alloc(capacity * stride);
      for (let i: u32 = 0; i < capacity && (c << CHUNK_BITS) + i < this.count; i++) {
        memory.copy(moved + i * stride, chunk + i * old, old);
        for (let f = from; f < plan.fieldCount; f++) plan.layout(f).clear(moved + i * stride);
      }
      store<usize>(place, moved);
      heap.free(chunk);
    }
    this.stride = stride;
  }

  /** Bytes of memory, but for what the records point to. */
  bytes(): u32 {
    return offsetof<Pane>() + this.capacity * this.stride + (this.chunkCapacity << 2) + ((this.tableMask + 1) << 2);
  }
}

/** Key numbers are dense and given by order of appearance. */
@inline
function hashKey(key: u32): u32 {
  return key;
}
