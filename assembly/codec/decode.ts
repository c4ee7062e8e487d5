import { Batch, Column, ColumnType } from "../batch/batch";
import { decodeBitmap } from "./bitmap";
import { crc32c } from "./crc32c";
import { decodeFloats } from "./floats";
import { decodeIntegers } from "./integers";
import { BlockHead, CHECKED_FROM, HAS_EXTRA, HAS_FLAGS, HEAD_BYTES, isTooLarge, MAGIC, VERSION } from "./layout";
import {
  cursor,
  fail,
  failure,
  Failure,
  limit,
  openReader,
  openSection,
  readBytes,
  readU32,
  readU8,
  readVarint,
  remaining,
} from "./reader";
import { Scratch, scratch } from "./scratch";
import { decodeTexts } from "./texts";
import { widenColumn, widenValue, widerOf } from "./widen";

/** Bitmaps are spread eight rows at a time. */
const SPARE_ROWS: u32 = 16;
/** Verbatim bytes of one batch. */
const MAX_RAW_BYTES: u64 = 1 << 29;

/**
 * Appends a block's rows to a batch; columns meet by name, in the wider of their types. On failure the batch has
 * the rows it had before (columns and wider types may stay). The input is followed by 64 readable bytes.
 */
export function decodeBlock(block: usize, length: u32, batch: Batch): Failure {
  openReader(block, block + length);
  checkHead(block, length);
  if (failure != Failure.None) return failure;
  const head = changetype<BlockHead>(block);
  const before = batch.rows;
  if (isTooLarge(<u64>before + head.rows, max<u32>(batch.columnCount, head.columnCount))) return Failure.TooLarge;
  batch.seal();
  openSection(block + HEAD_BYTES, length - HEAD_BYTES);
  decodeBody(head, batch, before, block + length);
  if (failure == Failure.None) batch.rows = before + head.rows;
  else takeBack(batch, before);
  batch.seal();
  return failure;
}

function checkHead(block: usize, length: u32): void {
  const head = changetype<BlockHead>(block);
  if (length < 4 || head.magic != MAGIC) return fail(Failure.Magic);
  if (length < HEAD_BYTES) return fail(Failure.Truncated);
  if (head.version != VERSION) return fail(Failure.Version);
  if (head.length > length) return fail(Failure.Truncated);
  if (head.length < length) return fail(Failure.Corrupt);
  if (crc32c(block + CHECKED_FROM, length - CHECKED_FROM) != head.checksum) return fail(Failure.Checksum);
  if (head.parts > (HAS_FLAGS | HAS_EXTRA)) fail(Failure.Corrupt);
}

function decodeBody(head: BlockHead, batch: Batch, before: u32, end: usize): void {
  readBytes(readLength());
  const schema = cursor;
  skipSchema(head.columnCount);
  if (crc32c(schema, <u32>(cursor - schema)) != head.schemaId) fail(Failure.Corrupt);
  if (failure != Failure.None) return;
  const rows = head.rows;
  let next = beginSection(end);
  // 128 times take a byte at the least, and up to two stand before them: room is made for no more rows than that.
  if (failure == Failure.None && rows > 2 + (<u64>remaining() << 7)) fail(Failure.Corrupt);
  if (failure != Failure.None) return;
  batch.ensure(before + rows + SPARE_ROWS);
  decodeTimes(head, batch.times + (<usize>before << 3));
  next = nextSection(next, end);
  memory.fill(batch.flags + before, 0, rows);
  if (head.parts & HAS_FLAGS) {
    decodeFlags(batch.flags + before, rows);
    next = nextSection(next, end);
  }
  let entry = schema;
  for (let i: u32 = 0; i < head.columnCount && failure == Failure.None; i++) {
    const type = <ColumnType>load<u8>(entry);
    const nameLength = lengthAt(entry + 1);
    const name = entry + 1 + lengthSizeAt(entry + 1);
    entry = name + nameLength;
    decodeColumn(columnNamed(batch, i, name, nameLength, type), type, before, rows);
    next = nextSection(next, end);
  }
  if (head.parts & HAS_EXTRA) {
    decodeColumn(batch.extra, ColumnType.Raw, before, rows);
    next = nextSection(next, end);
  }
}

/** A varint that is a length within what remains, else failure and 0. */
function readLength(): u32 {
  const length = readVarint();
  if (length > remaining()) {
    fail(Failure.Corrupt);
    return 0;
  }
  return <u32>length;
}

function skipSchema(columns: u32): void {
  for (let i: u32 = 0; i < columns && failure == Failure.None; i++) {
    if (readU8() > <u32>ColumnType.Text) fail(Failure.Corrupt);
    readBytes(readLength());
  }
}

/** The varint at an address that `skipSchema` has been over. */
function lengthAt(at: usize): u32 {
  let value: u32 = 0;
  let shift: u32 = 0;
  while (true) {
    const byte = <u32>load<u8>(at++);
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
    shift += 7;
  }
}

function lengthSizeAt(at: usize): usize {
  let size: usize = 1;
  while (load<u8>(at++) >= 0x80) size++;
  return size;
}

/** Narrows reading to the section at the cursor; gives where the next one begins. */
function beginSection(end: usize): usize {
  const length = readU32();
  if (length > remaining()) fail(Failure.Corrupt);
  if (failure != Failure.None) return end;
  const next = cursor + length;
  openSection(cursor, length);
  return next;
}

