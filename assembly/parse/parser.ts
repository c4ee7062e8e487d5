import { Batch, Column, ColumnType, FLAG_CLOCK_SKEW } from "../batch/batch";
import { emptyBatch } from "../batch/kept-texts";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { NOT_A_TIME, Plan } from "./field";
import { Key, KeySet, MARK_ARRIVAL, MARK_KEY, MARK_TIME, QuickKey, Role, roleOfExtra, roleOfField, timeMark } from "./key";
import { MAX_RUN, Slots } from "./slots";
import { FEED_IN_LINE } from "./value";

const FIRST_ROWS: u32 = 1024;
/** A batch may take this much memory for its cells; lines beyond are bad. */
const MAX_CELL_BYTES: u64 = 512 << 20;
/** And this much for its extra column. */
export const MAX_EXTRA_BYTES: u32 = 256 << 20;
/** A batch that took more gives its memory back before the next one. */
const KEPT_BYTES: u64 = 16 << 20;
/** Of a cell, with its validity. */
const CELL_BYTES: u64 = 9;
/** A row beyond these ends a batch. */
const MAX_ROWS: u32 = 1 << 26;

/**
 * Turns the bodies of one stream into the rows of a batch.
 *
 * Invariant: between rows every column is filled up to at most `batch.rows`, so that a row that was begun and found bad
 * leaves no trace.
 */
@unmanaged
export class Parser {
  plan: Plan;
  keys: KeySet;
  slots: Slots;
  batch: Batch;
  /** Of all bodies since the batch began. */
  inputBytes: u32;
  arrivalUs: i64;
  /** Later event times are clock skew. */
  latestUs: i64;
  /** Tells the keys of one row from those of the row before. */
  serial: u32;
  rowTimeUs: i64;
  rowMarks: u32;
  /** Marks of all rows since the batch began. */
  batchMarks: u32;
  /** `FEED_IN_DOCUMENT` or `FEED_IN_LINE`. */
  lineFeed: u32;
  /** How often the guess of the next key failed lately. */
  failedGuesses: u32;
  /** Rows that are read at once. */
  run: u32;
  /** So many more are read one by one; doubled with each try in vain to read them together. */
  pause: u32;
  nextPause: u32;
  /** The row reader gave up for a key that is not in `keys`. */
  missesKey: u32;
  /** Objects whose keys could not be learned because there was no room. */
  unlearned: u32;
  /** Types or columns changed, so that the keys' roles must be found anew. */
  isStale: u32;

  static create(): Parser {
    const self = changetype<Parser>(heap.alloc(offsetof<Parser>()));
    self.plan = Plan.create();
    self.keys = KeySet.create();
    self.slots = Slots.create();
    self.batch = Batch.create(FIRST_ROWS);
    self.inputBytes = 0;
    self.arrivalUs = 0;
    self.latestUs = i64.MAX_VALUE;
    self.serial = 0;
    self.batchMarks = 0;
    self.lineFeed = FEED_IN_LINE;
    self.failedGuesses = 0;
    self.run = MAX_RUN;
    self.pause = 0;
    self.nextPause = 0;
    self.missesKey = 0;
    self.unlearned = 0;
    self.isStale = 0;
    return self;
  }

  begin(arrivalUs: i64): void {
    releaseHeavy();
    emptyBatch(this.batch);
    this.inputBytes = 0;
    this.arrivalUs = arrivalUs;
    this.batchMarks = 0;
    const ahead = this.plan.maxAheadUs;
    this.latestUs = ahead > i64.MAX_VALUE - max<i64>(arrivalUs, 0) ? i64.MAX_VALUE : arrivalUs + ahead;
  }

  finish(): Batch {
    this.batch.seal();
    if (bytesOf(this.batch) > KEPT_BYTES) heavy = changetype<usize>(this);
    return this.batch;
  }

  /** Makes room for one more row; false when the batch is as large as it may be. */
  @inline hasRoom(): bool {
    return this.batch.rows < this.batch.capacity || this.grow();
  }

  private grow(): bool {
    const rows = this.batch.rows + 1;
    if (rows > MAX_ROWS || !fits(<u64>this.batch.capacity << 1, this.batch.columnCount)) return false;
    this.batch.ensure(rows);
    return true;
  }

  /** Whether `more` columns fit into the batch's memory. */
  hasRoomForColumns(more: u32): bool {
    return fits(this.batch.capacity, this.batch.columnCount + more);
  }

  /** Takes back what a row that was not finished has set. */
  rollBack(extraBytes: u32): void {
    const batch = this.batch;
    const row = batch.rows;
    for (let i: u32 = 0; i < batch.columnCount; i++) {
      const column = batch.column(i);
      if (column.filled > row) column.filled = row;
    }
    batch.extra.bytes.length = extraBytes;
  }

