import { Batch, Column, ColumnType } from "../batch/batch";
import { Dictionary } from "../memory/dictionary";
import { Scratch, scratch } from "./scratch";
import { numberUsed } from "./texts";

/**
 * Rows in an order that compresses: within each part by time, then by key, and where both are alike as they were. Rows of one
 * time then name rising keys, and steps between rising numbers take fewer bits than the numbers.
 */

const RADIX: usize = 256;
const COUNTS = memory.data(256 * 4, 4);
/** Of a text, the bytes that its rank is made of. */
const RANKED_BYTES: u32 = 8;

/**
 * Gives the address of a u32 for each row: the rows' numbers in their new order, valid until the next block. `parts`: the
 * address of u32s, how many rows each of `partCount` parts has; together all of them.
 */
export function orderRows(batch: Batch, parts: usize, partCount: u32): usize {
  const rows = batch.rows;
  let list = scratch(Scratch.Rows, <usize>rows << 2);
  for (let row: u32 = 0; row < rows; row++) store<u32>(list + (<usize>row << 2), row);
  const words = scratch(Scratch.Words, <usize>rows << 3);
  const column = keyOf(batch);
  if (changetype<usize>(column) != 0) {
    rankRows(column, rows, words);
    list = sortBy(words, list, rows);
  }
  let least = i64.MAX_VALUE;
  for (let row: u32 = 0; row < rows; row++) least = min(least, load<i64>(batch.times + (<usize>row << 3)));
  for (let row: u32 = 0; row < rows; row++) {
    store<u64>(words + (<usize>row << 3), <u64>(load<i64>(batch.times + (<usize>row << 3)) - least));
  }
  list = sortBy(words, list, rows);
  let row: usize = 0;
  for (let part: u32 = 0; part < partCount; part++) {
    const end = row + load<u32>(parts + (<usize>part << 2));
    for (; row < end; row++) store<u64>(words + (row << 3), part);
  }
  return sortBy(words, list, rows);
}

/** The first text column with a value in every row, or 0. */
function keyOf(batch: Batch): Column {
  for (let i: u32 = 0; i < batch.columnCount; i++) {
    const column = batch.column(i);
    if (column.type == ColumnType.Text && column.nulls == 0) return column;
  }
  return changetype<Column>(0);
}

/** Writes each row's rank: that of its text by the bytes behind what all texts begin with. */
function rankRows(column: Column, rows: u32, ranks: usize): void {
  const dictionary = column.dictionary;
  const ids = scratch(Scratch.Ids, <usize>rows << 3);
  const used = numberUsed(column.cells, rows, dictionary, ids);
  const usedIds = scratch(Scratch.UsedIds, 0);
  const common = commonBytes(dictionary, usedIds, used);
  const words = scratch(Scratch.TextWords, <usize>used << 3);
  let list = scratch(Scratch.TextOrder, <usize>used << 2);
  for (let i: u32 = 0; i < used; i++) {
    store<u64>(words + (<usize>i << 3), wordOf(dictionary, load<u32>(usedIds + (<usize>i << 2)), common));
    store<u32>(list + (<usize>i << 2), i);
  }
  list = sortBy(words, list, used);
  // The words were used: ranks take their place.
  for (let rank: u32 = 0; rank < used; rank++) {
    store<u64>(words + (<usize>load<u32>(list + (<usize>rank << 2)) << 3), rank);
  }
  for (let row: usize = 0, end = <usize>rows << 3; row < end; row += 8) {
    store<u64>(ranks + row, load<u64>(words + (<usize>load<u32>(ids + row) << 3)));
  }
}

function commonBytes(dictionary: Dictionary, usedIds: usize, used: u32): u32 {
  const first = load<u32>(usedIds);
  const text = dictionary.pointer(first);
  let common = dictionary.length(first);
  for (let i: u32 = 1; i < used && common > 0; i++) {
    const id = load<u32>(usedIds + (<usize>i << 2));
    const other = dictionary.pointer(id);
    common = min(common, dictionary.length(id));
    let at: u32 = 0;
    while (at < common && load<u8>(text + at) == load<u8>(other + at)) at++;
    common = at;
  }
  return common;
}

/** Eight bytes of a text from `from` on, the first highest. */
function wordOf(dictionary: Dictionary, id: u32, from: u32): u64 {
  const text = dictionary.pointer(id);
  const end = min(dictionary.length(id), from + RANKED_BYTES);
  let word: u64 = 0;
  let shift: u64 = 56;
  for (let at = from; at < end; at++, shift -= 8) word |= <u64>load<u8>(text + at) << shift;
  return word;
}

/**
 * Sorts the `count` numbers at `list` by their words (u64 by number), stable, by those bytes that differ (radix, the lowest first).
 * Gives where the sorted list is: `list` or other working memory.
 */
function sortBy(words: usize, list: usize, count: u32): usize {
  let differing: u64 = 0;
  const first = count == 0 ? 0 : load<u64>(words);
  for (let at = words, end = words + (<usize>count << 3); at < end; at += 8) differing |= load<u64>(at) ^ first;
  const spare = scratch(Scratch.OtherRows, <usize>count << 2);
  let from = list;
  let to = spare;
  for (let shift: u64 = 0; shift < 64; shift += 8) {
    if (((differing >> shift) & 255) == 0) continue;
    pass(words, from, to, count, shift);
    const next = from;
    from = to;
    to = next;
  }
  if (from != list) memory.copy(list, from, <usize>count << 2);
  return list;
}

function pass(words: usize, from: usize, to: usize, count: u32, shift: u64): void {
  memory.fill(COUNTS, 0, RADIX << 2);
  const end = from + (<usize>count << 2);
  for (let at = from; at < end; at += 4) {
    const place = COUNTS + (<usize>((load<u64>(words + (<usize>load<u32>(at) << 3)) >> shift) & 255) << 2);
    store<u32>(place, load<u32>(place) + 1);
  }
  let sum: u32 = 0;
  for (let byte: usize = 0; byte < RADIX; byte++) {
    const size = load<u32>(COUNTS + (byte << 2));
    store<u32>(COUNTS + (byte << 2), sum);
    sum += size;
  }
  for (let at = from; at < end; at += 4) {
    const number = load<u32>(at);
    const place = COUNTS + (<usize>((load<u64>(words + (<usize>number << 3)) >> shift) & 255) << 2);
    const target = load<u32>(place);
    store<u32>(place, target + 1);
    store<u32>(to + (<usize>target << 2), number);
  }
}
