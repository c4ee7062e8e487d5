import { Batch, Column, FLAG_CLOCK_SKEW } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary, NOT_INTERNED } from "../memory/dictionary";
import { appendTextKey, countCandidates, directColumn, findKeyColumns, writeKey } from "./group-key";
import { bucketOf, OffsetSketch, SKETCH_BYTES } from "./offset-sketch";
import { Plan } from "./plan";
import { BY_SOURCE, NO_TIME, ROW_SKEWED, RowEntry, SOURCES_VERSION } from "./sources-summary";

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

const ENTRY_BYTES: u32 = offsetof<RowEntry>();
const ROW_SIZE: u32 = offsetof<SourceRow>() + SKETCH_BYTES;
const UNSEEN: u32 = 0xffffffff;
/** With fewer rows a source than this they are passed on as they are: to sum them up first costs more than to add them. */
const FEW_ROWS: u32 = 6;
/** Of a sample: one row in so many is looked at, but no fewer than these, nor more than was asked for. */
const SAMPLE_SHARE: u32 = 16;
const LEAST_SAMPLE: u32 = 64;
/** Asks for all rows. */
const ALL_ROWS: u32 = 0xffffffff;
/** The flag of clock skew in each of eight rows. */
const SKEWED_ROWS: u64 = 0x0101010101010101 * <u64>FLAG_CLOCK_SKEW;

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
  /** Canonical bytes of the sources, where these are not texts. */
  keys: Dictionary;
  scratch: ByteBuffer;
  /** The column whose texts are the sources, or null. */
  direct: Column;
  keyOfText: ByteBuffer; // u32 by text id: a source, or UNSEEN
  texts: ByteBuffer; // u32 by source
  count: u32;
  /** RowEntry by row looked at. */
  entries: ByteBuffer;
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
    self.direct = changetype<Column>(0);
    self.keyOfText = ByteBuffer.create(1024);
    self.texts = ByteBuffer.create(1024);
    self.count = 0;
    self.entries = ByteBuffer.create(ENTRY_BYTES * 64);
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
    this.texts.dispose();
    this.entries.dispose();
    this.rows.dispose();
    this.out.dispose();
    this.plan.dispose();
    heap.free(changetype<usize>(this));
  }

  /**
   * Summarizes a sealed batch that arrived at `arrivalUs`; `out` then holds the summary. A larger batch than a sample of at
   * most `sampleRows` is summarized from about so many of its rows.
   */
  summarize(batch: Batch, arrivalUs: i64, sampleRows: u32): void {
    atOnce.end = batch.rows;
    atOnce.atUs = arrivalUs;
    this.summarizeParts(batch, changetype<usize>(atOnce), sampleRows);
  }

  /** The same of a batch whose parts arrived one by one: an `Arrival` each at `parts`, the last of which ends with the batch. */
  summarizeParts(batch: Batch, parts: usize, sampleRows: u32): void {
    this.begin(batch);
    const sample =
      sampleRows == ALL_ROWS ? ALL_ROWS : min(sampleRows, max<u32>(LEAST_SAMPLE, batch.rows / SAMPLE_SHARE));
    if (batch.rows <= sample) this.lookAtAll(batch, changetype<Arrival>(parts));
    else {
      this.lookAtSome(batch, changetype<Arrival>(parts), batch.rows / max<u32>(sample, 1));
      this.lookAtSkewed(batch, changetype<Arrival>(parts));
    }
    this.write();
  }

  private begin(batch: Batch): void {
    for (let at: u32 = 0; at < this.texts.length; at += 4) {
      store<u32>(this.keyOfText.data + (<usize>load<u32>(this.texts.data + at) << 2), UNSEEN);
    }
    this.texts.reset();
    if (this.keys.count != 0) this.keys.reset();
    this.count = 0;
    this.entries.reset();
    this.othersMaxTime = NO_TIME;
    this.othersEvents = 0;
    this.othersSkewed = 0;
    findKeyColumns(this.plan, batch, this.columns);
    this.direct = directColumn(this.plan, this.columns);
    if (changetype<usize>(this.direct) != 0) this.coverTexts(this.direct.dictionary.count);
  }

  /** Makes room for the numbers of texts. */
  private coverTexts(count: u32): void {
    const known = this.keyOfText.length;
    const wanted = count << 2;
    if (wanted <= known) return;
    memory.fill(this.keyOfText.reserve(wanted - known), 0xff, wanted - known);
    this.keyOfText.length = wanted;
  }

  private lookAtAll(batch: Batch, part: Arrival): void {
    this.entries.reserve(batch.rows * ENTRY_BYTES);
    for (let row: u32 = 0; row < batch.rows; row++) {
      while (row >= part.end) part = after(part);
      this.lookAt(batch, row, part.atUs, isSkewed(batch, row));
    }
  }

  /** Rows at random, without those that have clock skew. */
  private lookAtSome(batch: Batch, part: Arrival, stride: u32): void {
    for (let row = this.step(stride) >> 1; row < batch.rows; row += this.step(stride)) {
      if (isSkewed(batch, row)) continue;
      while (row >= part.end) part = after(part);
      this.lookAt(batch, row, part.atUs, false);
    }
  }

  private lookAtSkewed(batch: Batch, part: Arrival): void {
    for (let row: u32 = 0; row < batch.rows; ) {
      if (row + 8 <= batch.rows && (load<u64>(batch.flags + row) & SKEWED_ROWS) == 0) {
        row += 8;
        continue;
      }
      if (isSkewed(batch, row)) {
        while (row >= part.end) part = after(part);
        this.lookAt(batch, row, part.atUs, true);
      }
      row++;
    }
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

  @inline private lookAt(batch: Batch, row: u32, arrivalUs: i64, skewed: bool): void {
    const source = this.sourceOf(row);
    const time = load<i64>(batch.times + (<usize>row << 3));
    if (source == UNSEEN) {
      this.othersEvents++;
      if (skewed) this.othersSkewed++;
      else if (time > this.othersMaxTime) this.othersMaxTime = time;
      return;
    }
    const entry = changetype<RowEntry>(this.entries.reserve(ENTRY_BYTES));
    this.entries.length += ENTRY_BYTES;
    entry.time = time;
    entry.bucket = bucketOf(time - arrivalUs);
    entry.source = skewed ? source | ROW_SKEWED : source;
  }

  /** The number of a row's source; UNSEEN beyond the limit. */
  @inline private sourceOf(row: u32): u32 {
    if (changetype<usize>(this.direct) == 0) return this.internRow(row);
    const text = load<u32>(this.direct.cell(row));
    const known = load<u32>(this.keyOfText.data + (<usize>text << 2));
    return known != UNSEEN ? known : this.listText(text);
  }

  /** Another text is another source, so none need be found. */
  private listText(text: u32): u32 {
    if (this.count >= this.limit) return UNSEEN;
    const source = this.count++;
    this.texts.u32(text);
    store<u32>(this.keyOfText.data + (<usize>text << 2), source);
    return source;
  }

  private internRow(row: u32): u32 {
    this.scratch.reset();
    writeKey(this.scratch, this.plan, this.columns, row);
    if (this.count >= this.limit) {
      const known = this.keys.find(this.scratch.data, this.scratch.length);
      return known == NOT_INTERNED ? UNSEEN : known;
    }
    const source = this.keys.intern(this.scratch.data, this.scratch.length);
    this.count = this.keys.count;
    return source;
  }

  private write(): void {
    const out = this.out;
    out.reset();
    out.u32(SOURCES_VERSION);
    out.u64(this.othersMaxTime);
    out.u32(this.othersEvents);
    out.u32(this.othersSkewed);
    this.writeKeys();
    const rows = this.entries.length / ENTRY_BYTES;
    if (rows < this.count * FEW_ROWS || rows == 0) {
      out.u32(rows);
      out.append(this.entries.data, this.entries.length);
    } else {
      out.u32(BY_SOURCE);
      this.sumUp(rows);
      this.writeSums();
    }
  }

  private writeKeys(): void {
    const out = this.out;
    const count = this.count;
    const direct = this.direct;
    const isDirect = changetype<usize>(direct) != 0;
    const isKept = isDirect && direct.dictionary.kept != 0;
    out.u64(isKept ? direct.dictionary.identity : 0);
    out.u32(count);
    const lengthAt = out.length;
    out.u32(0);
    if (isKept) out.append(this.texts.data, count << 2);
    const keysAt = out.length;
    for (let source: u32 = 0; source < count; source++) {
      if (isDirect) appendTextKey(out, direct.dictionary, load<u32>(this.texts.data + (<usize>source << 2)));
      else {
        out.u32(this.keys.length(source));
        out.append(this.keys.pointer(source), this.keys.length(source));
      }
    }
    store<u32>(out.data + lengthAt, out.length - keysAt);
  }

  private sumUp(rows: u32): void {
    this.rows.reset();
    this.rows.reserve(this.count * ROW_SIZE);
    for (let source: u32 = 0; source < this.count; source++) {
      const sum = this.row(source);
      sum.maxTime = NO_TIME;
      sum.events = 0;
      sum.skewed = 0;
      sum.sketch.clear();
    }
    for (let i: u32 = 0; i < rows; i++) {
      const entry = changetype<RowEntry>(this.entries.data + <usize>i * ENTRY_BYTES);
      const sum = this.row(entry.source & ~ROW_SKEWED);
      sum.events++;
      if (entry.source & ROW_SKEWED) sum.skewed++;
      else if (entry.time > sum.maxTime) sum.maxTime = entry.time;
      sum.sketch.addBucket(entry.bucket);
    }
  }

  private writeSums(): void {
    const out = this.out;
    for (let source: u32 = 0; source < this.count; source++) {
      const sum = this.row(source);
      out.u64(sum.maxTime);
      out.u32(sum.events);
      out.u32(sum.skewed);
      const bytes = sum.sketch.writtenBytes;
      sum.sketch.write(out.reserve(bytes));
      out.length += bytes;
    }
  }

  @inline private row(index: u32): SourceRow {
    return changetype<SourceRow>(this.rows.data + <usize>index * ROW_SIZE);
  }
}

@inline
function isSkewed(batch: Batch, row: u32): bool {
  return (load<u8>(batch.flags + row) & FLAG_CLOCK_SKEW) != 0;
}

@inline
function after(part: Arrival): Arrival {
  return changetype<Arrival>(changetype<usize>(part) + ARRIVAL_BYTES);
}
