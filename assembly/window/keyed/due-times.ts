/** Something to be done to a key at a time. */
@unmanaged
class Entry {
  /** As `placeOf` gives it. */
  place: u64;
  key: u32;
  unused: u32;
}

/** A stretch of a list, entries follow. */
@unmanaged
class Chunk {
  next: Chunk;
  count: u32;
}

/** Entries in the order they came. */
@unmanaged
class List {
  first: Chunk;
  last: Chunk;
  /** No entry is before this. */
  least: u64;
}

const ENTRY_BYTES: u32 = offsetof<Entry>();
const CHUNK_HEAD_BYTES: u32 = 16;
const CHUNK_ENTRIES: u32 = 63;
const CHUNK_BYTES: u32 = CHUNK_HEAD_BYTES + CHUNK_ENTRIES * ENTRY_BYTES;
const LIST_BYTES: u32 = offsetof<List>();
/** One for each bit of a time, and behind them the list of what is due. */
const LISTS: u32 = 65;
const DUE: u32 = 64;
/** Empty chunks are given back beyond these and as many as are in use. */
const SPARE_CHUNKS: u32 = 16;
const NO_CHUNK = changetype<Chunk>(0);
const SIGN: u64 = 0x8000000000000000;

/**
 * Keys by time, for who asks for all up to a time at once: a radix heap (Ahuja, Mehlhorn, Orlin, Tarjan, "Faster algorithms for
 * the shortest path problem", 1990) that moves its floor to the time asked for, not to the least of its entries. So an entry
 * is appended to a list and moved on a few times at most, one after another in memory, where a heap compares its way up
 * and down for each.
 *
 * Invariant: list b < 64 has what is at or after the floor and differs from it first in bit b (bit 0 or not at all: b = 0),
 * which is set in the entry then; list `DUE` has what is before the floor. An entry moves only to lower lists: O(bits) in all.
 */
@unmanaged
export class DueTimes {
  lists: usize; // List[LISTS]
  /** A bit for each list below `DUE` that has entries. */
  filled: u64;
  floor: u64;
  count: u32;
  /** How many entries of the first chunk that is due were taken. */
  taken: u32;
  /** The entry that `take` found. */
  timeUs: i64;
  key: u32;
  spare: Chunk;
  spareChunks: u32;
  chunks: u32;

  static create(): DueTimes {
    const self = changetype<DueTimes>(heap.alloc(offsetof<DueTimes>()));
    self.lists = heap.alloc(LISTS * LIST_BYTES);
    for (let i: u32 = 0; i < LISTS; i++) self.list(i).first = NO_CHUNK;
    self.spare = NO_CHUNK;
    self.spareChunks = 0;
    self.chunks = 0;
    self.timeUs = 0;
    self.key = 0;
    self.clear();
    return self;
  }

  dispose(): void {
    this.clear();
    while (this.spare != NO_CHUNK) {
      const chunk = this.spare;
      this.spare = chunk.next;
      heap.free(changetype<usize>(chunk));
    }
    heap.free(this.lists);
    heap.free(changetype<usize>(this));
  }

  clear(): void {
    for (let i: u32 = 0; i < LISTS; i++) {
      const list = this.list(i);
      for (let chunk = list.first; chunk != NO_CHUNK; ) chunk = this.free(chunk);
      list.first = NO_CHUNK;
    }
    this.filled = 0;
    this.floor = 0;
    this.count = 0;
    this.taken = 0;
  }

  @inline private list(index: u32): List {
    return changetype<List>(this.lists + index * LIST_BYTES);
  }

  /** No entry is before this time; only while `count` is not 0. */
  get leastUs(): i64 {
    if (this.list(DUE).first != NO_CHUNK) return timeOf(this.list(DUE).least);
    return timeOf(this.list(<u32>ctz<u64>(this.filled)).least);
  }

  @inline push(timeUs: i64, key: u32): void {
    this.count++;
    this.place(placeOf(timeUs), key);
  }

  /** Takes an entry out that is not after a time, into `timeUs` and `key`; false when there is none. The order is about that of time. */
  take(limitUs: i64): bool {
    const limit = placeOf(limitUs);
    const floor = limit == u64.MAX_VALUE ? limit : limit + 1;
    if (floor != this.floor) this.moveFloor(floor);
    const due = this.list(DUE);
    const chunk = due.first;
    if (chunk == NO_CHUNK) return false;
    const entry = entryAt(chunk, this.taken++);
    this.timeUs = timeOf(entry.place);
    this.key = entry.key;
    this.count--;
    if (this.taken == chunk.count) {
      due.first = this.free(chunk);
      this.taken = 0;
    }
    return true;
  }

