import { Batch, Column, ColumnType } from "../batch/batch";
import { NOT_INTERNED } from "../memory/dictionary";

/** What a value must be to have the text that is looked for, by the column's type. `workers/query/row-filter.ts` fills it. */
@unmanaged
export class Selection {
  /** Inclusive, µs. */
  fromUs: i64;
  /** Inclusive. */
  lastUs: i64;
  /** Rows of exactly this time are only behind `skipBelow`. */
  afterUs: i64;
  intKey: i64;
  /** The bits of a double. */
  floatKey: u64;
  hasAfter: u32;
  skipBelow: u32;
  hasKey: u32;
  key: usize;
  keyLength: u32;
  /** u32 each: the columns any of which may hold the key. */
  columns: usize;
  columnCount: u32;
  /** 1: `intKey` counts; 2: `floatKey` counts; 4: a double that is no number matches; 8: true; 16: false. */
  kinds: u32;
}

const INT: u32 = 1;
const FLOAT: u32 = 2;
const NOT_FINITE: u32 = 4;
const TRUE: u32 = 8;
const FALSE: u32 = 16;

export const selection = changetype<Selection>(memory.data(offsetof<Selection>(), 8));

/** u32 each: the rows of the last `selectRows`. */
export let rows: usize = 0;
let spare: usize = 0;
let mask: usize = 0;
let capacity: u32 = 0;

function ensure(count: u32): void {
  if (count <= capacity) return;
  if (rows != 0) {
    heap.free(rows);
    heap.free(spare);
    heap.free(mask);
  }
  capacity = count + (count >> 1) + 64;
  rows = heap.alloc(<usize>capacity << 2);
  spare = heap.alloc(<usize>capacity << 2);
  mask = heap.alloc(capacity);
}

/**
 * The rows of a sealed batch that pass the selection, at `rows`, ordered by (time, row). Gives how many.
 * Cost: one pass over the times, one over each key column, and a merge sort of the runs where times go back.
 */
export function selectRows(batch: Batch): u32 {
  ensure(batch.rows);
  const hasKey = selection.hasKey != 0;
  if (hasKey && !markKeys(batch)) return 0;
  const fromUs = selection.fromUs;
  const lastUs = selection.lastUs;
  const afterUs = selection.afterUs;
  const hasAfter = selection.hasAfter != 0;
  const skipBelow = selection.skipBelow;
  let at = rows;
  let before: i64 = i64.MIN_VALUE;
  let isSorted = true;
  for (let row: u32 = 0; row < batch.rows; row++) {
    if (hasKey && load<u8>(mask + row) == 0) continue;
    const time = load<i64>(batch.times + (<usize>row << 3));
    if (time < fromUs || time > lastUs) continue;
    if (hasAfter && time == afterUs && row < skipBelow) continue;
    if (time < before) isSorted = false;
    before = time;
    store<u32>(at, row);
    at += 4;
  }
  const count = <u32>((at - rows) >> 2);
  if (!isSorted) sortByTime(batch.times, count);
  return count;
}

/** Marks the rows whose key matches; false when there is none. */
function markKeys(batch: Batch): bool {
  memory.fill(mask, 0, batch.rows);
  let isAny = false;
  for (let i: u32 = 0; i < selection.columnCount; i++) {
    const column = batch.column(load<u32>(selection.columns + (<usize>i << 2)));
    if (column.type == ColumnType.Text) isAny = markText(column, batch.rows) || isAny;
    else isAny = markValues(column, batch.rows) || isAny;
  }
  return isAny;
}

function markText(column: Column, count: u32): bool {
  const id = column.dictionary.find(selection.key, selection.keyLength);
  if (id == NOT_INTERNED) return false;
  let cell = column.cells;
  for (let row: u32 = 0; row < count; row++, cell += 8) {
    if (load<u32>(cell) == id && load<u8>(column.valid + row) != 0) store<u8>(mask + row, 1);
  }
  return true;
}

function markValues(column: Column, count: u32): bool {
  const kinds = selection.kinds;
  let isAny = false;
  for (let row: u32 = 0; row < count; row++) {
    if (!column.isValid(row)) continue;
    const cell = load<u64>(column.cell(row));
    let isMatch = false;
    if (column.type == ColumnType.Int) isMatch = (kinds & INT) != 0 && <i64>cell == selection.intKey;
    else if (column.type == ColumnType.Bool) isMatch = (kinds & (cell & 1 ? TRUE : FALSE)) != 0;
    else if (column.type == ColumnType.Float) {
      const isFinite = (cell & 0x7ff0000000000000) != 0x7ff0000000000000;
      isMatch = isFinite ? (kinds & FLOAT) != 0 && cell == selection.floatKey : (kinds & NOT_FINITE) != 0;
    }
    if (!isMatch) continue;
    store<u8>(mask + row, 1);
    isAny = true;
  }
  return isAny;
}

/** Natural merge sort: blocks that were merged are runs. Stable, so rows of one time keep their order. */
function sortByTime(times: usize, count: u32): void {
  let from = rows;
  let to = spare;
  while (mergeRuns(from, to, times, count) > 1) {
    const other = from;
    from = to;
    to = other;
  }
  // What was merged last stands in `to`.
  rows = to;
  spare = from;
}

@inline
function timeAt(list: usize, index: u32, times: usize): i64 {
  return load<i64>(times + (<usize>load<u32>(list + (<usize>index << 2)) << 3));
}

function runEnd(list: usize, start: u32, times: usize, count: u32): u32 {
  let end = start + 1;
  while (end < count && timeAt(list, end - 1, times) <= timeAt(list, end, times)) end++;
  return end;
}

/** Merges neighbouring runs pairwise. Gives how many runs there are then. */
function mergeRuns(from: usize, to: usize, times: usize, count: u32): u32 {
  let written: u32 = 0;
  let runs: u32 = 0;
  let start: u32 = 0;
  while (start < count) {
    const middle = runEnd(from, start, times, count);
    const end = middle < count ? runEnd(from, middle, times, count) : middle;
    let left = start;
    let right = middle;
    while (left < middle || right < end) {
      const isLeft = right >= end || (left < middle && timeAt(from, left, times) <= timeAt(from, right, times));
      const index = isLeft ? left++ : right++;
      store<u32>(to + (<usize>written << 2), load<u32>(from + (<usize>index << 2)));
      written++;
    }
    runs++;
    start = end;
  }
  return runs;
}
