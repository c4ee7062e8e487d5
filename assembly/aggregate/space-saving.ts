import { ByteBuffer } from "../memory/bytes";
import { equalBytes, nextSeed } from "../memory/dictionary";
import { isBytesAfter, sortNumbers } from "../state/sort";
import { readVarint, varintEnd, writeVarint } from "../state/varint";
import { BoxKind, boxes, boxOf, boxBool } from "./box";
import { countMemory } from "./memory";
import { compareValues, cutText, hashText, hashValue, ValueKind, writeValue } from "./value";

/**
 * topk and mode: the most frequent values and how often each was there, by Space-Saving counters.
 *
 * With c = max(256, 8·k): exact, and the same in any order, while there are at most 2c different values. When there are
 * more, the c most frequent are kept. From then on a value's count is at most `error` too great, `error` is at most
 * n / (c + 1) of n values, and every value that was there more often than that is among those kept. Memory: 48 bytes for
 * each of at most 2c values, and its text, of which the first 256 bytes count.
 *
 * Sources: A. Metwally, D. Agrawal, A. El Abbadi, "Efficient computation of frequent and top-k elements in data streams"
 * (2005); the merge, and cutting many counters back to c at once, are those of P. Agarwal, G. Cormode, Z. Huang, J. Phillips,
 * Z. Wei, K. Yi, "Mergeable summaries" (2012): count − floor is a Misra-Gries counter, and whatever is cut off lowers at
 * least c + 1 of these by as much as it raises the floor.
 */
const MIN_KEPT: u32 = 256;
const KEPT_PER_WANTED: u32 = 8;
const MAX_TEXT: u32 = 256;
const FIRST_CAPACITY: u32 = 4;
/** Counters that `reset` keeps memory for in any case. */
const MAX_SPARE: u32 = 64;

@unmanaged
class Counter {
  /** A number's, int's or bool's bits; for a text, where it stands in `texts`. */
  bits: u64;
  /** The value was there at most so often, */
  count: u64;
  /** and at least count − error. */
  error: u64;
  kind: ValueKind;
  length: u32;
  hash: u32;
  unused: u32;
}

const COUNTER_BYTES: u32 = offsetof<Counter>();
/** Odd and unpredictable, so that nobody can send values that collide. */
let seed: u64 = 0;

/**
 * Invariant: the table holds counter number + 1 (0 is free), its size is a power of two and at least twice `capacity`.
 */
@unmanaged
export class SpaceSaving {
  counters: usize; // Counter[capacity]
  count: u32;
  capacity: u32;
  table: usize; // u32[2 · capacity]
  /** c */
  kept: u32;
  texts: ByteBuffer;
  /** No value that has no counter was there more often. */
  floor: u64;

  static create(wanted: u32): SpaceSaving {
    const self = changetype<SpaceSaving>(heap.alloc(offsetof<SpaceSaving>()));
    if (seed == 0) seed = nextSeed() | 1;
    self.kept = max(MIN_KEPT, wanted * KEPT_PER_WANTED);
    self.capacity = FIRST_CAPACITY;
    self.counters = heap.alloc(FIRST_CAPACITY * COUNTER_BYTES);
    self.table = heap.alloc(FIRST_CAPACITY << 3);
    memory.fill(self.table, 0, FIRST_CAPACITY << 3);
    self.texts = ByteBuffer.create(32);
    self.count = 0;
    self.floor = 0;
    countMemory(self.bytes());
    return self;
  }

  private bytes(): i32 {
    return <i32>(offsetof<SpaceSaving>() + this.capacity * (COUNTER_BYTES + 8) + this.texts.capacity);
  }

  dispose(): void {
    countMemory(-this.bytes());
    heap.free(this.counters);
    heap.free(this.table);
    this.texts.dispose();
    heap.free(changetype<usize>(this));
  }

  /** Forgets the values. Memory that was hardly used is given back: emptying it costs more than the values did. */
  reset(): void {
    if (this.capacity > MAX_SPARE && this.count << 3 < this.capacity) {
      countMemory(-this.bytes());
      this.shrink(FIRST_CAPACITY);
      countMemory(this.bytes());
    }
    memory.fill(this.table, 0, this.capacity << 3);
    this.texts.reset();
    this.count = 0;
    this.floor = 0;
  }

  private shrink(capacity: u32): void {
    heap.free(this.counters);
    heap.free(this.table);
    this.capacity = capacity;
    this.counters = heap.alloc(capacity * COUNTER_BYTES);
    this.table = heap.alloc(capacity << 3);
  }

  @inline counter(index: u32): Counter {
    return changetype<Counter>(this.counters + <usize>index * COUNTER_BYTES);
  }

  /** Counts a value that is no text `times` more; `settle` follows the last of several. */
  @inline add(kind: ValueKind, bits: u64, times: u64): void {
    this.raise(this.find(kind, bits), times, 0);
  }

