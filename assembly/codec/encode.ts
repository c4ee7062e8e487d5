import { Batch, Column, ColumnType } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";
import { countSet, encodeBitmap } from "./bitmap";
import { crc32c } from "./crc32c";
import { isThorough, setThorough } from "./effort";
import { encodeFloats } from "./floats";
import { encodeIntegers } from "./integers";
import { encodeKeyed, setKeys } from "./keyed";
import {
  BlockHead,
  CHECKED_FROM,
  HAS_EXTRA,
  HAS_FLAGS,
  HEAD_BYTES,
  isTooLarge,
  MAGIC,
  VERSION,
} from "./layout";
import { orderRows } from "./row-order";
import { Scratch, scratch } from "./scratch";
import { greatest, least, spanBits } from "./steps";
import { encodeTexts, numberUsed } from "./texts";
import { writeVarint } from "./writer";

/** The rows in hand: `rowList` is 0 for all of the batch, else the address of their numbers. */
let rowList: usize = 0;
let rowCount: u32 = 0;

/** u32 a row: the number of its key, or 0 when the block is not keyed. */
let rowKeys: usize = 0;
let keyCount: u32 = 0;
/** The column whose texts were numbered last, so that it is not done twice; and how many there are. */
let numbered: usize = 0;
let numberedTexts: u32 = 0;
/** A column whose texts recur at least so often, on average, is the block's key; in quarters. */
const MIN_ROWS_PER_KEY: u32 = 8;
const MIN_ROWS_PER_KEY_THOROUGH: u32 = 5;

/**
 * Appends the block of the batch's rows, or of those with a mask byte other than 0. `mask` is 0 or the address of
 * one byte a row. False when there are too many rows; `out` is then as before.
 */
export function encodeBlock(
  batch: Batch,
  stream: usize,
  streamLength: u32,
  mask: usize,
  out: ByteBuffer,
): bool {
  batch.seal();
  selectRows(batch.rows, mask);
  return encodeSelected(batch, stream, streamLength, out);
}

/** Appends the block of `count` rows from row `from` on, all of them rows of the batch. */
export function encodeRange(
  batch: Batch,
  stream: usize,
  streamLength: u32,
  from: u32,
  count: u32,
  out: ByteBuffer,
): bool {
  batch.seal();
  rowCount = count;
  rowList = scratch(Scratch.Rows, (<usize>count) << 2);
  for (let i: u32 = 0; i < count; i++) store<u32>(rowList + ((<usize>i) << 2), from + i);
  return encodeSelected(batch, stream, streamLength, out);
}

/**
 * Appends the block of all rows of the batch, put in the order that `orderRows` gives (without parts: as they are) and written
 * as small as it can be. False when there are too many.
 */
export function encodeOrdered(
  batch: Batch,
  stream: usize,
  streamLength: u32,
  parts: usize,
  partCount: u32,
  out: ByteBuffer,
): bool {
  batch.seal();
  rowCount = batch.rows;
  rowList = partCount == 0 ? 0 : orderRows(batch, parts, partCount);
  setThorough(true);
  const isDone = encodeSelected(batch, stream, streamLength, out);
  setThorough(false);
  return isDone;
}

function encodeSelected(batch: Batch, stream: usize, streamLength: u32, out: ByteBuffer): bool {
  if (isTooLarge(rowCount, batch.columnCount)) return false;
  const start = out.length;
  out.reserve(HEAD_BYTES);
  out.length += HEAD_BYTES;
  writeVarint(out, streamLength);
  out.append(stream, streamLength);
  const schemaStart = out.length;
  encodeSchema(batch, out);
  const schemaId = crc32c(out.data + schemaStart, out.length - schemaStart);
  writeVarint(out, findKey(batch));

  const times = gatherTimes(batch.times);
  const timesStart = beginSection(out);
  encodeIntegers(times, rowCount, out);
  endSection(timesStart, out);
  if (rowCount > 0) spanBits<i64>(times, 0, rowCount, 0);
  const minTime = rowCount > 0 ? least : 0;
  const maxTime = rowCount > 0 ? greatest : 0;
  let parts: u8 = 0;
  if (encodeFlags(batch, out)) parts |= HAS_FLAGS;
  for (let i: u32 = 0; i < batch.columnCount; i++) encodeColumn(batch.column(i), out);
  if (encodeExtra(batch.extra, out)) parts |= HAS_EXTRA;

  const head = changetype<BlockHead>(out.data + start);
  head.magic = MAGIC;
  head.version = VERSION;
  head.parts = parts;
  head.columnCount = <u16>batch.columnCount;
  head.length = out.length - start;
  head.rows = rowCount;
  head.schemaId = schemaId;
  head.minTime = minTime;
  head.maxTime = maxTime;
  head.checksum = crc32c(out.data + start + CHECKED_FROM, head.length - CHECKED_FROM);
  return true;
}

