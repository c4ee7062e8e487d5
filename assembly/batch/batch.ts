import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";

/** What a column's cells hold. The order is the order of widening: int → float → text. */
export const enum ColumnType {
  /** No value seen yet: every row is null. */
  Null = 0,
  /** 0 or 1 in the low byte. */
  Bool = 1,
  /** i64 */
  Int = 2,
  /** f64 */
  Float = 3,
  /** u32 id into the column's dictionary */
  Text = 4,
  /** verbatim bytes: offset in `bytes` (low u32) and length (high u32) */
  Raw = 5,
}

/** The event time is further ahead of its arrival than `maxAhead`: kept out of windows and watermarks. */
export const FLAG_CLOCK_SKEW: u8 = 1;
/** Beside `FLAG_CLOCK_SKEW`: the event's clock is right, but the query's condition drops it. Its time still counts. */
export const FLAG_DROPPED: u8 = 2;

/**
 * One column of a batch: 8-byte cells and a validity byte per row.
 *
 * Invariant: rows < `filled` are set (a value, or null with valid = 0 and cell = 0); a reader first calls
 * `Batch.seal`, after which `filled` equals the batch's rows in every column.
 */
@unmanaged
export class Column {
  type: ColumnType;
  /** 1 when the configuration declares the type, which then never widens. */
  isDeclared: u32;
  name: usize;
  nameLength: u32;
  cells: usize;
  valid: usize;
  filled: u32;
  nulls: u32;
  /** For Text. Ids beyond those in use may remain after a rolled-back row. */
  dictionary: Dictionary;
  /** For Raw. */
  bytes: ByteBuffer;

  @inline cell(row: u32): usize {
    return this.cells + (<usize>row << 3);
  }

  @inline isValid(row: u32): bool {
    return load<u8>(this.valid + row) != 0;
  }

  /** Sets nulls for the rows from `filled` up to `row` (exclusive). */
  fillNulls(row: u32): void {
    const from = this.filled;
    if (from >= row) return;
    memory.fill(this.valid + from, 0, row - from);
    memory.fill(this.cell(from), 0, <usize>(row - from) << 3);
    this.nulls += row - from;
    this.filled = row;
  }
}

/**
 * The events of one stream from one batch, as columns.
 *
 * Invariant: `times` (event time, µs since the epoch) and `flags` are set for every row < `rows`;
 * memory for `capacity` rows stands ready in every column.
 */
@unmanaged
export class Batch {
  rows: u32;
  capacity: u32;
  times: usize; // i64[capacity]
  flags: usize; // u8[capacity]
  columns: usize; // Column[columnCapacity]
  columnCount: u32;
  columnCapacity: u32;
  /** Undeclared members kept verbatim, as the text of one JSON object a row (Raw). Named "" here. */
  extra: Column;

  static create(capacity: u32): Batch {
    const self = changetype<Batch>(heap.alloc(offsetof<Batch>()));
    self.rows = 0;
    self.capacity = capacity;
    self.times = heap.alloc(<usize>capacity << 3);
    self.flags = heap.alloc(capacity);
    self.columnCapacity = 16;
    self.columnCount = 0;
    self.columns = heap.alloc(16 * sizeof<usize>());
    self.extra = self.newColumn(0, 0, ColumnType.Raw);
    return self;
  }

  @inline column(index: u32): Column {
    return load<Column>(this.columns + <usize>index * sizeof<usize>());
  }

  /** The index of the column of that name, or -1. Linear: for set-up, not for rows. */
  indexOf(name: usize, nameLength: u32): i32 {
    for (let i: u32 = 0; i < this.columnCount; i++) {
      const column = this.column(i);
      if (column.nameLength == nameLength && memory.compare(column.name, name, nameLength) == 0) return i;
    }
    return -1;
  }

  /** Adds a column (its name is copied) and returns its index. */
  addColumn(name: usize, nameLength: u32, type: ColumnType): u32 {
    return this.append(this.newColumn(name, nameLength, type));
  }

  /** Puts a column behind the others and returns its index. */
  append(column: Column): u32 {
    const index = this.columnCount;
    if (index == this.columnCapacity) {
      this.columnCapacity <<= 1;
      this.columns = heap.realloc(this.columns, <usize>this.columnCapacity * sizeof<usize>());
    }
    this.columnCount = index + 1;
    this.replace(index, column);
    return index;
  }

  /** Puts a column in the place of another, which is not disposed of. */
  @inline replace(index: u32, column: Column): void {
    store<Column>(this.columns + <usize>index * sizeof<usize>(), column);
  }

  private newColumn(name: usize, nameLength: u32, type: ColumnType): Column {
    const column = changetype<Column>(heap.alloc(offsetof<Column>()));
    column.type = type;
    column.isDeclared = 0;
    column.name = heap.alloc(nameLength + 1);
    memory.copy(column.name, name, nameLength);
    column.nameLength = nameLength;
    column.cells = heap.alloc(<usize>this.capacity << 3);
    column.valid = heap.alloc(this.capacity);
    column.filled = 0;
    column.nulls = 0;
    column.dictionary = changetype<Dictionary>(0);
    column.bytes = changetype<ByteBuffer>(0);
    if (type == ColumnType.Text) column.dictionary = Dictionary.create();
    if (type == ColumnType.Raw) column.bytes = ByteBuffer.create(1024);
    return column;
  }

  /** Makes room for at least `rows` rows. */
  ensure(rows: u32): void {
    if (rows <= this.capacity) return;
    let capacity = this.capacity;
    while (capacity < rows) capacity <<= 1;
    this.reserve(capacity);
  }

  /** Makes room for just so many rows, where there is not more: for who knows how many there will be. */
  reserve(capacity: u32): void {
    if (capacity <= this.capacity) return;
    this.times = heap.realloc(this.times, <usize>capacity << 3);
    this.flags = heap.realloc(this.flags, capacity);
    for (let i: u32 = 0; i < this.columnCount; i++) growColumn(this.column(i), capacity);
    growColumn(this.extra, capacity);
    this.capacity = capacity;
  }

  /** Fills every column up to `rows` with nulls, so that it can be read. */
  seal(): void {
    for (let i: u32 = 0; i < this.columnCount; i++) this.column(i).fillNulls(this.rows);
    this.extra.fillNulls(this.rows);
  }

  /** Forgets the rows, keeps columns, types and memory. */
  reset(): void {
    this.rows = 0;
    for (let i: u32 = 0; i < this.columnCount; i++) resetColumn(this.column(i));
    resetColumn(this.extra);
  }

  dispose(): void {
    for (let i: u32 = 0; i < this.columnCount; i++) disposeColumn(this.column(i));
    disposeColumn(this.extra);
    heap.free(this.columns);
    heap.free(this.times);
    heap.free(this.flags);
    heap.free(changetype<usize>(this));
  }
}

function growColumn(column: Column, capacity: u32): void {
  column.cells = heap.realloc(column.cells, <usize>capacity << 3);
  column.valid = heap.realloc(column.valid, capacity);
}

function resetColumn(column: Column): void {
  column.filled = 0;
  column.nulls = 0;
  if (changetype<usize>(column.dictionary) != 0) column.dictionary.reset();
  if (changetype<usize>(column.bytes) != 0) column.bytes.reset();
}

function disposeColumn(column: Column): void {
  heap.free(column.name);
  heap.free(column.cells);
  heap.free(column.valid);
  if (changetype<usize>(column.dictionary) != 0) column.dictionary.dispose();
  if (changetype<usize>(column.bytes) != 0) column.bytes.dispose();
  heap.free(changetype<usize>(column));
}
