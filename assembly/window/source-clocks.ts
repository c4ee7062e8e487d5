import { ByteBuffer } from "../memory/bytes";
import { Dictionary, NOT_INTERNED } from "../memory/dictionary";
import { OffsetSketch, SKETCH_BYTES } from "./offset-sketch";
import { NO_TIME, SOURCES_HEAD_BYTES, SOURCES_VERSION } from "./sources";

const NONE: u32 = 0xffffffff;
/** The median is that of a source's last events: a sketch of so many, then a new one … */
const GENERATION_EVENTS: u32 = 4096;
/** … which counts as soon as it has so many; until then the one before it tells. */
const ENOUGH_EVENTS: u32 = 1024;
/** Sources are forgotten as soon as this share of the limit can be: each time costs a copy of those that stay. */
const FORGOTTEN_SHARE: u32 = 64;
/** Sources with clock skew that are named. */
const MAX_NAMED: u32 = 20;

/** One source. Its sketch stands behind it. Times in µs. */
@unmanaged
export class Source {
  /** Greatest event time without clock skew; `NO_TIME` before the first: such a source has no clock yet. */
  maxTime: i64;
  /** Log time of its last event without clock skew; `NO_TIME` before the first. */
  lastSeen: i64;
  events: u64;
  skewed: u64;
  /** Median of the sketch before this one; NaN when there was none. */
  earlierMedian: f64;
  /** Its place in the heap, or NONE. */
  heapAt: u32;
  /** Neighbours in the list of active sources. */
  before: u32;
  after: u32;
  isActive: u32;

  @inline get sketch(): OffsetSketch {
    return changetype<OffsetSketch>(changetype<usize>(this) + offsetof<Source>());
  }

  /** Median offset of event time to arrival over its last events, in µs: above 0 its clock is ahead. NaN: no events. */
  median(): f64 {
    const sketch = this.sketch;
    const isThin = sketch.total < ENOUGH_EVENTS && this.earlierMedian == this.earlierMedian;
    return isThin ? this.earlierMedian : sketch.median();
  }
}

export const SOURCE_SIZE: u32 = offsetof<Source>() + SKETCH_BYTES;

/**
 * The clocks of a stream's sources. A source's watermark is its greatest event time − bound; it is active from an event
 * on until `idleUs` of log time without one. Log time is the greatest arrival or tick in the log so far, so that state
 * is a function of the log.
 *
 * Invariants: `logTime` never goes back. The list of active sources is in the order of `lastSeen`. With `isPerSource` the
 * heap holds the active sources, least `maxTime` first. Cost: O(log sources) for each source of a summary.
 *
 * At most `limit` sources are known. To make room, sources are forgotten that are idle and cannot hold anything back
 * when they return: their watermark is not ahead of the stream's. Where that would make hardly any, events of further
 * sources are counted in `untrackedEvents`, and hold nothing back.
 */
@unmanaged
export class SourceClocks {
  boundUs: i64;
  idleUs: i64;
  isPerSource: u32;
  limit: u32;
  logTime: i64;
  maxTime: i64;
  untrackedEvents: u64;
  /** Grows with every event that has clock skew. */
  skewedEvents: u64;
  keys: Dictionary;
  sources: ByteBuffer; // Source by number
  heap: ByteBuffer; // u32: source by place
  heapCount: u32;
  first: u32;
  last: u32;
  activeCount: u32;
  /** The sources with the most clock-skewed events, in no order: u32 each. Counts only grow, so this stays exact. */
  named: ByteBuffer;
  /** What to merge or restore: the host writes it here. */
  input: ByteBuffer;
  out: ByteBuffer;

  static create(): SourceClocks {
    const self = changetype<SourceClocks>(heap.alloc(offsetof<SourceClocks>()));
    self.boundUs = 0;
    self.idleUs = i64.MAX_VALUE;
    self.isPerSource = 0;
    self.limit = 1;
    self.keys = Dictionary.create();
    self.sources = ByteBuffer.create(SOURCE_SIZE * 8);
    self.heap = ByteBuffer.create(64);
    self.named = ByteBuffer.create(MAX_NAMED << 2);
    self.input = ByteBuffer.create(1024);
    self.out = ByteBuffer.create(1024);
    self.clear();
    return self;
  }

