import { Batch, Column, FLAG_CLOCK_SKEW } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary, NOT_INTERNED } from "../memory/dictionary";
import { countCandidates, directColumn, findKeyColumns, writeKey } from "./group-key";
import { OffsetSketch, SKETCH_BYTES } from "./offset-sketch";
import { Plan } from "./plan";

/** What a batch says of one source: one value of the stream's key. Its offsets' sketch stands behind it. */
@unmanaged
class SourceRow {
  /** Greatest event time (µs) of the events without clock skew; `NO_TIME` when there are none. */
  maxTime: i64;
  /** Events, those with clock skew among them. */
  events: u32;
  skewed: u32;

  @inline get sketch(): OffsetSketch {
    return changetype<OffsetSketch>(changetype<usize>(this) + offsetof<SourceRow>());
  }
}

/** When the rows before `end`, from the part before on, arrived. */
@unmanaged
class Arrival {
  end: u32;
  unused: u32;
  atUs: i64;
}

const ARRIVAL_BYTES: usize = offsetof<Arrival>();
/** The one part of a batch that arrived at once. */
const atOnce = changetype<Arrival>(memory.data(offsetof<Arrival>(), 8));

const ROW_SIZE: u32 = offsetof<SourceRow>() + SKETCH_BYTES;
const UNSEEN: u32 = 0xffffffff;
export const NO_TIME: i64 = i64.MIN_VALUE;

/**
 * Version of the summary, in the order it is read; it is only passed between threads of one process, never stored.
 *
 *   version u32, sources u32
 *   of sources beyond the limit: greatest event time i64, events u32, skewed u32
 *   the sources, each:
 *     key length u32, key (see group-key.ts), greatest event time i64, events u32, skewed u32, sketch
 */
export const SOURCES_VERSION: u32 = 1;
export const SOURCES_HEAD_BYTES: u32 = 24;

/**
 * The local stage of the clocks: a batch's events by source. Cost: a look-up of the key a row (none when it is a text
 * column), and one bucket; that of a sample, when the clocks are only reported: then rows at random and all with clock
 * skew are looked at.
 */
@unmanaged
export class Sources {
  /** Its only slot is the stream's key. */
  plan: Plan;
  columns: usize;
  keys: Dictionary;
  scratch: ByteBuffer;
  keyOfText: ByteBuffer; // u32 by text id
  rows: ByteBuffer; // SourceRow by number
  /** Sources that a summary tells apart at most: so that nobody can make it huge. */
  limit: u32;
  /** What is kept of the sources beyond the limit. */
  othersMaxTime: i64;
  othersEvents: u32;
  othersSkewed: u32;
  /** State of the random choice of a sample: Marsaglia, "Xorshift RNGs", 2003. */
  random: u32;
  out: ByteBuffer;

  static create(plan: Plan, limit: u32): Sources {
    const self = changetype<Sources>(heap.alloc(offsetof<Sources>()));
    self.plan = plan;
    self.limit = limit;
    self.columns = heap.alloc(countCandidates(plan) * sizeof<usize>() + 1);
    self.keys = Dictionary.create();
    self.scratch = ByteBuffer.create(256);
    self.keyOfText = ByteBuffer.create(1024);
    self.rows = ByteBuffer.create(ROW_SIZE * 8);
    self.random = 2463534242;
    self.out = ByteBuffer.create(1024);
    return self;
  }

  dispose(): void {
    heap.free(this.columns);
    this.keys.dispose();
    this.scratch.dispose();
    this.keyOfText.dispose();
    this.rows.dispose();
    this.out.dispose();
    this.plan.dispose();
    heap.free(changetype<usize>(this));
  }

  /**
   * Summarizes a sealed batch that arrived at `arrivalUs`; `out` then holds the summary. A larger batch than `sampleRows`
   * is summarized from about so many of its rows.
   */
  summarize(batch: Batch, arrivalUs: i64, sampleRows: u32): void {
    atOnce.end = batch.rows;
    atOnce.atUs = arrivalUs;
    this.summarizeParts(batch, changetype<usize>(atOnce), sampleRows);
  }