  bytes(): f64 {
    return <f64>(this.chunks + this.spareChunks) * <f64>CHUNK_BYTES;
  }

  private moveFloor(floor: u64): void {
    if (floor < this.floor) {
      this.lowerFloor(floor);
      return;
    }
    const highest = <u32>(63 - clz<u64>((floor ^ this.floor) | 1));
    this.floor = floor;
    // What differs in a lower bit has a 0 where the new floor has a 1.
    let passed = this.filled & (((<u64>1) << highest) - 1);
    for (; passed != 0; passed &= passed - 1) this.drain(<u32>ctz<u64>(passed));
    if ((this.filled >> highest) & 1) this.spread(this.takeList(highest), 0);
  }

  /** Only where somebody asks for an earlier time than before. */
  private lowerFloor(floor: u64): void {
    this.floor = floor;
    const due = this.list(DUE).first;
    const taken = this.taken;
    this.list(DUE).first = NO_CHUNK;
    this.taken = 0;
    const heads = heap.alloc(64 << 2);
    const filled = this.filled;
    for (let rest = filled; rest != 0; rest &= rest - 1) {
      const index = <u32>ctz<u64>(rest);
      store<Chunk>(heads + (index << 2), this.takeList(index));
    }
    this.spread(due, taken);
    for (let rest = filled; rest != 0; rest &= rest - 1) {
      this.spread(load<Chunk>(heads + (<u32>ctz<u64>(rest) << 2)), 0);
    }
    heap.free(heads);
  }

  /** Empties a list; returns its first chunk. */
  private takeList(index: u32): Chunk {
    const list = this.list(index);
    const first = list.first;
    list.first = NO_CHUNK;
    this.filled &= ~((<u64>1) << index);
    return first;
  }

  /** Puts the entries of some chunks, from number `from` of the first on, to where they belong. */
  private spread(chunk: Chunk, from: u32): void {
    while (chunk != NO_CHUNK) {
      for (let i = from; i < chunk.count; i++) {
        const entry = entryAt(chunk, i);
        this.place(entry.place, entry.key);
      }
      from = 0;
      chunk = this.free(chunk);
    }
  }

  /** All of a list is due. */
  private drain(index: u32): void {
    const list = this.list(index);
    const due = this.list(DUE);
    if (due.first == NO_CHUNK) {
      due.first = list.first;
      due.least = list.least;
    } else {
      due.last.next = list.first;
      due.least = min(due.least, list.least);
    }
    due.last = list.last;
    this.takeList(index);
  }

  private place(place: u64, key: u32): void {
    let index = DUE;
    if (place >= this.floor) {
      index = <u32>(63 - clz<u64>((place ^ this.floor) | 1));
      this.filled |= (<u64>1) << index;
    }
    const list = this.list(index);
    if (list.first == NO_CHUNK) {
      list.first = this.alloc();
      list.last = list.first;
      list.least = place;
    } else if (list.last.count == CHUNK_ENTRIES) {
      const added = this.alloc();
      list.last.next = added;
      list.last = added;
    }
    list.least = min(list.least, place);
    const entry = entryAt(list.last, list.last.count++);
    entry.place = place;
    entry.key = key;
  }

  private alloc(): Chunk {
    let chunk = this.spare;
    if (chunk == NO_CHUNK) chunk = changetype<Chunk>(heap.alloc(CHUNK_BYTES));
    else {
      this.spare = chunk.next;
      this.spareChunks--;
    }
    this.chunks++;
    chunk.next = NO_CHUNK;
    chunk.count = 0;
    return chunk;
  }

  /** Returns the chunk behind it. */
  private free(chunk: Chunk): Chunk {
    const next = chunk.next;
    this.chunks--;
    if (this.spareChunks > this.chunks + SPARE_CHUNKS) heap.free(changetype<usize>(chunk));
    else {
      chunk.next = this.spare;
      this.spare = chunk;
      this.spareChunks++;
    }
    return next;
  }
}

@inline
function entryAt(chunk: Chunk, index: u32): Entry {
  return changetype<Entry>(changetype<usize>(chunk) + CHUNK_HEAD_BYTES + <usize>index * ENTRY_BYTES);
}

/** Times as numbers without a sign, in the same order. */
@inline
function placeOf(timeUs: i64): u64 {
  return <u64>timeUs ^ SIGN;
}

@inline
function timeOf(place: u64): i64 {
  return <i64>(place ^ SIGN);
}