  clear(): void {
    this.logTime = NO_TIME;
    this.maxTime = NO_TIME;
    this.untrackedEvents = 0;
    this.skewedEvents = 0;
    this.keys.reset();
    this.sources.reset();
    this.heapCount = 0;
    this.first = NONE;
    this.last = NONE;
    this.activeCount = 0;
    this.named.reset();
  }

  /** Changes the settings; the clocks stay. */
  configure(boundUs: i64, idleUs: i64, isPerSource: bool, limit: u32): void {
    this.boundUs = boundUs;
    this.idleUs = idleUs;
    this.limit = limit;
    if (<bool>this.isPerSource == isPerSource) return;
    this.isPerSource = isPerSource ? 1 : 0;
    this.heapCount = 0;
    for (let s = this.first; s != NONE; s = this.source(s).after) {
      this.source(s).heapAt = NONE;
      if (isPerSource) this.push(s);
    }
  }

  @inline source(index: u32): Source {
    return changetype<Source>(this.sources.data + <usize>index * SOURCE_SIZE);
  }

  /** Takes in the summary in `input` (see sources.ts) of a batch that arrived then. False: of another version. */
  merge(arrivalUs: i64, watermarkUs: i64): bool {
    let at = this.input.data;
    if (this.input.length < SOURCES_HEAD_BYTES || load<u32>(at) != SOURCES_VERSION) return false;
    const count = load<u32>(at, 4);
    if (load<i64>(at, 8) > this.maxTime) this.maxTime = load<i64>(at, 8);
    this.untrackedEvents += load<u32>(at, 16);
    this.skewedEvents += load<u32>(at, 20);
    at += SOURCES_HEAD_BYTES;
    this.advance(arrivalUs);
    let mayForget = true;
    for (let i: u32 = 0; i < count; i++) {
      const keyLength = load<u32>(at);
      const key = at + 4;
      const row = key + keyLength;
      const maxTime = load<i64>(row);
      this.skewedEvents += load<u32>(row, 12);
      if (maxTime > this.maxTime) this.maxTime = maxTime;
      if (this.keys.count >= this.limit && mayForget && this.keys.find(key, keyLength) == NOT_INTERNED) {
        mayForget = false;
        this.forgetIdle(watermarkUs);
      }
      const number = this.numberOf(key, keyLength);
      if (number == NONE) {
        this.untrackedEvents += load<u32>(row, 8);
        at = row + 24 + load<u32>(row, 20) * 8;
      } else at = this.take(number, row, maxTime);
    }
    this.expire();
    return true;
  }

  /** A tick: log time goes on, and sources may become idle. A resuming one gives active sources their time anew. */
  tick(atUs: i64, isResume: bool): void {
    this.advance(atUs);
    if (isResume) {
      for (let s = this.first; s != NONE; s = this.source(s).after) this.source(s).lastSeen = this.logTime;
    }
    this.expire();
  }

  /** What the sources allow the stream's watermark to be; `NO_TIME` before the first event. */
  watermark(): i64 {
    const slowest = this.slowest();
    const time = slowest == NONE ? this.maxTime : this.source(slowest).maxTime;
    return time == NO_TIME ? NO_TIME : time - this.boundUs;
  }

  /** The source that holds the watermark back, or NONE. */
  slowest(): u32 {
    return this.heapCount == 0 ? NONE : load<u32>(this.heap.data);
  }

  /** Whether a tick at that time would move the watermark. */
  wouldMove(atUs: i64, watermarkUs: i64): bool {
    if (!this.isPerSource || this.heapCount == 0 || atUs <= this.logTime) return false;
    if (this.isHeldAt(0, atUs - this.idleUs, watermarkUs)) return false;
    return this.maxTime - this.boundUs > watermarkUs;
  }

  /** Whether below this place of the heap some source holds the watermark that was seen after `idleSince`. */
  private isHeldAt(place: u32, idleSince: i64, watermarkUs: i64): bool {
    if (place >= this.heapCount) return false;
    const source = this.source(this.heapSource(place));
    if (source.maxTime - this.boundUs > watermarkUs) return false;
    if (source.lastSeen > idleSince) return true;
    const child = (place << 1) + 1;
    return this.isHeldAt(child, idleSince, watermarkUs) || this.isHeldAt(child + 1, idleSince, watermarkUs);
  }

