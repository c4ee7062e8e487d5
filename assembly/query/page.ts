import { Batch } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";
import { Program, writeEvent } from "./event-writer";
import { rows } from "./select";

/** A row of the page: where it stands, and its line. */
@unmanaged
export class Entry {
  timeUs: i64;
  /** Of its block. */
  seq: f64;
  row: u32;
  /** Of its line in the page's bytes. */
  offset: u32;
  length: u32;
  isWoven: u32;
}

const ENTRY_SHIFT: usize = 5;
const LINE_END: u8 = 0x0a;
const SPARE_BYTES: u32 = 1 << 20;

/**
 * The first rows of a page out of any number of blocks that overlap in time, which come one at a time and in any
 * order: each block's rows are merged into what is kept, and the rest is forgotten.
 *
 * Invariant: the entries are ordered by (time, seq, row); they are the longest page (at most `limit` rows and about
 * `maxBytes`, but at least one row) of all rows so far, and when there is a row after the page, that one too, without
 * its line. So memory is that of one page, however many blocks overlap. Cost: O(page + rows) a block, and O(rows) where
 * blocks follow one another; only rows that are kept are written.
 */
@unmanaged
export class Page {
  limit: u32;
  maxBytes: u32;
  count: u32;
  /** The last entry stands after the page. */
  isFull: u32;
  /** Bytes of the lines of the entries. */
  used: u32;
  /** The lines stand in the order of the entries, without gaps. */
  isOrdered: u32;
  entries: ByteBuffer;
  spare: ByteBuffer;
  bytes: ByteBuffer;
  spareBytes: ByteBuffer;

  static create(): Page {
    const self = changetype<Page>(heap.alloc(offsetof<Page>()));
    self.entries = ByteBuffer.create(1 << 14);
    self.spare = ByteBuffer.create(1 << 14);
    self.bytes = ByteBuffer.create(1 << 16);
    self.spareBytes = ByteBuffer.create(1 << 10);
    self.begin(1, 0);
    return self;
  }

  begin(limit: u32, maxBytes: u32): void {
    this.limit = limit;
    this.maxBytes = maxBytes;
    this.count = 0;
    this.isFull = 0;
    this.used = 0;
    this.isOrdered = 1;
    this.entries.reset();
    this.bytes.reset();
  }

  @inline entry(index: u32): Entry {
    return changetype<Entry>(this.entries.data + (<usize>index << ENTRY_SHIFT));
  }

  /** Merges `selected` rows of a batch. Gives how many rows were left to be woven. */
  add(batch: Batch, seq: f64, program: Program, selected: u32): u32 {
    if (selected == 0) return 0;
    const before = this.entries;
    const beforeCount = this.count;
    const isBehind = this.isFull == 0 && (beforeCount == 0 || this.isBefore(beforeCount - 1, batch, seq, 0));
    if (!isBehind) {
      this.entries = this.spare;
      this.entries.reset();
      this.spare = before;
      this.count = 0;
      this.used = 0;
      this.isFull = 0;
      this.isOrdered = 0;
    }
    let old: u32 = isBehind ? beforeCount : 0;
    let fresh: u32 = 0;
    let woven: u32 = 0;
    while (this.isFull == 0 && (old < beforeCount || fresh < selected)) {
      const from = changetype<Entry>(before.data + (<usize>old << ENTRY_SHIFT));
      if (old < beforeCount && (fresh == selected || isEarlier(from, batch, seq, fresh))) {
        this.keep(from);
        old++;
      } else {
        woven += this.write(batch, seq, program, fresh);
        fresh++;
      }
    }
    if (this.bytes.length > (this.used << 1) + SPARE_BYTES) this.compact();
    return woven;
  }

  private isBefore(index: u32, batch: Batch, seq: f64, fresh: u32): bool {
    return isEarlier(this.entry(index), batch, seq, fresh);
  }

  private append(): Entry {
    const at = this.entries.reserve(offsetof<Entry>());
    this.entries.length += offsetof<Entry>();
    this.count++;
    return changetype<Entry>(at);
  }

  /** An entry that was there before. The one that stood after the page stands there again, or is not needed any more. */
  private keep(from: Entry): void {
    const isLast = this.count >= this.limit;
    const isTooLong = this.count > 0 && this.used + from.length > this.maxBytes;
    const entry = this.append();
    memory.copy(changetype<usize>(entry), changetype<usize>(from), offsetof<Entry>());
    if (isLast || isTooLong || from.length == 0) this.close(entry);
    else this.used += from.length;
  }

  private write(batch: Batch, seq: f64, program: Program, fresh: u32): u32 {
    const isLast = this.count >= this.limit;
    const row = load<u32>(rows + (<usize>fresh << 2));
    const entry = this.append();
    entry.timeUs = load<i64>(batch.times + (<usize>row << 3));
    entry.seq = seq;
    entry.row = row;
    entry.isWoven = 0;
    const start = this.bytes.length;
    entry.offset = start;
    if (isLast) {
      this.close(entry);
      return 0;
    }
    const isWritten = program.stepCount > 0 && writeEvent(batch, row, program, this.bytes);
    // About as long as it will be.
    const length = isWritten ? this.bytes.length - start : wovenBytes(batch, row, program);
    if (this.count > 1 && this.used + length > this.maxBytes) {
      this.bytes.length = start;
      this.close(entry);
      return 0;
    }
    if (isWritten) this.bytes.u8(LINE_END);
    entry.length = length + 1;
    entry.isWoven = <u32>!isWritten;
    this.used += length + 1;
    if (!isWritten) this.isOrdered = 0;
    return entry.isWoven;
  }

  private close(entry: Entry): void {
    entry.length = 0;
    entry.isWoven = 0;
    this.isFull = 1;
  }

  /** Sets the line of an entry that was left to be woven; its end is added. */
  setLine(index: u32, text: usize, length: u32): void {
    const entry = this.entry(index);
    this.used += length + 1 - entry.length;
    entry.offset = this.bytes.append(text, length);
    this.bytes.u8(LINE_END);
    entry.length = length + 1;
    entry.isWoven = 0;
  }

  private compact(): void {
    const target = this.spareBytes;
    target.reset();
    target.reserve(this.used);
    for (let i: u32 = 0; i < this.count; i++) {
      const entry = this.entry(i);
      if (entry.isWoven) continue;
      entry.offset = target.append(this.bytes.data + entry.offset, entry.length);
    }
    this.spareBytes = this.bytes;
    this.bytes = target;
  }

  /** The bytes of the first `count` lines, at `bytes.data`. Gives how many. */
  finish(count: u32): u32 {
    if (this.isOrdered == 0) this.compact();
    if (count == 0) return 0;
    const last = this.entry(count - 1);
    return last.offset + last.length;
  }
}

function wovenBytes(batch: Batch, row: u32, program: Program): u32 {
  const extra = batch.extra.isValid(row) ? <u32>(load<u64>(batch.extra.cell(row)) >> 32) : 0;
  return 64 + program.labelBytes + extra;
}

/** Whether an entry stands before a selected row of a block. */
@inline
function isEarlier(entry: Entry, batch: Batch, seq: f64, fresh: u32): bool {
  const row = load<u32>(rows + (<usize>fresh << 2));
  const time = load<i64>(batch.times + (<usize>row << 3));
  if (entry.timeUs != time) return entry.timeUs < time;
  return entry.seq != seq ? entry.seq < seq : entry.row < row;
}
