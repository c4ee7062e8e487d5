import { Batch, ColumnType } from "../batch/batch";

/** Drops rows and columns alike, so that nothing of an earlier stream shows in the next. Keeps the row capacity. */
export function clearBatch(batch: Batch): void {
  batch.reset();
  for (let i: u32 = 0; i < batch.columnCount; i++) {
    const column = batch.column(i);
    heap.free(column.name);
    heap.free(column.cells);
    heap.free(column.valid);
    if (changetype<usize>(column.dictionary) != 0) column.dictionary.dispose();
    if (changetype<usize>(column.bytes) != 0) column.bytes.dispose();
    heap.free(changetype<usize>(column));
  }
  batch.columnCount = 0;
}

/** Adds a row whose values are null until set. Gives its number. */
export function appendRow(batch: Batch, time: i64, flags: u32): u32 {
  const row = batch.rows;
  batch.ensure(row + 1);
  store<i64>(batch.times + ((<usize>row) << 3), time);
  store<u8>(batch.flags + row, <u8>flags);
  batch.rows = row + 1;
  return row;
}

/** Sets the value of a Bool, Int or Float column in a row; rows of one column are set in ascending order. */
export function setCell(batch: Batch, index: u32, row: u32, bits: i64): void {
  const column = batch.column(index);
  column.fillNulls(row);
  store<i64>(column.cell(row), bits);
  store<u8>(column.valid + row, 1);
  column.filled = row + 1;
}

/** The same for a Text column, or for the extra column, whose index is −1. */
export function setText(batch: Batch, index: i32, row: u32, text: usize, length: u32): void {
  const column = index < 0 ? batch.extra : batch.column(index);
  column.fillNulls(row);
  let cell: u64;
  if (column.type == ColumnType.Raw) cell = <u64>column.bytes.append(text, length) | ((<u64>length) << 32);
  else cell = column.dictionary.intern(text, length);
  store<u64>(column.cell(row), cell);
  store<u8>(column.valid + row, 1);
  column.filled = row + 1;
}
