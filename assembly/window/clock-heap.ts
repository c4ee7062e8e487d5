import { ByteBuffer } from "../memory/bytes";

/** A source under a time at or before its clock. */
@unmanaged
class Entry {
  time: i64;
  source: u32;
  unused: u32;
}

const ENTRY_BYTES: u32 = offsetof<Entry>();

/**
 * Sources by a time, the least first: a binary heap whose times stand beside the sources, so that it is kept in order
 * without a look at these. Clocks only rise, and who asks for the least corrects the first entry until it tells its source's
 * clock: an event costs the heap nothing, and an entry moves when it has come to the top.
 *
 * Invariant: no entry's time is after its source's clock, so that the first one whose time is its clock is the least of all.
 */
@unmanaged
export class ClockHeap {
  entries: ByteBuffer;
  count: u32;

  static create(): ClockHeap {
    const self = changetype<ClockHeap>(heap.alloc(offsetof<ClockHeap>()));
    self.entries = ByteBuffer.create(ENTRY_BYTES * 4);
    self.count = 0;
    return self;
  }

  dispose(): void {
    this.entries.dispose();
    heap.free(changetype<usize>(this));
  }

  @inline clear(): void {
    this.count = 0;
    this.entries.reset();
  }

  @inline private at(place: u32): Entry {
    return changetype<Entry>(this.entries.data + <usize>place * ENTRY_BYTES);
  }

  @inline sourceAt(place: u32): u32 {
    return this.at(place).source;
  }

  @inline timeAt(place: u32): i64 {
    return this.at(place).time;
  }

  push(time: i64, source: u32): void {
    this.entries.length = this.count * ENTRY_BYTES;
    this.entries.reserve(ENTRY_BYTES);
    this.entries.length += ENTRY_BYTES;
    let place = this.count++;
    while (place != 0) {
      const parent = this.at((place - 1) >> 1);
      if (parent.time <= time) break;
      this.put(place, parent.time, parent.source);
      place = (place - 1) >> 1;
    }
    this.put(place, time, source);
  }

  /** Gives the first entry a later time. */
  delayFirst(time: i64): void {
    this.sink(time, this.at(0).source);
  }

  removeFirst(): void {
    const last = this.at(--this.count);
    if (this.count != 0) this.sink(last.time, last.source);
  }

  /** Puts an entry in the place of the first, or below. */
  private sink(time: i64, source: u32): void {
    let place: u32 = 0;
    while (true) {
      let child = (place << 1) + 1;
      if (child >= this.count) break;
      if (child + 1 < this.count && this.at(child + 1).time < this.at(child).time) child++;
      const least = this.at(child);
      if (time <= least.time) break;
      this.put(place, least.time, least.source);
      place = child;
    }
    this.put(place, time, source);
  }

  @inline private put(place: u32, time: i64, source: u32): void {
    const entry = this.at(place);
    entry.time = time;
    entry.source = source;
  }

  bytes(): f64 {
    return <f64>this.entries.capacity;
  }
}