  private advance(toUs: i64): void {
    if (toUs > this.logTime) this.logTime = toUs;
  }

  private numberOf(key: usize, length: u32): u32 {
    if (this.keys.count < this.limit) {
      const number = this.keys.intern(key, length);
      if (<usize>number * SOURCE_SIZE == this.sources.length) this.addSource();
      return number;
    }
    const number = this.keys.find(key, length);
    return number == NOT_INTERNED ? NONE : number;
  }

  /** Room for one more, empty and not active. */
  addSource(): Source {
    const at = changetype<Source>(this.sources.reserve(SOURCE_SIZE));
    this.sources.length += SOURCE_SIZE;
    at.maxTime = NO_TIME;
    at.lastSeen = NO_TIME;
    at.events = 0;
    at.skewed = 0;
    at.earlierMedian = NaN;
    at.heapAt = NONE;
    at.before = NONE;
    at.after = NONE;
    at.isActive = 0;
    at.sketch.clear();
    return at;
  }

  private take(number: u32, row: usize, maxTime: i64): usize {
    const source = this.source(number);
    const skewed = load<u32>(row, 12);
    source.events += load<u32>(row, 8);
    if (skewed != 0) {
      source.skewed += skewed;
      this.name(number);
    }
    const sketch = source.sketch;
    if (sketch.total >= GENERATION_EVENTS) {
      source.earlierMedian = sketch.median();
      sketch.clear();
    }
    const end = sketch.mergeFrom(row + 16);
    if (maxTime == NO_TIME) return end;
    if (maxTime > source.maxTime) source.maxTime = maxTime;
    source.lastSeen = this.logTime;
    this.activate(number);
    return end;
  }

  /** Takes a source among the named ones when it has enough events with clock skew. */
  name(number: u32): void {
    const named = this.named;
    let least: usize = 0;
    for (let at = named.data; at < named.data + named.length; at += 4) {
      const other = load<u32>(at);
      if (other == number) return;
      if (least == 0 || this.source(other).skewed < this.source(load<u32>(least)).skewed) least = at;
    }
    if (named.length < MAX_NAMED << 2) named.u32(number);
    else if (this.source(number).skewed > this.source(load<u32>(least)).skewed) store<u32>(least, number);
  }

  /** Writes every source's median to `out`: f64 each. */
  writeMedians(): void {
    this.out.reset();
    for (let number: u32 = 0; number < this.keys.count; number++) this.out.f64(this.source(number).median());
  }

  /** To the end of the list, and into the heap or to its place there. */
  activate(number: u32): void {
    const source = this.source(number);
    if (source.isActive) this.unlink(source);
    else this.activeCount++;
    source.isActive = 1;
    source.before = this.last;
    source.after = NONE;
    if (this.last == NONE) this.first = number;
    else this.source(this.last).after = number;
    this.last = number;
    if (!this.isPerSource) return;
    if (source.heapAt == NONE) this.push(number);
    else this.siftDown(source.heapAt);
  }

  private push(number: u32): void {
    this.heap.length = this.heapCount << 2;
    this.heap.u32(number);
    this.source(number).heapAt = this.heapCount;
    this.siftUp(this.heapCount++);
  }

  private unlink(source: Source): void {
    if (source.before == NONE) this.first = source.after;
    else this.source(source.before).after = source.after;
    if (source.after == NONE) this.last = source.before;
    else this.source(source.after).before = source.before;
  }

  private expire(): void {
    while (this.first != NONE && this.logTime - this.source(this.first).lastSeen >= this.idleUs) {
      const source = this.source(this.first);
      this.unlink(source);
      source.isActive = 0;
      this.activeCount--;
      if (source.heapAt == NONE) continue;
      const place = source.heapAt;
      source.heapAt = NONE;
      this.heapCount--;
      if (place == this.heapCount) continue;
      this.place(this.heapSource(this.heapCount), place);
      this.siftUp(place);
      this.siftDown(place);
    }
  }