function selectRows(rows: u32, mask: usize): void {
  rowList = 0;
  rowCount = rows;
  if (mask == 0) return;
  rowCount = countSet(mask, rows);
  if (rowCount == rows) return;
  rowList = scratch(Scratch.Rows, (<usize>rowCount) << 2);
  let target = rowList;
  for (let row: u32 = 0; row < rows; row++) {
    if (load<u8>(mask + row) == 0) continue;
    store<u32>(target, row);
    target += 4;
  }
}

function encodeSchema(batch: Batch, out: ByteBuffer): void {
  for (let i: u32 = 0; i < batch.columnCount; i++) {
    const column = batch.column(i);
    out.u8(<u8>column.type);
    writeVarint(out, column.nameLength);
    out.append(column.name, column.nameLength);
  }
}

@inline
function minRowsPerKey(): u32 {
  return isThorough ? MIN_ROWS_PER_KEY_THOROUGH : MIN_ROWS_PER_KEY;
}

/** Numbers each row's key; gives one more than the index of the key's column, or 0 when there is none. */
function findKey(batch: Batch): u32 {
  rowKeys = 0;
  numbered = 0;
  for (let i: u32 = 0; i < batch.columnCount && rowCount > 0; i++) {
    const column = batch.column(i);
    if (column.type != ColumnType.Text) continue;
    const valid = gatherBytes(column.valid, Scratch.Valid);
    if (countSet(valid, rowCount) != rowCount) continue;
    const ids = scratch(Scratch.Ids, (<usize>rowCount) << 3);
    keyCount = numberUsed(gatherValues(column, valid, rowCount), rowCount, column.dictionary, ids);
    numbered = changetype<usize>(column);
    numberedTexts = keyCount;
    if (keyCount == 1 || (<u64>keyCount * minRowsPerKey()) >> 2 > rowCount) continue;
    rowKeys = scratch(Scratch.Keys, (<usize>rowCount) << 2);
    for (let row: u32 = 0; row < rowCount; row++) {
      store<u32>(rowKeys + ((<usize>row) << 2), load<u32>(ids + ((<usize>row) << 3)));
    }
    return i + 1;
  }
  return 0;
}

/** The keys of the rows that have a value. */
function keysOf(valid: usize, count: u32): usize {
  if (rowKeys == 0 || count == rowCount) return rowKeys;
  const target = scratch(Scratch.ValueKeys, (<usize>rowCount + 1) << 2);
  let at = target;
  for (let row: u32 = 0; row < rowCount; row++) {
    store<u32>(at, load<u32>(rowKeys + ((<usize>row) << 2)));
    at += (<usize>(load<u8>(valid + row) != 0)) << 2;
  }
  return target;
}

/** A section is its length as u32, then its bytes, so that a reader can pass over it. */
function beginSection(out: ByteBuffer): u32 {
  out.u32(0);
  return out.length;
}

function endSection(start: u32, out: ByteBuffer): void {
  store<u32>(out.data + start - 4, out.length - start);
}

function gatherTimes(times: usize): usize {
  if (rowList == 0) return times;
  const target = scratch(Scratch.Dense, (<usize>rowCount) << 3);
  for (let i: u32 = 0; i < rowCount; i++) {
    store<u64>(
      target + ((<usize>i) << 3),
      load<u64>(times + ((<usize>load<u32>(rowList + ((<usize>i) << 2))) << 3)),
    );
  }
  return target;
}

/** The bytes of the selected rows, from one byte a row. */
function gatherBytes(source: usize, purpose: Scratch): usize {
  if (rowList == 0) return source;
  const target = scratch(purpose, rowCount);
  for (let i: u32 = 0; i < rowCount; i++) {
    store<u8>(target + i, load<u8>(source + load<u32>(rowList + ((<usize>i) << 2))));
  }
  return target;
}

/** One bitmap for each bit that any row has set; no section when there is none. */
function encodeFlags(batch: Batch, out: ByteBuffer): bool {
  const flags = gatherBytes(batch.flags, Scratch.Valid);
  const any = orOfBytes(flags, rowCount);
  if (any == 0) return false;
  const start = beginSection(out);
  out.u8(<u8>any);
  const bits = scratch(Scratch.Bools, rowCount);
  for (let bit: u32 = 0; bit < 8; bit++) {
    if (((any >> bit) & 1) == 0) continue;
    for (let i: u32 = 0; i < rowCount; i++) store<u8>(bits + i, <u8>((<u32>load<u8>(flags + i) >> bit) & 1));
    encodeBitmap(bits, rowCount, countSet(bits, rowCount), out);
  }
  endSection(start, out);
  return true;
}