  /** The same of a batch whose parts arrived one by one: an `Arrival` each at `parts`, the last of which ends with the batch. */
  summarizeParts(batch: Batch, parts: usize, sampleRows: u32): void {
    let part = changetype<Arrival>(parts);
    this.keys.reset();
    this.rows.reset();
    this.othersMaxTime = NO_TIME;
    this.othersEvents = 0;
    this.othersSkewed = 0;
    findKeyColumns(this.plan, batch, this.columns);
    const direct = directColumn(this.plan, this.columns);
    if (changetype<usize>(direct) != 0) this.prepareTexts(direct.dictionary.count);
    if (batch.rows <= sampleRows) {
      for (let row: u32 = 0; row < batch.rows; row++) {
        while (row >= part.end) part = after(part);
        this.take(batch, direct, row, part.atUs);
      }
    } else {
      const stride = batch.rows / max<u32>(sampleRows, 1);
      let next = this.step(stride) >> 1;
      for (let row: u32 = 0; row < batch.rows; row++) {
        const isChosen = row == next;
        if (isChosen) next += this.step(stride);
        if (!isChosen && (load<u8>(batch.flags + row) & FLAG_CLOCK_SKEW) == 0) continue;
        while (row >= part.end) part = after(part);
        this.take(batch, direct, row, part.atUs);
      }
    }
    this.write();
  }

  /** A random number from 1 on with this mean: a fixed one could miss a device that sends in step with it. */
  private step(mean: u32): u32 {
    let x = this.random;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    this.random = x;
    return 1 + (x % (mean * 2 - 1));
  }

  @inline private take(batch: Batch, direct: Column, row: u32, arrivalUs: i64): void {
    let source: u32 = UNSEEN;
    if (changetype<usize>(direct) != 0) {
      const place = this.keyOfText.data + (<usize>load<u32>(direct.cell(row)) << 2);
      source = load<u32>(place);
      if (source == UNSEEN) {
        source = this.internRow(row);
        store<u32>(place, source);
      }
    } else source = this.internRow(row);
    const time = load<i64>(batch.times + (<usize>row << 3));
    const isSkewed = (load<u8>(batch.flags + row) & FLAG_CLOCK_SKEW) != 0;
    if (source == UNSEEN) {
      this.othersEvents++;
      if (isSkewed) this.othersSkewed++;
      else if (time > this.othersMaxTime) this.othersMaxTime = time;
      return;
    }
    const entry = this.row(source);
    if (isSkewed) entry.skewed++;
    else if (time > entry.maxTime) entry.maxTime = time;
    entry.events++;
    entry.sketch.add(time - arrivalUs);
  }

  @inline private row(index: u32): SourceRow {
    return changetype<SourceRow>(this.rows.data + <usize>index * ROW_SIZE);
  }

  private prepareTexts(count: u32): void {
    this.keyOfText.reset();
    memory.fill(this.keyOfText.reserve(count << 2), 0xff, <usize>count << 2);
  }

  /** The number of a row's source; UNSEEN beyond the limit. */
  private internRow(row: u32): u32 {
    this.scratch.reset();
    writeKey(this.scratch, this.plan, this.columns, row);
    const before = this.keys.count;
    if (before >= this.limit) {
      const known = this.keys.find(this.scratch.data, this.scratch.length);
      return known == NOT_INTERNED ? UNSEEN : known;
    }
    const source = this.keys.intern(this.scratch.data, this.scratch.length);
    if (this.keys.count == before) return source;
    this.rows.reserve(ROW_SIZE);
    this.rows.length += ROW_SIZE;
    const entry = this.row(source);
    entry.maxTime = NO_TIME;
    entry.events = 0;
    entry.skewed = 0;
    entry.sketch.clear();
    return source;
  }

  private write(): void {
    const out = this.out;
    out.reset();
    out.u32(SOURCES_VERSION);
    out.u32(this.keys.count);
    out.u64(this.othersMaxTime);
    out.u32(this.othersEvents);
    out.u32(this.othersSkewed);
    for (let source: u32 = 0; source < this.keys.count; source++) {
      const entry = this.row(source);
      const keyLength = this.keys.length(source);
      out.u32(keyLength);
      out.append(this.keys.pointer(source), keyLength);
      out.u64(entry.maxTime);
      out.u32(entry.events);
      out.u32(entry.skewed);
      const bytes = entry.sketch.writtenBytes;
      entry.sketch.write(out.reserve(bytes));
      out.length += bytes;
    }
  }
}

@inline
function after(part: Arrival): Arrival {
  return changetype<Arrival>(changetype<usize>(part) + ARRIVAL_BYTES);
}