  @inline private heapSource(place: u32): u32 {
    return load<u32>(this.heap.data + (<usize>place << 2));
  }

  @inline private place(number: u32, at: u32): void {
    store<u32>(this.heap.data + (<usize>at << 2), number);
    this.source(number).heapAt = at;
  }

  private siftUp(at: u32): void {
    const number = this.heapSource(at);
    const time = this.source(number).maxTime;
    while (at != 0) {
      const parent = this.heapSource((at - 1) >> 1);
      if (this.source(parent).maxTime <= time) break;
      this.place(parent, at);
      at = (at - 1) >> 1;
    }
    this.place(number, at);
  }

  private siftDown(at: u32): void {
    const number = this.heapSource(at);
    const time = this.source(number).maxTime;
    while (true) {
      let child = (at << 1) + 1;
      if (child >= this.heapCount) break;
      const right = child + 1;
      if (
        right < this.heapCount &&
        this.source(this.heapSource(right)).maxTime < this.source(this.heapSource(child)).maxTime
      ) {
        child = right;
      }
      const least = this.heapSource(child);
      if (time <= this.source(least).maxTime) break;
      this.place(least, at);
      at = child;
    }
    this.place(number, at);
  }

  /** Whether an idle source could return and hold the watermark back. */
  @inline private isAhead(source: Source, watermarkUs: i64): bool {
    return this.isPerSource != 0 && source.maxTime != NO_TIME && source.maxTime - this.boundUs > watermarkUs;
  }

  /** How many sources are idle and not ahead. Cost: nothing without clocks by source, else a look at every source. */
  private countForgettable(watermarkUs: i64): u32 {
    const idle = this.keys.count - this.activeCount;
    if (!this.isPerSource || idle == 0) return idle;
    let count: u32 = 0;
    for (let number: u32 = 0; number < this.keys.count; number++) {
      const source = this.source(number);
      if (!source.isActive && !this.isAhead(source, watermarkUs)) count++;
    }
    return count;
  }

  /** Forgets idle sources that could return without holding the watermark back, if they are enough. Cost: a copy of all. */
  private forgetIdle(watermarkUs: i64): void {
    if (this.countForgettable(watermarkUs) < max<u32>(1, this.limit / FORGOTTEN_SHARE)) return;
    const oldKeys = this.keys;
    const oldSources = this.sources;
    const first = this.first;
    const count = oldKeys.count;
    this.keys = Dictionary.create();
    this.sources = ByteBuffer.create(oldSources.capacity);
    this.heapCount = 0;
    this.activeCount = 0;
    this.first = NONE;
    this.last = NONE;
    this.named.reset();
    for (let number = first; number != NONE; ) {
      const old = changetype<Source>(oldSources.data + <usize>number * SOURCE_SIZE);
      const next = old.after;
      this.keep(oldKeys, number, old);
      number = next;
    }
    for (let number: u32 = 0; number < count; number++) {
      const old = changetype<Source>(oldSources.data + <usize>number * SOURCE_SIZE);
      if (!old.isActive && this.isAhead(old, watermarkUs)) this.keep(oldKeys, number, old);
    }
    oldKeys.dispose();
    oldSources.dispose();
  }

  private keep(oldKeys: Dictionary, oldNumber: u32, old: Source): void {
    const number = this.keys.intern(oldKeys.pointer(oldNumber), oldKeys.length(oldNumber));
    const source = this.addSource();
    const isActive = old.isActive;
    memory.copy(changetype<usize>(source), changetype<usize>(old), SOURCE_SIZE);
    source.heapAt = NONE;
    source.isActive = 0;
    if (isActive) this.activate(number);
    if (source.skewed != 0) this.name(number);
  }

  /** Bytes of memory. */
  bytes(): f64 {
    const dictionary = this.keys;
    const table = <f64>dictionary.capacity * 32 + <f64>dictionary.bytes.capacity + <f64>dictionary.tableMask * 4;
    return table + <f64>this.sources.capacity + <f64>this.heap.capacity;
  }

  dispose(): void {
    this.keys.dispose();
    this.sources.dispose();
    this.heap.dispose();
    this.named.dispose();
    this.input.dispose();
    this.out.dispose();
    heap.free(changetype<usize>(this));
  }
}