  /** Counts a text `times` more. */
  addText(text: usize, length: u32, times: u64): void {
    this.raise(this.findText(text, cutText(text, length, MAX_TEXT)), times, 0);
  }

  /** Adds to a counter; a new one (count 0) may have been there up to the floor before. */
  @inline private raise(counter: Counter, times: u64, error: u64): void {
    if (counter.count == 0) {
      counter.count = times + this.floor;
      counter.error = error + this.floor;
      return;
    }
    counter.count += times;
    counter.error += error;
  }

  private find(kind: ValueKind, bits: u64): Counter {
    const hash = finish(hashValue(kind, bits));
    const mask = (this.capacity << 1) - 1;
    let slot = hash & mask;
    while (true) {
      const stored = load<u32>(this.table + (<usize>slot << 2));
      if (stored == 0) break;
      const counter = this.counter(stored - 1);
      if (counter.bits == bits && counter.kind == kind) return counter;
      slot = (slot + 1) & mask;
    }
    return this.insert(kind, bits, 0, hash);
  }

  private findText(text: usize, length: u32): Counter {
    const hash = finish(hashText(text, length, seed));
    const mask = (this.capacity << 1) - 1;
    let slot = hash & mask;
    while (true) {
      const stored = load<u32>(this.table + (<usize>slot << 2));
      if (stored == 0) break;
      const counter = this.counter(stored - 1);
      if (counter.hash == hash && counter.kind == ValueKind.Text && counter.length == length) {
        if (equalBytes(this.textAt(counter), text, length)) return counter;
      }
      slot = (slot + 1) & mask;
    }
    const before = this.texts.capacity;
    const at = this.texts.append(text, length);
    countMemory(<i32>(this.texts.capacity - before));
    return this.insert(ValueKind.Text, at, length, hash);
  }

  @inline private textAt(counter: Counter): usize {
    return this.texts.data + <usize>counter.bits;
  }

  private insert(kind: ValueKind, bits: u64, length: u32, hash: u32): Counter {
    if (this.count == this.capacity) this.grow();
    const index = this.count++;
    const counter = this.counter(index);
    counter.kind = kind;
    counter.bits = bits;
    counter.length = length;
    counter.hash = hash;
    counter.count = 0;
    counter.error = 0;
    this.enter(index);
    return counter;
  }

  private enter(index: u32): void {
    const mask = (this.capacity << 1) - 1;
    let slot = this.counter(index).hash & mask;
    while (load<u32>(this.table + (<usize>slot << 2)) != 0) slot = (slot + 1) & mask;
    store<u32>(this.table + (<usize>slot << 2), index + 1);
  }

  private grow(): void {
    countMemory(<i32>(this.capacity * (COUNTER_BYTES + 8)));
    this.capacity <<= 1;
    this.counters = heap.realloc(this.counters, this.capacity * COUNTER_BYTES);
    heap.free(this.table);
    this.table = heap.alloc(this.capacity << 3);
    this.enterAll();
  }

  private enterAll(): void {
    memory.fill(this.table, 0, this.capacity << 3);
    for (let i: u32 = 0; i < this.count; i++) this.enter(i);
  }

  /** Cuts back to c counters when there are more than 2c. */
  settle(): void {
    if (this.count <= this.kept << 1) return;
    const order = this.sorted(isLessFrequent);
    this.floor = max(this.floor, this.counter(load<u32>(order + (<usize>this.kept << 2))).count);
    countMemory(-this.bytes());
    const old = this.counters;
    const oldTexts = this.texts;
    heap.free(this.table);
    this.capacity = this.kept;
    while (this.capacity & (this.capacity - 1)) this.capacity += this.capacity & -this.capacity;
    this.counters = heap.alloc(this.capacity * COUNTER_BYTES);
    this.table = heap.alloc(this.capacity << 3);
    this.texts = ByteBuffer.create(1024);
    this.count = this.kept;
    for (let i: u32 = 0; i < this.kept; i++) {
      const from = changetype<Counter>(old + <usize>load<u32>(order + (<usize>i << 2)) * COUNTER_BYTES);
      const to = this.counter(i);
      memory.copy(changetype<usize>(to), changetype<usize>(from), COUNTER_BYTES);
      if (from.kind == ValueKind.Text) to.bits = this.texts.append(oldTexts.data + <usize>from.bits, from.length);
    }
    this.enterAll();
    countMemory(this.bytes());
    heap.free(old);
    oldTexts.dispose();
    heap.free(order);
  }

  /** Counter numbers (u32; the caller frees them) in an order. */
  private sorted(isAfter: (context: usize, a: u32, b: u32) => bool): usize {
    const order = heap.alloc((<usize>this.count << 2) + 1);
    for (let i: u32 = 0; i < this.count; i++) store<u32>(order + (<usize>i << 2), i);
    sortNumbers(order, this.count, changetype<usize>(this), isAfter);
    return order;
  }

