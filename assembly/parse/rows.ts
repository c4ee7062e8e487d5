import { Column, FLAG_CLOCK_SKEW } from "../batch/batch";
import { Key, MARK_ARRIVAL, Role } from "./key";
import { readOddValue } from "./odd-values";
import { Parser } from "./parser";
import { readPlainBools, readPlainFloats, readPlainInts, readPlainTexts, readPlainTimes, readPlainTimeTexts } from "./plain-values";
import { MAX_RUN, Slot, SPANS } from "./slots";
import { firstMark, indexStructure, NOTHING, windowEnd, windowStart } from "./structure";
import { Source } from "./source";
import { Unit } from "./time";
import { isOutOfMarks, seenInAll, seenInAny, stepAt, walkedMark, walkedTo, walkRows } from "./walk";

/** A run may become that short where values are often for the full reader. */
const SHORT_RUN: u32 = 8;
/** So many values are read the long way before the short one is tried again. */
const ODD_AT_ONCE: u32 = 8;

const source = changetype<Source>(memory.data(offsetof<Source>(), 8));

/** The first mark that was not used yet. */
let resume: usize = 0;

/** How many rows the last call of `readRows` read. */
export let rowsRead: u32 = 0;

/**
 * Reads rows from `start` on, as many as are like those that the parser knows, and gives where the first begins that is not: that one
 * is for `readRow`. Sets `rowsRead`.
 *
 * Strategy: three passes over runs of rows that stay in the processor's nearest cache. The first marks the punctuation, the second looks
 * up each key and notes where its value stands, the third reads the values column by column. So the order of fields
 * changes nothing for the processor's predictions: no branch depends on which key it is.
 */
export function readRows(parser: Parser, start: usize, end: usize): usize {
  rowsRead = 0;
  if (parser.slots.version != parser.keys.version) parser.slots.fill(parser.keys);
  if (parser.slots.count == 0) return start;
  let at = start;
  let mark = findMark(at, end);
  while (at < end && parser.hasRoom()) {
    const most = min<u32>(parser.run, parser.batch.capacity - parser.batch.rows);
    const walked = walkRows(parser, mark, at, end, most);
    const isEnded = walked < most;
    const needsMarks = isOutOfMarks && windowEnd < end;
    const read: u32 = walked == 0 ? 0 : readColumns(parser, walked);
    rowsRead += read;
    if (read < walked) {
      parser.run = max<u32>(read, SHORT_RUN);
      resume = stepAt(read).mark;
      return stepAt(read).start;
    }
    parser.run = min<u32>(parser.run << 1, MAX_RUN);
    at = walkedTo;
    mark = walkedMark;
    resume = mark;
    if (!isEnded) continue;
    if (!needsMarks || at == windowStart) break;
    indexStructure(at, end);
    mark = firstMark();
    resume = mark;
  }
  return at;
}

/** The mark at `at`, or the first after it. */
function findMark(at: usize, end: usize): usize {
  if (at >= windowStart && at < windowEnd) {
    let mark = resume;
    while (load<u32>(mark) != <u32>NOTHING && load<u32>(mark) + 1 < <u32>at) mark += 4;
    // A bad line may have left the index with inside and outside of strings exchanged.
    if (load<u32>(mark) + 1 == <u32>at || load<u8>(at) != 0x7b) return mark;
  }
  indexStructure(at, end);
  resume = firstMark();
  return resume;
}

/** Makes rows of what was walked. Gives how many: the one after them has a value that is for the full reader. */
function readColumns(parser: Parser, walked: u32): u32 {
  const batch = parser.batch;
  const slots = parser.slots;
  const first = batch.rows;
  const inAll = seenInAll;
  const inAny = seenInAny;
  if ((inAll & slots.timeBits) == 0) setTimes(batch.times + (<usize>first << 3), parser.arrivalUs, walked);
  let rows = walked;
  let texts: u64 = 0;
  let withNulls = inAny & ~inAll;
  for (let rest = inAny; rest != 0; rest &= rest - 1) {
    const slot = slots.slot(<u32>ctz<u64>(rest));
    if (slot.key.role == Role.Text) {
      texts |= slot.bit;
      continue;
    }
    rows = readColumn(parser, slot, first, rows);
    if (source.hasNulls) withNulls |= slot.bit;
  }
  // Last, so that no texts are interned of rows that are given up.
  for (; texts != 0; texts &= texts - 1) {
    const slot = slots.slot(<u32>ctz<u64>(texts));
    rows = readColumn(parser, slot, first, rows);
    if (source.hasNulls) withNulls |= slot.bit;
  }
  for (let rest = inAny; rest != 0; rest &= rest - 1) {
    const slot = slots.slot(<u32>ctz<u64>(rest));
    if (!hasCells(slot.key.role)) continue;
    const column = slot.key.columnOf;
    column.filled = first + rows;
    if (withNulls & slot.bit) column.nulls += countNulls(column, first, rows);
  }
  markRows(parser, first, rows);
  batch.rows = first + rows;
  return rows;
}

