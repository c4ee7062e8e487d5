import { countMemory } from "../../aggregate/memory";
import { ByteBuffer } from "../../memory/bytes";
import { isBytesAfter } from "../../state/sort";

/** An event that waits for its key's clock: its time, and where its fields' states stand in `Waiting.bytes`. */
@unmanaged
export class WaitingEvent {
  timeUs: i64;
  at: u32;
  length: u32;
}

const EVENT_SHIFT: u32 = 4;
/** Fewer events or bytes than this are not worth moving. */
const WORTH_MOVING: u32 = 1024;

/** What a run of events is copied to while it is merged. */
const run = ByteBuffer.create(1024);

/**
 * The events of one key that wait for its clock, in the order of time, those of one time in the order of their bytes: so
 * the order of arrival does not show. Events before `head` are gone.
 */
@unmanaged
export class Waiting {
  events: ByteBuffer; // WaitingEvent
  head: u32;
  bytes: ByteBuffer;
  /** Bytes of events that are gone. */
  deadBytes: u32;
  /** Bytes of memory that were counted. */
  counted: u32;

  static create(): Waiting {
    const self = changetype<Waiting>(heap.alloc(offsetof<Waiting>()));
    self.events = ByteBuffer.create(64);
    self.head = 0;
    self.bytes = ByteBuffer.create(64);
    self.deadBytes = 0;
    self.counted = 0;
    return self;
  }

  dispose(): void {
    countMemory(-(<i32>this.counted));
    this.events.dispose();
    this.bytes.dispose();
    heap.free(changetype<usize>(this));
  }

  /** Behind the last event; those that wait are from `head` on. */
  @inline get end(): u32 {
    return this.events.length >> EVENT_SHIFT;
  }

  @inline get isEmpty(): bool {
    return this.head == this.end;
  }

  @inline event(index: u32): WaitingEvent {
    return changetype<WaitingEvent>(this.events.data + (<usize>index << EVENT_SHIFT));
  }

  @inline state(event: WaitingEvent): usize {
    return this.bytes.data + event.at;
  }

  /** Appends an event; `settle` then puts it in its place. */
  push(timeUs: i64, state: usize, length: u32): void {
    const at = this.bytes.append(state, length);
    this.events.reserve(1 << EVENT_SHIFT);
    this.events.length += 1 << EVENT_SHIFT;
    const event = this.event(this.end - 1);
    event.timeUs = timeUs;
    event.at = at;
    event.length = length;
  }

  /** Puts the events from `from` on, which are in the order of time among themselves, in their places. */
  settle(from: u32): void {
    this.account();
    for (let i = from + 1; i < this.end; i++) this.settleTie(from, i);
    if (from == this.head || from >= this.end || !this.isAfter(this.event(from - 1), this.event(from))) return;
    const length = this.events.length - (from << EVENT_SHIFT);
    run.reset();
    run.append(changetype<usize>(this.event(from)), length);
    let left = from;
    let right = length >> EVENT_SHIFT;
    // From the back: only what the run goes before is moved.
    for (let at = this.end; right > 0; ) {
      at--;
      const last = changetype<WaitingEvent>(run.data + (<usize>(right - 1) << EVENT_SHIFT));
      const takesLeft = left > this.head && this.isAfter(this.event(left - 1), last);
      const taken = takesLeft ? this.event(left - 1) : last;
      memory.copy(changetype<usize>(this.event(at)), changetype<usize>(taken), 1 << EVENT_SHIFT);
      if (takesLeft) left--;
      else right--;
    }
  }

  /** Moves an event before those of its time whose bytes are greater. */
  private settleTie(from: u32, index: u32): void {
    for (let i = index; i > from && this.isAfter(this.event(i - 1), this.event(i)); i--) {
      const place = changetype<usize>(this.event(i));
      const moved = v128.load(place);
      v128.store(place, v128.load(place - (1 << EVENT_SHIFT)));
      v128.store(place - (1 << EVENT_SHIFT), moved);
    }
  }

  private isAfter(a: WaitingEvent, b: WaitingEvent): bool {
    if (a.timeUs != b.timeUs) return a.timeUs > b.timeUs;
    return isBytesAfter(this.state(a), a.length, this.state(b), b.length);
  }

  /** Whether an event of that time is among those before number `end`. */
  has(timeUs: i64, end: u32): bool {
    let from = this.head;
    let to = end;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.event(middle).timeUs < timeUs) from = middle + 1;
      else to = middle;
    }
    return from < end && this.event(from).timeUs == timeUs;
  }

  /** The first event is gone. */
  @inline drop(): void {
    this.deadBytes += this.event(this.head).length;
    this.head++;
  }

  /** Gives back the memory of what is gone, once that is most of it. */
  tidy(): void {
    const live = this.end - this.head;
    if (this.head < WORTH_MOVING || this.head < live) return;
    memory.copy(this.events.data, changetype<usize>(this.event(this.head)), <usize>live << EVENT_SHIFT);
    this.events.length = live << EVENT_SHIFT;
    this.head = 0;
    if (this.deadBytes << 1 < this.bytes.length) return;
    const bytes = ByteBuffer.create(max<u32>(this.bytes.length - this.deadBytes, 64));
    for (let i: u32 = 0; i < live; i++) {
      const event = this.event(i);
      event.at = bytes.append(this.state(event), event.length);
    }
    this.bytes.dispose();
    this.bytes = bytes;
    this.deadBytes = 0;
    this.account();
  }

  /** Counts the memory that it has got or given back. */
  account(): void {
    const bytes = <u32>offsetof<Waiting>() + this.events.capacity + this.bytes.capacity;
    countMemory(<i32>(bytes - this.counted));
    this.counted = bytes;
  }
}