/** The bits that any of `count` bytes has. */
function orOfBytes(source: usize, count: u32): u32 {
  const end = source + count;
  let all = i64x2.splat(0);
  for (; source + 16 <= end; source += 16) all = v128.or(all, v128.load(source));
  let any = i64x2.extract_lane(all, 0) | i64x2.extract_lane(all, 1);
  any |= any >> 32;
  any |= any >> 16;
  any |= any >> 8;
  let bits = <u32>any & 0xff;
  for (; source < end; source++) bits |= load<u8>(source);
  return bits;
}

function encodeColumn(column: Column, out: ByteBuffer): void {
  const start = beginSection(out);
  if (column.type != ColumnType.Null) {
    const valid = gatherBytes(column.valid, Scratch.Valid);
    const count = countSet(valid, rowCount);
    encodeBitmap(valid, rowCount, count, out);
    setKeys(keysOf(valid, count), keyCount);
    if (count > 0) encodeValues(column, gatherValues(column, valid, count), count, out);
  }
  endSection(start, out);
}

/** The cells of the selected rows that are not null, one after another. */
function gatherValues(column: Column, valid: usize, count: u32): usize {
  if (rowList == 0 && count == rowCount) return column.cells;
  const target = scratch(Scratch.Dense, (<usize>rowCount + 1) << 3);
  let at = target;
  for (let i: u32 = 0; i < rowCount; i++) {
    const row = rowList == 0 ? i : load<u32>(rowList + ((<usize>i) << 2));
    store<u64>(at, load<u64>(column.cell(row)));
    at += (<usize>(load<u8>(valid + i) != 0)) << 3;
  }
  return target;
}

function encodeValues(column: Column, cells: usize, count: u32, out: ByteBuffer): void {
  if (column.type == ColumnType.Int) encodeNumbers(cells, count, out);
  else if (column.type == ColumnType.Float) encodeFloats(cells, count, out);
  else if (column.type == ColumnType.Text) encodeTextColumn(column, cells, count, out);
  else if (column.type == ColumnType.Raw) encodeRaw(column, cells, count, out);
  else encodeBools(cells, count, out);
}

function encodeTextColumn(column: Column, cells: usize, count: u32, out: ByteBuffer): void {
  const known = changetype<usize>(column) == numbered ? numberedTexts : 0;
  numbered = 0;
  encodeTexts(cells, count, column.dictionary, known, out);
}

/** In a keyed block a byte says whether the integers are by key. */
function encodeNumbers(cells: usize, count: u32, out: ByteBuffer): void {
  if (rowKeys == 0) return encodeIntegers(cells, count, out);
  const mode = out.length;
  out.u8(1);
  if (encodeKeyed(cells, count, out)) return;
  store<u8>(out.data + mode, 0);
  encodeIntegers(cells, count, out);
}

function encodeBools(cells: usize, count: u32, out: ByteBuffer): void {
  const bytes = scratch(Scratch.Bools, count);
  // Sixteen at a time, each from the lowest byte of its cell.
  for (let i: u32 = 0; i < count; i += 16) {
    const at = cells + ((<usize>i) << 3);
    if (i + 16 > count) {
      for (let rest = i; rest < count; rest++) store<u8>(bytes + rest, load<u8>(cells + ((<usize>rest) << 3)));
      break;
    }
    const first = i16x8.narrow_i32x4_u(lowHalves(at), lowHalves(at + 32));
    const second = i16x8.narrow_i32x4_u(lowHalves(at + 64), lowHalves(at + 96));
    v128.store(bytes + i, i8x16.narrow_i16x8_u(first, second));
  }
  encodeBitmap(bytes, count, countSet(bytes, count), out);
}

/** Of four cells of 0 or 1. */
@inline
function lowHalves(cells: usize): v128 {
  return v128.shuffle<i32>(v128.load(cells), v128.load(cells, 16), 0, 2, 4, 6);
}

function encodeExtra(extra: Column, out: ByteBuffer): bool {
  const valid = gatherBytes(extra.valid, Scratch.Valid);
  const count = countSet(valid, rowCount);
  if (count == 0) return false;
  const start = beginSection(out);
  encodeBitmap(valid, rowCount, count, out);
  encodeRaw(extra, gatherValues(extra, valid, count), count, out);
  endSection(start, out);
  return true;
}

/** The lengths, then all bytes. */
function encodeRaw(column: Column, cells: usize, count: u32, out: ByteBuffer): void {
  const lengths = scratch(Scratch.Lengths, (<usize>count) << 3);
  for (let at: usize = 0, end = (<usize>count) << 3; at < end; at += 8) {
    store<u64>(lengths + at, load<u32>(cells + at, 4));
  }
  encodeIntegers(lengths, count, out);
  for (let at: usize = 0, end = (<usize>count) << 3; at < end; at += 8) {
    out.append(column.bytes.data + load<u32>(cells + at), load<u32>(cells + at, 4));
  }
}
