import { Batch, Column, ColumnType } from "../batch/batch";
import { decodeBitmap } from "./bitmap";
import { crc32c } from "./crc32c";
import { decodeFloats } from "./floats";
import { decodeIntegers } from "./integers";
import { decodeKeyed, hasKeys, setKeys } from "./keyed";
import { BlockHead, CHECKED_FROM, HAS_EXTRA, HAS_FLAGS, HEAD_BYTES, isTooLarge, MAGIC, VERSION } from "./layout";
import {
  cursor,
  Failure,
  fail,
  failure,
  limit,
  openReader,
  openSection,
  readBytes,
  readU8,
  readU32,
  readVarint,
  remaining,
} from "./reader";
import { Scratch, scratch } from "./scratch";
import { decodeTexts } from "./texts";
import { widenColumn, widenValue, widerOf } from "./widen";

/** Bitmaps are spread eight rows at a time. */
export const SPARE_ROWS: u32 = 16;
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
  decodeBody(head, batch, before);
  if (failure == Failure.None) batch.rows = before + head.rows;
  else takeBack(batch, before);
  batch.seal();
  return failure;
}

/** Names of the only columns to decode, a u32 length and the bytes each; 0: all of them. */
let wantedNames: usize = 0;
let wantedCount: u32 = 0;
/** Whether the batch gets no others. */
let isOnlyWanted: bool = false;
/** Where the columns of the last block stand that `decodeColumnsNamed` passed over. */
let restSections: usize = 0;
let restCount: u32 = 0;
let restBefore: u32 = 0;
let restRows: u32 = 0;

/**
 * `decodeBlock` of some columns: the others are null in the new rows, until `decodeRest`. Names and block stay where they
 * are until then.
 */
export function decodeColumnsNamed(block: usize, length: u32, batch: Batch, names: usize, count: u32): Failure {
  wantedNames = names;
  wantedCount = count;
  restCount = 0;
  const outcome = decodeBlock(block, length, batch);
  wantedNames = 0;
  return outcome;
}

/** `decodeBlock` of some columns: the batch gets no others, but for the key's where it is needed to read them. */
export function decodeColumnsOnly(block: usize, length: u32, batch: Batch, names: usize, count: u32): Failure {
  isOnlyWanted = true;
  const outcome = decodeColumnsNamed(block, length, batch, names, count);
  isOnlyWanted = false;
  restCount = 0;
  return outcome;
}

/** Decodes the columns that the last `decodeColumnsNamed` passed over; nothing was done with the batch since but reading. */
export function decodeRest(batch: Batch): Failure {
  for (let i: u32 = 0; i < restCount && failure == Failure.None; i++) {
    const from = section(restSections, i);
    // Its new rows are nulls, all of them.
    from.column.filled = restBefore;
    from.column.nulls -= restRows;
    decodeSection(from, restBefore, restRows);
  }
  if (failure != Failure.None) {
    takeBack(batch, restBefore);
    batch.rows = restBefore;
  }
  batch.seal();
  return failure;
}

/** Keeps in mind a column for `decodeRest`, in the place of one that is decoded already. */
function passOver(sections: usize, from: Section, before: u32, rows: u32): void {
  restSections = sections;
  restBefore = before;
  restRows = rows;
  memory.copy(changetype<usize>(section(sections, restCount)), changetype<usize>(from), offsetof<Section>());
  restCount++;
}