@inline
function hasCells(role: Role): bool {
  return role != Role.Time && role != Role.Other;
}

/** Reads the values of a slot. Gives how many of the rows could be read. */
function readColumn(parser: Parser, slot: Slot, first: u32, rows: u32): u32 {
  const key = slot.key;
  source.spans = changetype<usize>(slot) + SPANS;
  source.steps = changetype<usize>(stepAt(0));
  source.bit = slot.bit;
  source.isSparse = u32((seenInAll & slot.bit) == 0);
  source.isStrict = u32(key.marks != 0);
  source.hasNulls = 0;
  const role = key.role;
  if (role == Role.Time) {
    source.cells = parser.batch.times + (<usize>first << 3);
  } else if (role != Role.Other) {
    const column = key.columnOf;
    column.fillNulls(first);
    source.cells = column.cell(first);
    source.valid = column.valid + first;
    setValid(source.valid, rows);
  }
  const unit = parser.plan.unit;
  let row: u32 = 0;
  while (true) {
    const plainEnd = readPlain(key, unit, row, rows);
    // Where none was plain, others are not expected to be.
    const oddEnd = min<u32>(plainEnd + (plainEnd == row ? ODD_AT_ONCE : 1), rows);
    for (row = plainEnd; row < oddEnd; row++) {
      if (!readOddValue(key, unit, source, row)) return row;
    }
    if (row == rows) return rows;
  }
}

/** Reads values as long as they are plain. Gives the first row that is not read. */
function readPlain(key: Key, unit: Unit, row: u32, rows: u32): u32 {
  switch (key.role) {
    case Role.Int:
      return readPlainInts(source, row, rows);
    case Role.Float:
      return readPlainFloats(source, row, rows);
    case Role.Bool:
      return readPlainBools(source, row, rows);
    case Role.Text:
      return readPlainTexts(key.columnOf.dictionary, source, row, rows);
    case Role.Time:
      if (unit != Unit.Iso) row = readPlainTimes(unit, source, row, rows);
      return readPlainTimeTexts(source, row, rows);
  }
  return row;
}

/** Mostly of few rows, for which `memory.fill`, a call out of the module, is slow. */
function setValid(at: usize, rows: u32): void {
  let i: usize = 0;
  for (; i + 8 <= <usize>rows; i += 8) store<u64>(at + i, 0x0101010101010101);
  for (; i < <usize>rows; i++) store<u8>(at + i, 1);
}

function countNulls(column: Column, first: u32, rows: u32): u32 {
  let count: u32 = 0;
  for (let row = first; row < first + rows; row++) count += u32(load<u8>(column.valid + row) == 0);
  return count;
}

function setTimes(times: usize, us: i64, rows: u32): void {
  for (let i: u32 = 0; i < rows; i++) store<i64>(times + (<usize>i << 3), us);
}

/** Sets the flags of the rows, and notes what gave their times. */
function markRows(parser: Parser, first: u32, rows: u32): void {
  const batch = parser.batch;
  const latest = parser.latestUs;
  const timeBits = parser.slots.timeBits;
  const times = batch.times + (<usize>first << 3);
  const flags = batch.flags + first;
  let seen: u64 = 0;
  let marks: u32 = 0;
  for (let i: u32 = 0; i < rows; i++) {
    store<u8>(flags + i, load<i64>(times + (<usize>i << 3)) > latest ? FLAG_CLOCK_SKEW : 0);
    const seenHere = stepAt(i).seen;
    seen |= seenHere;
    marks |= (seenHere & timeBits) == 0 ? MARK_ARRIVAL : 0;
  }
  for (let rest = seen; rest != 0; rest &= rest - 1) marks |= parser.slots.slot(<u32>ctz<u64>(rest)).key.marks;
  parser.batchMarks |= marks;
}
