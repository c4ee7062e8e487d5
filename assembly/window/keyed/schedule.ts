import { ByteBuffer } from "../../memory/bytes";

/** Something to be done to a key at a time. */
@unmanaged
class Entry {
  timeUs: i64;
  key: u32;
  unused: u32;
}

const ENTRY_SHIFT: u32 = 4;

/**
 * Keys by time, the earliest first: a heap (Williams, "Algorithm 232: Heapsort", 1964) whose nodes have four children, next to
 * each other in memory (LaMarca, Ladner, "The influence of caches on the performance of heaps", 1996). O(log n) a change.
 */
@unmanaged
export class Schedule {
  entries: ByteBuffer; // Entry

  static create(): Schedule {
    const self = changetype<Schedule>(heap.alloc(offsetof<Schedule>()));
    self.entries = ByteBuffer.create(256);
    return self;
  }

  dispose(): void {
    this.entries.dispose();
    heap.free(changetype<usize>(this));
  }

  @inline clear(): void {
    this.entries.reset();
  }

  @inline get count(): u32 {
    return this.entries.length >> ENTRY_SHIFT;
  }

  /** Only while `count` is not 0; so too the two below. */
  @inline get firstUs(): i64 {
    return this.entry(0).timeUs;
  }

  @inline get firstKey(): u32 {
    return this.entry(0).key;
  }

  push(timeUs: i64, key: u32): void {
    let at = this.count;
    this.entries.reserve(1 << ENTRY_SHIFT);
    this.entries.length += 1 << ENTRY_SHIFT;
    while (at > 0) {
      const parent = (at - 1) >> 2;
      if (this.entry(parent).timeUs <= timeUs) break;
      this.move(parent, at);
      at = parent;
    }
    this.set(at, timeUs, key);
  }

  pop(): void {
    const last = this.count - 1;
    const timeUs = this.entry(last).timeUs;
    const key = this.entry(last).key;
    this.entries.length -= 1 << ENTRY_SHIFT;
    if (last > 0) this.sink(timeUs, key);
  }

  /** Gives the first entry another time, not before its own. */
  @inline postpone(timeUs: i64): void {
    this.sink(timeUs, this.firstKey);
  }

  private sink(timeUs: i64, key: u32): void {
    const count = this.count;
    let at: u32 = 0;
    while (true) {
      const first = (at << 2) + 1;
      if (first >= count) break;
      let child = first;
      let childUs = this.entry(first).timeUs;
      const end = min(first + 4, count);
      for (let other = first + 1; other < end; other++) {
        const otherUs = this.entry(other).timeUs;
        if (otherUs >= childUs) continue;
        childUs = otherUs;
        child = other;
      }
      if (childUs >= timeUs) break;
      this.move(child, at);
      at = child;
    }
    this.set(at, timeUs, key);
  }

  @inline private entry(index: u32): Entry {
    return changetype<Entry>(this.entries.data + (<usize>index << ENTRY_SHIFT));
  }

  @inline private move(from: u32, to: u32): void {
    this.set(to, this.entry(from).timeUs, this.entry(from).key);
  }

  @inline private set(index: u32, timeUs: i64, key: u32): void {
    const entry = this.entry(index);
    entry.timeUs = timeUs;
    entry.key = key;
  }
}
