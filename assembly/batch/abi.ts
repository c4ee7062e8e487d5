import { Batch } from "./batch";

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