  compare(a: Counter, b: Counter): i32 {
    const isText = a.kind == ValueKind.Text;
    if (isText != (b.kind == ValueKind.Text)) return isText ? 1 : -1;
    if (!isText) return compareValues(a.kind, a.bits, b.kind, b.bits);
    return isBytesAfter(this.textAt(a), a.length, this.textAt(b), b.length) ? 1 : -1;
  }

  /** The k most frequent values; of equally frequent ones the smaller first. */
  top(k: u32): f64 {
    const order = this.sorted(isLessFrequent);
    const at = boxes.length;
    const n = min(k, this.count);
    boxes.u32(n);
    for (let i: u32 = 0; i < n; i++) {
      const counter = this.counter(load<u32>(order + (<usize>i << 2)));
      writeValue(boxes, counter.kind, counter.bits, this.textAt(counter), counter.length);
      boxes.u64(counter.count);
      boxes.u64(counter.error);
    }
    heap.free(order);
    return boxOf(BoxKind.Top, at);
  }

  /** The most frequent value; the smallest of several. There is one. */
  mode(): f64 {
    let best: u32 = 0;
    for (let i: u32 = 1; i < this.count; i++) if (isLessFrequent(changetype<usize>(this), best, i)) best = i;
    const counter = this.counter(best);
    if (counter.kind == ValueKind.Number) return reinterpret<f64>(counter.bits);
    if (counter.kind == ValueKind.Bool) return boxBool(counter.bits != 0);
    const at = boxes.length;
    if (counter.kind == ValueKind.Int) {
      boxes.u64(counter.bits);
      return boxOf(BoxKind.Int, at);
    }
    boxes.u32(counter.length);
    boxes.append(this.textAt(counter), counter.length);
    return boxOf(BoxKind.Text, at);
  }

  /** Puts the counters in the order of their values, so that equal states are written as equal bytes. */
  normalize(): void {
    const order = this.sorted(isGreater);
    const old = this.counters;
    this.counters = heap.alloc(this.capacity * COUNTER_BYTES);
    for (let i: u32 = 0; i < this.count; i++) {
      const from = old + <usize>load<u32>(order + (<usize>i << 2)) * COUNTER_BYTES;
      memory.copy(changetype<usize>(this.counter(i)), from, COUNTER_BYTES);
    }
    this.enterAll();
    heap.free(old);
    heap.free(order);
  }

  /** floor, counters, then each: value, count, error. */
  write(out: ByteBuffer): void {
    writeVarint(out, this.floor);
    writeVarint(out, this.count);
    for (let i: u32 = 0; i < this.count; i++) {
      const counter = this.counter(i);
      writeValue(out, counter.kind, counter.bits, this.textAt(counter), counter.length);
      writeVarint(out, counter.count);
      writeVarint(out, counter.error);
    }
  }

  /** Merges what `write` wrote; returns the address behind it. */
  addWritten(at: usize): usize {
    const floor = readVarint(at);
    const count = <u32>readVarint(varintEnd);
    at = varintEnd;
    // What the other has no counter for may have been there up to its floor; what it has gets that back.
    if (floor != 0) {
      for (let i: u32 = 0; i < this.count; i++) {
        this.counter(i).count += floor;
        this.counter(i).error += floor;
      }
    }
    const known = this.count;
    for (let i: u32 = 0; i < count; i++) {
      const kind = <ValueKind>load<u8>(at);
      const before = this.count;
      let counter: Counter;
      if (kind == ValueKind.Text) {
        const length = load<u32>(at, 1);
        counter = this.findText(at + 5, length);
        at += 5 + length;
      } else {
        counter = this.find(kind, load<u64>(at, 1));
        at += 9;
      }
      const times = readVarint(at);
      const error = readVarint(varintEnd);
      at = varintEnd;
      if (this.count != before) this.raise(counter, times, error);
      else {
        counter.count += times - floor;
        counter.error += error - floor;
      }
    }
    if (known == 0 && this.floor == 0) {
      this.floor = floor;
      return at;
    }
    this.floor += floor;
    this.settle();
    return at;
  }
}

@inline
function finish(hash: u64): u32 {
  return <u32>((hash * seed) >> 32);
}

function isLessFrequent(context: usize, a: u32, b: u32): bool {
  const summary = changetype<SpaceSaving>(context);
  const first = summary.counter(a);
  const second = summary.counter(b);
  if (first.count != second.count) return first.count < second.count;
  return summary.compare(first, second) > 0;
}

function isGreater(context: usize, a: u32, b: u32): bool {
  const summary = changetype<SpaceSaving>(context);
  return summary.compare(summary.counter(a), summary.counter(b)) > 0;
}
