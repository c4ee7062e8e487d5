import { Batch } from "../batch/batch";
import { decodeColumnsNamed, decodeColumnsOnly, decodeRest } from "../codec/decode";
import { MAX_DEPTH, Program } from "./event-writer";
import { buildKeyFilter, mayHoldKey } from "./key-filter";
import { Page } from "./page";
import { rows, selection, selectRows } from "./select";

/** The `Selection` to fill before `querySelect`. */
export function querySelection(): usize {
  return changetype<usize>(selection);
}

/** Appends the block's rows, of the named columns alone: the others are null. 0, or why not (`Failure`). */
export function queryDecodeColumns(block: usize, length: u32, batch: Batch, names: usize, count: u32): u32 {
  return decodeColumnsNamed(block, length, batch, names, count);
}

/** The same, and the batch gets no others. */
export function queryDecodeOnly(block: usize, length: u32, batch: Batch, names: usize, count: u32): u32 {
  return decodeColumnsOnly(block, length, batch, names, count);
}

/** Decodes the other columns of that block, which still stands where it did. 0, or why not. */
export function queryDecodeRest(batch: Batch): u32 {
  return decodeRest(batch);
}

/** Selects rows of a sealed batch. Gives how many. */
export function querySelect(batch: Batch): u32 {
  return selectRows(batch);
}

/** u32 each: the rows of the last `querySelect`. */
export function querySelected(): usize {
  return rows;
}

/** How deep the members of a program may lie. */
export function maxDepth(): u32 {
  return MAX_DEPTH;
}

export function pageCreate(): Page {
  return Page.create();
}

export function pageBegin(page: Page, limit: u32, maxBytes: u32): void {
  page.begin(limit, maxBytes);
}

/** Merges the selected rows of the batch of block `seq`. Gives how many are left to be woven by `pageSetLine`. */
export function pageAdd(page: Page, batch: Batch, seq: f64, program: Program, selected: u32): u32 {
  return page.add(batch, seq, program, selected);
}

/** Entries, the one after the page included. */
export function pageCount(page: Page): u32 {
  return page.count;
}

/** Whether the last entry stands after the page. */
export function pageIsFull(page: Page): u32 {
  return page.isFull;
}

/** The address of an `Entry`. */
export function pageEntry(page: Page, index: u32): usize {
  return changetype<usize>(page.entry(index));
}

export function pageSetLine(page: Page, index: u32, text: usize, length: u32): void {
  page.setLine(index, text, length);
}

/** How many of the first `count` entries are before a time. */
export function pageCountBefore(page: Page, count: u32, timeUs: i64): u32 {
  while (count > 0 && page.entry(count - 1).timeUs >= timeUs) count--;
  return count;
}

/** How many of the first `count` entries, from the last back, have its time. */
export function pageTail(page: Page, count: u32): u32 {
  if (count == 0) return 0;
  const timeUs = page.entry(count - 1).timeUs;
  let tail: u32 = 0;
  while (tail < count && page.entry(count - 1 - tail).timeUs == timeUs) tail++;
  return tail;
}

/** The lines of the first `count` entries, at `pageBytes`. Gives their bytes. */
export function pageFinish(page: Page, count: u32): u32 {
  return page.finish(count);
}

export function pageBytes(page: Page): usize {
  return page.bytes.data;
}

/** The address of a `ByteBuffer` with the filter of a block's keys, or 0: see `buildKeyFilter`. */
export function keyFilterBuild(batch: Batch, names: usize, count: u32, maxBytes: u32): usize {
  return buildKeyFilter(batch, names, count, maxBytes);
}

/** 1 when the key may be in the filter's block. */
export function keyFilterTest(filter: usize, length: u32, key: usize, keyLength: u32): u32 {
  return <u32>mayHoldKey(filter, length, key, keyLength);
}
