import { keepFirstText, keepLastText, keepMaxText, keepMinText } from "../aggregate/kept-text";
import { BOOLS, DISTINCT, EXTREMES, FIRST, LAST, Layout, TEXTS, TOP } from "../aggregate/layout";
import { More, moreOf } from "../aggregate/more";
import { hashText, hashValue, isDouble, ValueKind } from "../aggregate/value";
import { Column, ColumnType } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { isBytesAfter } from "../state/sort";

/** Hashes of texts are stored, so they have no secret seed. */
const STORED_SEED: u64 = 0;

/** Text ids of the rows at hand, each once (u32). */
const seen = ByteBuffer.create(1024);
/** By text id, how many of the rows at hand have it (u32); all 0 between calls. */
let counts: usize = 0;
let countCapacity: u32 = 0;

/** The families that take a column's values as they are, not as numbers: what then `addTypedRows` has to do. */
export function typedFamilies(layout: Layout, column: Column, rows: u32): u32 {
  const families = layout.families;
  switch (column.type) {
    case ColumnType.Bool:
      return families & (BOOLS | DISTINCT | TOP);
    case ColumnType.Int:
      return families & (DISTINCT | TOP) && hasLargeInts(column, rows) ? families & (DISTINCT | TOP) : 0;
    case ColumnType.Text:
      return families & (TEXTS | DISTINCT | TOP);
    default:
      return 0;
  }
}

/** Whether any number would be rounded to a double. */
function hasLargeInts(column: Column, rows: u32): bool {
  for (let row: u32 = 0; row < rows; row++) if (!isDouble(load<i64>(column.cell(row)))) return true;
  return false;
}

/** Takes the values of some rows (u32 each) into a record's `typedFamilies`. */
export function addTypedRows(layout: Layout, record: usize, column: Column, rowTimes: usize, rows: usize, n: u32): void {
  const more = moreOf(layout, record);
  if (column.type == ColumnType.Bool) addBools(layout, more, column, rows, n);
  else if (column.type == ColumnType.Int) addInts(layout, more, column, rows, n);
  else addTexts(layout, more, column, rowTimes, rows, n);
  if (layout.families & TOP) more.topOf(layout.topSize).settle();
}

@inline
function rowAt(rows: usize, index: u32): u32 {
  return load<u32>(rows + (<usize>index << 2));
}

function addBools(layout: Layout, more: More, column: Column, rows: usize, n: u32): void {
  let count: u64 = 0;
  let trues: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const row = rowAt(rows, i);
    if (!column.isValid(row)) continue;
    count++;
    if (load<u8>(column.cell(row)) != 0) trues++;
  }
  if (layout.families & BOOLS) more.addBools(count, trues);
  if (trues != 0) addBool(layout, more, 1, trues);
  if (count != trues) addBool(layout, more, 0, count - trues);
}

function addBool(layout: Layout, more: More, bits: u64, count: u64): void {
  if (layout.families & DISTINCT) more.addHash(hashValue(ValueKind.Bool, bits));
  if (layout.families & TOP) more.topOf(layout.topSize).add(ValueKind.Bool, bits, count);
}

function addInts(layout: Layout, more: More, column: Column, rows: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    const row = rowAt(rows, i);
    if (!column.isValid(row)) continue;
    const value = load<i64>(column.cell(row));
    const kind = isDouble(value) ? ValueKind.Number : ValueKind.Int;
    const bits = kind == ValueKind.Number ? reinterpret<u64>(<f64>value) : <u64>value;
    if (layout.families & DISTINCT) more.addHash(hashValue(kind, bits));
    if (layout.families & TOP) more.topOf(layout.topSize).add(kind, bits, 1);
  }
}

function addTexts(layout: Layout, more: More, column: Column, rowTimes: usize, rows: usize, n: u32): void {
  const texts = column.dictionary;
  const families = layout.families;
  if (families & TEXTS && families & (FIRST | LAST)) addEnds(families, more, column, rowTimes, rows, n);
  if (!(families & (DISTINCT | TOP) || (families & TEXTS && families & EXTREMES))) return;
  countTexts(column, rows, n);
  for (let i: u32 = 0; i < seen.length >> 2; i++) {
    const id = load<u32>(seen.data + (<usize>i << 2));
    const place = counts + (<usize>id << 2);
    const text = texts.pointer(id);
    const length = texts.length(id);
    if (families & TEXTS && families & EXTREMES) {
      keepMinText(more.minPlace, text, length);
      keepMaxText(more.maxPlace, text, length);
    }
    if (families & DISTINCT) more.addHash(hashText(text, length, STORED_SEED));
    if (families & TOP) more.topOf(layout.topSize).addText(text, length, load<u32>(place));
    store<u32>(place, 0);
  }
}

/** Fills `seen` and `counts`. */
function countTexts(column: Column, rows: usize, n: u32): void {
  ensureCounts(column.dictionary.count);
  seen.reset();
  seen.reserve(n << 2);
  for (let i: u32 = 0; i < n; i++) {
    const row = rowAt(rows, i);
    if (!column.isValid(row)) continue;
    const id = load<u32>(column.cell(row));
    const place = counts + (<usize>id << 2);
    const count = load<u32>(place);
    store<u32>(place, count + 1);
    if (count != 0) continue;
    store<u32>(seen.data + seen.length, id);
    seen.length += 4;
  }
}

function ensureCounts(ids: u32): void {
  if (ids <= countCapacity) return;
  if (counts != 0) heap.free(counts);
  countCapacity = max(countCapacity, 256);
  while (countCapacity < ids) countCapacity <<= 1;
  counts = heap.alloc(<usize>countCapacity << 2);
  memory.fill(counts, 0, <usize>countCapacity << 2);
}

function addEnds(families: u32, more: More, column: Column, rowTimes: usize, rows: usize, n: u32): void {
  const texts = column.dictionary;
  let firstTime: i64 = 0;
  let lastTime: i64 = 0;
  let first: u32 = 0;
  let last: u32 = 0;
  let isEmpty = true;
  for (let i: u32 = 0; i < n; i++) {
    const row = rowAt(rows, i);
    if (!column.isValid(row)) continue;
    const time = load<i64>(rowTimes + (<usize>row << 3));
    const id = load<u32>(column.cell(row));
    if (isEmpty || time < firstTime || (time == firstTime && isTextAfter(texts, first, id))) {
      firstTime = time;
      first = id;
    }
    if (isEmpty || time > lastTime || (time == lastTime && isTextAfter(texts, id, last))) {
      lastTime = time;
      last = id;
    }
    isEmpty = false;
  }
  if (isEmpty) return;
  if (families & FIRST) keepFirstText(more.firstPlace, firstTime, texts.pointer(first), texts.length(first));
  if (families & LAST) keepLastText(more.lastPlace, lastTime, texts.pointer(last), texts.length(last));
}

@inline
function isTextAfter(texts: Dictionary, a: u32, b: u32): bool {
  return a != b && isBytesAfter(texts.pointer(a), texts.length(a), texts.pointer(b), texts.length(b));
}