/** Leaves a section, which must have been read to its end, for the next. At the block's end there is none. */
function nextSection(next: usize, end: usize): usize {
  if (cursor != limit) fail(Failure.Corrupt);
  if (failure != Failure.None || next == end) {
    openSection(end, 0);
    return end;
  }
  openSection(next, <u32>(end - next));
  return beginSection(end);
}

function decodeTimes(head: BlockHead, target: usize): void {
  decodeIntegers(head.rows, target);
  if (failure != Failure.None || head.rows == 0) return;
  let least = i64.MAX_VALUE;
  let greatest = i64.MIN_VALUE;
  for (let at = target, end = target + (<usize>head.rows << 3); at < end; at += 8) {
    const time = load<i64>(at);
    least = min(least, time);
    greatest = max(greatest, time);
  }
  if (least != head.minTime || greatest != head.maxTime) fail(Failure.Corrupt);
}

function decodeFlags(target: usize, rows: u32): void {
  const any = readU8();
  const bits = scratch(Scratch.Bools, rows);
  for (let bit: u32 = 0; bit < 8; bit++) {
    if (((any >> bit) & 1) == 0) continue;
    decodeBitmap(rows, bits);
    if (failure != Failure.None) return;
    for (let i: u32 = 0; i < rows; i++) store<u8>(target + i, <u8>(<u32>load<u8>(target + i) | (<u32>load<u8>(bits + i) << bit)));
  }
}

/** The batch's column of that name, added when missing; most often it stands at the same index. */
function columnNamed(batch: Batch, hint: u32, name: usize, nameLength: u32, type: ColumnType): Column {
  if (hint < batch.columnCount) {
    const column = batch.column(hint);
    if (column.nameLength == nameLength && memory.compare(column.name, name, nameLength) == 0) return column;
  }
  const index = batch.indexOf(name, nameLength);
  return batch.column(index >= 0 ? <u32>index : batch.addColumn(name, nameLength, type));
}

function decodeColumn(column: Column, type: ColumnType, before: u32, rows: u32): void {
  column.fillNulls(before);
  // Filled already: the block names one column twice.
  if (column.filled > before) return fail(Failure.Corrupt);
  widenColumn(column, widerOf(column.type, type));
  const valid = column.valid + before;
  const cells = column.cell(before);
  if (type == ColumnType.Null) return column.fillNulls(before + rows);
  const count = decodeBitmap(rows, valid);
  if (failure != Failure.None) return;
  column.filled = before + rows;
  column.nulls += rows - count;
  const isDirect = count == rows && type == column.type;
  const values = isDirect ? cells : scratch(Scratch.Dense, <usize>count << 3);
  decodeValues(column, type, count, values);
  if (!isDirect && failure == Failure.None) spread(column, type, values, before, rows);
}

function decodeValues(column: Column, type: ColumnType, count: u32, target: usize): void {
  if (type == ColumnType.Int) decodeIntegers(count, target);
  else if (type == ColumnType.Float) decodeFloats(count, target);
  else if (type == ColumnType.Text) decodeTexts(count, column.dictionary, target);
  else if (type == ColumnType.Raw) decodeRaw(column, count, target);
  else decodeBools(count, target);
}

function decodeBools(count: u32, target: usize): void {
  const bytes = scratch(Scratch.Bools, count);
  if (count > 0) decodeBitmap(count, bytes);
  if (failure != Failure.None) return;
  for (let i: u32 = 0; i < count; i++) store<u64>(target + (<usize>i << 3), load<u8>(bytes + i));
}

function decodeRaw(column: Column, count: u32, target: usize): void {
  decodeIntegers(count, target);
  if (failure != Failure.None) return;
  const total = remaining();
  let offset = column.bytes.length;
  if (<u64>offset + total > MAX_RAW_BYTES) return fail(Failure.TooLarge);
  const stop = <u64>offset + total;
  for (let at = target, end = target + (<usize>count << 3); at < end; at += 8) {
    const length = load<u64>(at);
    if (length > stop - offset) return fail(Failure.Corrupt);
    store<u64>(at, <u64>offset | (length << 32));
    offset += <u32>length;
  }
  if (offset != stop) return fail(Failure.Corrupt);
  column.bytes.append(readBytes(total), total);
}

/** Puts the values of the rows that have one in their places, in the column's type. */
function spread(column: Column, type: ColumnType, values: usize, before: u32, rows: u32): void {
  const end = before + rows;
  for (let row = before; row < end; row++) {
    if (!column.isValid(row)) {
      store<u64>(column.cell(row), 0);
      continue;
    }
    store<u64>(column.cell(row), type == column.type ? load<u64>(values) : widenValue(load<u64>(values), type, column));
    values += 8;
  }
}

/** Forgets the rows from `before` on in every column. */
function takeBack(batch: Batch, before: u32): void {
  for (let i: u32 = 0; i < batch.columnCount; i++) shorten(batch.column(i), before);
  shorten(batch.extra, before);
}

function shorten(column: Column, before: u32): void {
  for (let row = before; row < column.filled; row++) if (!column.isValid(row)) column.nulls--;
  column.filled = min(column.filled, before);
}
