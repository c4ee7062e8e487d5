import { ByteBuffer } from "../memory/bytes";
import { Dictionary, NOT_INTERNED } from "../memory/dictionary";
import { ClockHeap } from "./clock-heap";
import { DueTimes } from "./keyed/due-times";
import { OffsetSketch, SKETCH_BYTES } from "./offset-sketch";
import { BY_SOURCE, NO_TIME, OTHERS_BYTES, ROW_SKEWED, RowEntry, SOURCES_VERSION } from "./sources-summary";
import { coverText, KnownTexts, UNKNOWN_KEY } from "./text-keys";

const NONE: u32 = 0xffffffff;
/** Rows whose sources are fetched together: few enough that these stay in the nearest cache meanwhile. */
const BLOCK_ROWS: u32 = 128;
/** The median is that of a source's last events: a sketch of so many, then a new one … */
const GENERATION_EVENTS: u32 = 4096;
/** … which counts as soon as it has so many; until then the one before it tells. */
const ENOUGH_EVENTS: u32 = 1024;
/** Sources are forgotten as soon as this share of the limit can be: each time costs a copy of those that stay. */
const FORGOTTEN_SHARE: u32 = 64;
/** Sources with clock skew that are named. */
const MAX_NAMED: u32 = 20;

/**
 * One source. Its sketch stands behind it, so that what an event changes is in one cache line, and what is seldom needed in
 * front. Times in µs.
 */