function isWanted(name: usize, nameLength: u32): bool {
  if (wantedNames == 0) return true;
  let at = wantedNames;
  for (let i: u32 = 0; i < wantedCount; i++) {
    const length = load<u32>(at);
    if (nameLength == length && memory.compare(name, at + 4, length) == 0) return true;
    at += 4 + length;
  }
  return false;
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

/** Where a section stands, and for a column's what it belongs to. */
@unmanaged
class Section {
  start: usize;
  length: u32;
  column: Column;
  type: ColumnType;
}

/** u32 a row: the number of its key, or 0 when the block is not keyed. */
let rowKeys: usize = 0;
let keyCount: u32 = 0;

function decodeBody(head: BlockHead, batch: Batch, before: u32): void {
  readBytes(readLength());
  const schema = cursor;
  skipSchema(head.columnCount);
  if (crc32c(schema, <u32>(cursor - schema)) != head.schemaId) fail(Failure.Corrupt);
  const key = readVarint();
  if (key > head.columnCount) fail(Failure.Corrupt);
  const sections = findSections(head);
  if (failure != Failure.None) return;
  const rows = head.rows;
  // 128 times take a byte at the least, and up to two stand before them: room is made for no more rows than that.
  if (rows > 2 + (<u64>section(sections, 0).length << 7)) return fail(Failure.Corrupt);
  batch.ensure(before + rows + SPARE_ROWS);
  openSection(section(sections, 0).start, section(sections, 0).length);
  decodeTimes(head, batch.times + (<usize>before << 3));
  closeSection();
  memory.fill(batch.flags + before, 0, rows);
  if (head.parts & HAS_FLAGS) {
    if (failure != Failure.None) return;
    openSection(section(sections, 1).start, section(sections, 1).length);
    decodeFlags(batch.flags + before, rows);
    closeSection();
  }
  if (failure != Failure.None) return;
  const firstColumn: u32 = head.parts & HAS_FLAGS ? 2 : 1;
  assignColumns(head, batch, schema, sections, firstColumn, <u32>key);
  decodeColumns(head, sections, firstColumn, <u32>key, before);
}

@inline
function section(sections: usize, index: u32): Section {
  return changetype<Section>(sections + <usize>index * offsetof<Section>());
}

/** Notes where all sections stand: times, flags, columns, extra. They fill the block. */
function findSections(head: BlockHead): usize {
  const count: u32 = 1 + (head.parts & HAS_FLAGS ? 1 : 0) + head.columnCount + (head.parts & HAS_EXTRA ? 1 : 0);
  const sections = scratch(Scratch.Sections, <usize>count * offsetof<Section>());
  for (let i: u32 = 0; i < count && failure == Failure.None; i++) {
    const length = readU32();
    section(sections, i).length = length;
    section(sections, i).start = readBytes(length);
  }
  if (cursor != limit) fail(Failure.Corrupt);
  return sections;
}

/** A section must have been read to its end. */
function closeSection(): void {
  if (cursor != limit) fail(Failure.Corrupt);
}

/** Gives each column's section its column in the batch, in the order of the block; null to those that are not to be there. */
function assignColumns(
  head: BlockHead,
  batch: Batch,
  schema: usize,
  sections: usize,
  firstColumn: u32,
  key: u32,
): void {
  let entry = schema;
  for (let i: u32 = 0; i < head.columnCount; i++) {
    const type = <ColumnType>load<u8>(entry);
    const nameLength = lengthAt(entry + 1);
    const name = entry + 1 + lengthSizeAt(entry + 1);
    entry = name + nameLength;
    section(sections, firstColumn + i).type = type;
    const isLeftOut = isOnlyWanted && i + 1 != key && !isWanted(name, nameLength);
    section(sections, firstColumn + i).column = isLeftOut
      ? changetype<Column>(0)
      : columnNamed(batch, i, name, nameLength, type);
  }
  if ((head.parts & HAS_EXTRA) == 0) return;
  section(sections, firstColumn + head.columnCount).type = ColumnType.Raw;
  section(sections, firstColumn + head.columnCount).column = batch.extra;
}

/** The key's column goes first, since others need it. `key` is one more than its index, or 0. */
function decodeColumns(head: BlockHead, sections: usize, firstColumn: u32, key: u32, before: u32): void {
  const rows = head.rows;
  rowKeys = 0;
  if (key > 0) {
    const keySection = section(sections, firstColumn + key - 1);
    decodeSection(keySection, before, rows);
    if (failure == Failure.None) readKeys(keySection.column, keySection.type, before, rows);
  }
  const count: u32 = head.columnCount + (head.parts & HAS_EXTRA ? 1 : 0);
  for (let i: u32 = 0; i < count && failure == Failure.None; i++) {
    const from = section(sections, firstColumn + i);
    if (i + 1 == key || changetype<usize>(from.column) == 0) continue;
    if (isWanted(from.column.name, from.column.nameLength)) decodeSection(from, before, rows);
    else passOver(sections, from, before, rows);
  }
}

function decodeSection(from: Section, before: u32, rows: u32): void {
  openSection(from.start, from.length);
  decodeColumn(from.column, from.type, before, rows);
  closeSection();
}

/** The rows' keys are their ids in the batch's dictionary. */
function readKeys(column: Column, type: ColumnType, before: u32, rows: u32): void {
  if (type != ColumnType.Text || rows == 0) return fail(Failure.Corrupt);
  rowKeys = scratch(Scratch.Keys, <usize>rows << 2);
  keyCount = column.dictionary.count;
  for (let i: u32 = 0; i < rows; i++) {
    if (!column.isValid(before + i)) return fail(Failure.Corrupt);
    store<u32>(rowKeys + (<usize>i << 2), load<u32>(column.cell(before + i)));
  }
}

/** The keys of the rows that have a value. */
function keysOf(valid: usize, rows: u32, count: u32): usize {
  if (rowKeys == 0 || count == rows) return rowKeys;
  const target = scratch(Scratch.ValueKeys, (<usize>rows + 1) << 2);
  let at = target;
  for (let row: u32 = 0; row < rows; row++) {
    store<u32>(at, load<u32>(rowKeys + (<usize>row << 2)));
    at += <usize>(load<u8>(valid + row) != 0) << 2;
  }
  return target;
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
  setKeys(keysOf(valid, rows, count), keyCount);
  const isDirect = count == rows && type == column.type;
  const values = isDirect ? cells : scratch(Scratch.Dense, <usize>count << 3);
  decodeValues(column, type, count, values);
  if (!isDirect && failure == Failure.None) spread(column, type, values, before, rows);
}

function decodeValues(column: Column, type: ColumnType, count: u32, target: usize): void {
  if (type == ColumnType.Int) decodeNumbers(count, target);
  else if (type == ColumnType.Float) decodeFloats(count, target);
  else if (type == ColumnType.Text) decodeTexts(count, column.dictionary, target);
  else if (type == ColumnType.Raw) decodeRaw(column, count, target);
  else decodeBools(count, target);
}

/** In a keyed block a byte says whether the integers are by key. */
function decodeNumbers(count: u32, target: usize): void {
  if (count == 0 || !hasKeys()) return decodeIntegers(count, target);
  const isKeyed = readU8();
  if (isKeyed > 1) return fail(Failure.Corrupt);
  if (isKeyed) decodeKeyed(count, target);
  else decodeIntegers(count, target);
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
