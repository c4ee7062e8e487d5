import { Batch, ColumnType } from "./batch";

/** Memory for the host to write into; freed with `release`. */
export function allocate(length: u32): usize {
  return heap.alloc(length);
}

export function release(pointer: usize): void {
  heap.free(pointer);
}

export function batchRows(batch: Batch): u32 {
  return batch.rows;
}

export function batchTimes(batch: Batch): usize {
  return batch.times;
}

export function batchFlags(batch: Batch): usize {
  return batch.flags;
}

export function batchColumnCount(batch: Batch): u32 {
  return batch.columnCount;
}

/** Column `index`, or the extra column for index −1, as the address of a `Column`. */
export function batchColumn(batch: Batch, index: i32): usize {
  return index < 0 ? changetype<usize>(batch.extra) : changetype<usize>(batch.column(index));
}

export function batchDispose(batch: Batch): void {
  batch.dispose();
}

/** The four below, and `batchSeal`, fill a batch by hand: for tests and benches. */
export function batchCreate(capacity: u32): Batch {
  return Batch.create(capacity);
}

/** Adds a column and returns its index. `type` is a `ColumnType`. */
export function batchAddColumn(batch: Batch, name: usize, nameLength: u32, type: u32): u32 {
  return batch.addColumn(name, nameLength, <ColumnType>type);
}

/** Makes room for at least `rows` rows. */
export function batchEnsure(batch: Batch, rows: u32): void {
  batch.ensure(rows);
}

/** Says that all columns hold `rows` rows; cells and validity bytes are set already. */
export function batchSetRows(batch: Batch, rows: u32): void {
  batch.rows = rows;
  for (let i: u32 = 0; i < batch.columnCount; i++) {
    const column = batch.column(i);
    column.filled = rows;
    column.nulls = 0;
    for (let row: u32 = 0; row < rows; row++) column.nulls += column.isValid(row) ? 0 : 1;
  }
}

export function batchSeal(batch: Batch): void {
  batch.seal();
}

/** The id of a text in a text column's dictionary. */
export function batchIntern(batch: Batch, column: u32, text: usize, length: u32): u32 {
  return batch.column(column).dictionary.intern(text, length);
}

/** Says that the texts there are stay from batch to batch, as those of a parser do. */
export function batchKeepTexts(batch: Batch): void {
  for (let i: u32 = 0; i < batch.columnCount; i++) {
    const column = batch.column(i);
    if (column.type == ColumnType.Text) column.dictionary.kept = column.dictionary.count;
  }
}

/** Forgets rows and texts, keeps columns. */
export function batchReset(batch: Batch): void {
  batch.reset();
}