  /** Ends the row whose values are set. Gives false, with nothing changed, when it lacks a declared key or time. */
  @inline endRow(extraBytes: u32): bool {
    const plan = this.plan;
    let time = this.rowTimeUs;
    let marks = this.rowMarks;
    if ((marks & MARK_TIME) == 0) {
      if (plan.isTimeDeclared) return false;
      time = this.arrivalUs;
      marks |= MARK_ARRIVAL;
    }
    if (plan.isKeyDeclared && (marks & MARK_KEY) == 0) return false;
    this.batchMarks |= marks;
    const batch = this.batch;
    const row = batch.rows;
    store<i64>(batch.times + (<usize>row << 3), time);
    store<u8>(batch.flags + row, time > this.latestUs ? FLAG_CLOCK_SKEW : 0);
    const extra = batch.extra;
    if (extra.bytes.length != extraBytes) endExtra(extra, row, extraBytes);
    batch.rows = row + 1;
    return true;
  }

  /** Finds anew what becomes of each known key's values. */
  refreshKeys(): void {
    this.isStale = 0;
    this.keys.version++;
    for (let i: u32 = 0; i < this.keys.count; i++) this.refreshKey(this.keys.key(i));
  }

  refreshKey(key: Key): void {
    const plan = this.plan;
    const field = plan.find(key.path, key.pathLength);
    const isField = changetype<usize>(field) != 0;
    const takes = plan.takes(field, key.pathLength, this.batch) || (isField && field.timeRank != NOT_A_TIME);
    const extraRole = roleOfExtra(plan.extra);
    key.isBranch = u32(plan.looksInto(key.path, key.pathLength));
    key.role = !takes ? extraRole : isField ? roleOfField(field) : Role.Other;
    if (key.quick != 0) changetype<QuickKey>(key.quick).role = key.role;
    key.column = isField ? field.column : 0;
    key.timeRank = isField ? field.timeRank : NOT_A_TIME;
    key.marks = isField && field.isKey ? MARK_KEY : 0;
    if (isField && field.timeRank != NOT_A_TIME) key.marks |= timeMark(field.timeRank);
    const isStrict = isField && (field.declaredType != ColumnType.Null || field.timeRank != NOT_A_TIME || field.isKey);
    key.arrayRole = isStrict ? Role.Other : extraRole;
  }

  dispose(): void {
    if (heavy == changetype<usize>(this)) heavy = 0;
    this.plan.dispose();
    this.keys.dispose();
    this.slots.dispose();
    this.batch.dispose();
    heap.free(changetype<usize>(this));
  }
}

/** The one parser whose batch may hold more memory than a batch keeps, or 0. */
let heavy: usize = 0;

/** So that many streams cannot each hold on to the memory of their largest batch. */
function releaseHeavy(): void {
  if (heavy == 0) return;
  const batch = changetype<Parser>(heavy).batch;
  heavy = 0;
  batch.reset();
  batch.capacity = FIRST_ROWS;
  heap.free(batch.times);
  heap.free(batch.flags);
  batch.times = heap.alloc(FIRST_ROWS << 3);
  batch.flags = heap.alloc(FIRST_ROWS);
  for (let i: u32 = 0; i < batch.columnCount; i++) releaseColumn(batch.column(i));
  releaseColumn(batch.extra);
}

function releaseColumn(column: Column): void {
  heap.free(column.cells);
  heap.free(column.valid);
  column.cells = heap.alloc(FIRST_ROWS << 3);
  column.valid = heap.alloc(FIRST_ROWS);
  if (changetype<usize>(column.dictionary) != 0) {
    column.dictionary.dispose();
    column.dictionary = Dictionary.create();
  }
  if (changetype<usize>(column.bytes) != 0) {
    column.bytes.dispose();
    column.bytes = ByteBuffer.create(1024);
  }
}

@inline
function fits(rows: u64, columns: u32): bool {
  return rows * (columns + 2) * CELL_BYTES <= MAX_CELL_BYTES;
}

function bytesOf(batch: Batch): u64 {
  let bytes = <u64>batch.capacity * (batch.columnCount + 2) * CELL_BYTES + batch.extra.bytes.capacity;
  for (let i: u32 = 0; i < batch.columnCount; i++) {
    const dictionary = batch.column(i).dictionary;
    if (changetype<usize>(dictionary) == 0) continue;
    bytes += <u64>dictionary.bytes.capacity + (<u64>dictionary.capacity << 5);
  }
  return bytes;
}

function endExtra(extra: Column, row: u32, start: u32): void {
  extra.bytes.u8(0x7d);
  extra.fillNulls(row);
  store<u64>(extra.cell(row), <u64>start | (<u64>(extra.bytes.length - start) << 32));
  store<u8>(extra.valid + row, 1);
  extra.filled = row + 1;
}