@unmanaged
export class Source {
  skewed: u64;
  /** Median of the sketch before this one; NaN when there was none. */
  earlierMedian: f64;
  /** Greatest event time without clock skew; `NO_TIME` before the first: such a source has no clock yet. */
  maxTime: i64;
  /** Log time of its last event without clock skew; `NO_TIME` before the first. */
  lastSeen: i64;
  events: u64;
  isActive: u16;
  /** 1 while it has an entry in the heap; it may have become idle since. */
  isInHeap: u16;

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

/** A multiple of a cache line. */
export const SOURCE_SIZE: u32 = (offsetof<Source>() + SKETCH_BYTES + 63) & ~63;

/**
 * The clocks of a stream's sources. A source's watermark is its greatest event time − bound; it is active from an event
 * on until `idleUs` of log time without one. Log time is the greatest arrival or tick in the log so far, so that state
 * is a function of the log.
 *
 * Invariants: `logTime` never goes back. `silent` has an entry for each active source, not after its `lastSeen`; with
 * `isPerSource` the heap has one too, not after its `maxTime`. An event leaves both as they are: an entry is corrected when
 * its time has come, which is once in `idleUs`, or when it holds the watermark back. So the cost of an event is that of
 * finding its source.
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
  /** Grows whenever numbers change their meaning. */
  generation: u32;
  texts: KnownTexts;
  numbers: ByteBuffer; // u32: source by the summary's number, or NONE
  heap: ClockHeap;
  /** Active sources, by when they were seen. */
  silent: DueTimes;
  activeCount: u32;
  /** What was read of sources to have them at hand; of no meaning. */
  fetched: u32;
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
    self.generation = 0;
    self.fetched = 0;
    self.texts = KnownTexts.create();
    self.numbers = ByteBuffer.create(1024);
    self.heap = ClockHeap.create();
    self.silent = DueTimes.create();
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
    this.generation++;
    this.heap.clear();
    this.silent.clear();
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
    this.heap.clear();
    for (let s: u32 = 0; s < this.keys.count; s++) {
      this.source(s).isInHeap = 0;
      if (isPerSource && this.source(s).isActive) this.enterHeap(s);
    }
  }

  @inline source(index: u32): Source {
    return changetype<Source>(this.sources.data + <usize>index * SOURCE_SIZE);
  }

  /** Takes in the summary in `input` (see sources-summary.ts) of a batch that arrived then. False: of another version. */
  merge(arrivalUs: i64, watermarkUs: i64): bool {
    let at = this.input.data;
    if (this.input.length < 4 || load<u32>(at) != SOURCES_VERSION) return false;
    at += 4;
    if (load<i64>(at) > this.maxTime) this.maxTime = load<i64>(at);
    this.untrackedEvents += load<u32>(at, 8);
    this.skewedEvents += load<u32>(at, 12);
    at = this.findSources(at + OTHERS_BYTES, watermarkUs);
    this.advance(arrivalUs);
    const rows = load<u32>(at);
    if (rows == BY_SOURCE) this.takeSums(at + 4);
    else this.takeRows(changetype<RowEntry>(at + 4), rows);
    this.expire();
    return true;
  }

  /** Finds the sources of a summary, for `numbers`; returns what is behind them. */
  private findSources(at: usize, watermarkUs: i64): usize {
    const identity = load<u64>(at);
    const count = load<u32>(at, 8);
    const texts = at + 16;
    const keys = identity == 0 ? texts : texts + (<usize>count << 2);
    const before = this.keys.count;
    const isComplete = this.numberSources(identity, texts, keys, count);
    if (!isComplete && this.forgetIdle(watermarkUs, this.keys.count - before)) {
      this.numberSources(identity, texts, keys, count);
    }
    return keys + load<u32>(at, 12);
  }

  /** Makes sources known that are not, as far as there is room; false: there was none for some of them. */
  private numberSources(identity: u64, texts: usize, keys: usize, count: u32): bool {
    this.numbers.reset();
    const numbers = this.numbers.reserve(count << 2);
    this.numbers.length = count << 2;
    const known = identity == 0 ? changetype<ByteBuffer>(0) : this.texts.of(identity, this.generation);
    let at = keys;
    let isComplete = true;
    for (let i: u32 = 0; i < count; i++) {
      const length = load<u32>(at);
      let number = NONE;
      if (identity != 0) {
        const text = load<u32>(texts + (<usize>i << 2));
        coverText(known, text);
        number = load<u32>(known.data + (<usize>text << 2));
        if (number == UNKNOWN_KEY) {
          number = this.numberOf(at + 4, length);
          store<u32>(known.data + (<usize>text << 2), number);
        }
      } else number = this.numberOf(at + 4, length);
      if (number == NONE) isComplete = false;
      store<u32>(numbers + (<usize>i << 2), number);
      at += 4 + length;
    }
    return isComplete;
  }

  private takeSums(at: usize): void {
    const count = this.numbers.length >> 2;
    for (let i: u32 = 0; i < count; i++) {
      const number = load<u32>(this.numbers.data + (<usize>i << 2));
      const maxTime = load<i64>(at);
      this.skewedEvents += load<u32>(at, 12);
      if (maxTime > this.maxTime) this.maxTime = maxTime;
      if (number == NONE) {
        this.untrackedEvents += load<u32>(at, 8);
        at += 24 + <usize>load<u32>(at, 20) * 8;
      } else at = this.takeSum(number, at, maxTime);
    }
  }

  private takeRows(entry: RowEntry, count: u32): void {
    for (let from: u32 = 0; from < count; from += BLOCK_ROWS) {
      const rows = min(count - from, BLOCK_ROWS);
      this.fetch(entry, rows);
      entry = this.takeBlock(entry, rows);
    }
  }

  /** Has the sources of some rows come from memory all at once. */
  private fetch(entry: RowEntry, count: u32): void {
    let fetched: u32 = 0;
    for (let i: u32 = 0; i < count; i++, entry = nextRow(entry)) {
      const number = load<u32>(this.numbers.data + (<usize>(entry.source & ~ROW_SKEWED) << 2));
      const source = changetype<usize>(this.source(number == NONE ? 0 : number));
      fetched ^= load<u32>(source, offsetof<Source>("maxTime")) ^ load<u32>(source, offsetof<Source>());
    }
    this.fetched = fetched;
  }

  /** Returns the row behind them. */
  private takeBlock(entry: RowEntry, count: u32): RowEntry {
    const numbers = this.numbers.data;
    const logTime = this.logTime;
    let greatest = this.maxTime;
    for (let i: u32 = 0; i < count; i++, entry = nextRow(entry)) {
      const skewed = (entry.source & ROW_SKEWED) != 0;
      const number = load<u32>(numbers + (<usize>(entry.source & ~ROW_SKEWED) << 2));
      const time = skewed ? NO_TIME : entry.time;
      if (time > greatest) greatest = time;
      if (skewed) this.skewedEvents++;
      if (number == NONE) {
        this.untrackedEvents++;
        continue;
      }
      const source = this.source(number);
      source.events++;
      this.beginSketch(source);
      source.sketch.addBucket(entry.bucket);
      if (skewed) {
        source.skewed++;
        this.name(number);
        continue;
      }
      if (time > source.maxTime) source.maxTime = time;
      source.lastSeen = logTime;
      if (!source.isActive) this.activate(number);
    }
    this.maxTime = greatest;
    return entry;
  }

  /** A tick: log time goes on, and sources may become idle. A resuming one gives active sources their time anew. */
  tick(atUs: i64, isResume: bool): void {
    this.advance(atUs);
    if (isResume) {
      for (let s: u32 = 0; s < this.keys.count; s++) {
        if (this.source(s).isActive) this.source(s).lastSeen = this.logTime;
      }
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
    const heap = this.heap;
    while (heap.count != 0) {
      const number = heap.sourceAt(0);
      const source = this.source(number);
      if (!source.isActive) {
        source.isInHeap = 0;
        heap.removeFirst();
      } else if (heap.timeAt(0) < source.maxTime) heap.delayFirst(source.maxTime);
      else return number;
    }
    return NONE;
  }

  /** Whether a tick at that time would move the watermark. */
  wouldMove(atUs: i64, watermarkUs: i64): bool {
    if (!this.isPerSource || this.slowest() == NONE || atUs <= this.logTime) return false;
    if (this.isHeldAt(0, atUs - this.idleUs, watermarkUs)) return false;
    return this.maxTime - this.boundUs > watermarkUs;
  }

  /** Whether below this place of the heap some source holds the watermark that was seen after `idleSince`. */
  private isHeldAt(place: u32, idleSince: i64, watermarkUs: i64): bool {
    if (place >= this.heap.count || this.heap.timeAt(place) - this.boundUs > watermarkUs) return false;
    const source = this.source(this.heap.sourceAt(place));
    const isHolding = source.isActive != 0 && source.maxTime - this.boundUs <= watermarkUs;
    if (isHolding && source.lastSeen > idleSince) return true;
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
    at.isActive = 0;
    at.isInHeap = 0;
    at.sketch.clear();
    return at;
  }

  private takeSum(number: u32, row: usize, maxTime: i64): usize {
    const source = this.source(number);
    const skewed = load<u32>(row, 12);
    source.events += load<u32>(row, 8);
    if (skewed != 0) {
      source.skewed += skewed;
      this.name(number);
    }
    this.beginSketch(source);
    const end = source.sketch.mergeFrom(row + 16);
    if (maxTime == NO_TIME) return end;
    if (maxTime > source.maxTime) source.maxTime = maxTime;
    source.lastSeen = this.logTime;
    if (!source.isActive) this.activate(number);
    return end;
  }

  /** A new sketch, when the one there has enough. */
  @inline private beginSketch(source: Source): void {
    const sketch = source.sketch;
    if (sketch.total < GENERATION_EVENTS) return;
    source.earlierMedian = sketch.median();
    sketch.clear();
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

  /** A source that has been seen: `lastSeen` is set. */
  activate(number: u32): void {
    const source = this.source(number);
    source.isActive = 1;
    this.activeCount++;
    this.silent.push(source.lastSeen, number);
    if (this.isPerSource) this.enterHeap(number);
  }

  private enterHeap(number: u32): void {
    const source = this.source(number);
    if (source.isInHeap) return;
    source.isInHeap = 1;
    this.heap.push(source.maxTime, number);
  }

  /** Those that were seen last `idleUs` ago, or before, are active no more. */
  private expire(): void {
    if (this.activeCount == 0 || this.logTime < i64.MIN_VALUE + this.idleUs) return;
    const idleSince = this.logTime - this.idleUs;
    const silent = this.silent;
    while (silent.take(idleSince)) {
      const source = this.source(silent.key);
      if (source.lastSeen > idleSince) silent.push(source.lastSeen, silent.key);
      else {
        source.isActive = 0;
        this.activeCount--;
      }
    }
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

  /**
   * Forgets idle sources that could return without holding the watermark back, if they are enough without the `fresh` ones,
   * whose first events are about to be counted: then true. Cost: a copy of all.
   */
  private forgetIdle(watermarkUs: i64, fresh: u32): bool {
    if (this.countForgettable(watermarkUs) - fresh < max<u32>(1, this.limit / FORGOTTEN_SHARE)) return false;
    const oldKeys = this.keys;
    const oldSources = this.sources;
    const count = oldKeys.count;
    this.keys = Dictionary.create();
    this.sources = ByteBuffer.create(oldSources.capacity);
    this.generation++;
    this.heap.clear();
    this.silent.clear();
    this.activeCount = 0;
    this.named.reset();
    for (let number: u32 = 0; number < count; number++) {
      const old = changetype<Source>(oldSources.data + <usize>number * SOURCE_SIZE);
      if (old.isActive || this.isAhead(old, watermarkUs)) this.keep(oldKeys, number, old);
    }
    oldKeys.dispose();
    oldSources.dispose();
    return true;
  }

  private keep(oldKeys: Dictionary, oldNumber: u32, old: Source): void {
    const number = this.keys.intern(oldKeys.pointer(oldNumber), oldKeys.length(oldNumber));
    const source = this.addSource();
    const isActive = old.isActive;
    memory.copy(changetype<usize>(source), changetype<usize>(old), SOURCE_SIZE);
    source.isInHeap = 0;
    source.isActive = 0;
    if (isActive) this.activate(number);
    if (source.skewed != 0) this.name(number);
  }

  /** Bytes of memory. */
  bytes(): f64 {
    const dictionary = this.keys;
    const table = <f64>dictionary.capacity * 32 + <f64>dictionary.bytes.capacity + <f64>dictionary.tableMask * 4;
    const times = this.heap.bytes() + this.silent.bytes();
    return table + <f64>this.sources.capacity + times + this.texts.bytes() + <f64>this.numbers.capacity;
  }

  dispose(): void {
    this.keys.dispose();
    this.sources.dispose();
    this.texts.dispose();
    this.numbers.dispose();
    this.heap.dispose();
    this.silent.dispose();
    this.named.dispose();
    this.input.dispose();
    this.out.dispose();
    heap.free(changetype<usize>(this));
  }
}

@inline
function nextRow(entry: RowEntry): RowEntry {
  return changetype<RowEntry>(changetype<usize>(entry) + offsetof<RowEntry>());
}
