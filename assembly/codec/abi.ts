import { emptyBatch } from "../batch/kept-texts";
import { Batch, Column, ColumnType } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";
import { appendRow, clearBatch, setCell, setText } from "./builder";
import { decodeBlock, SPARE_ROWS } from "./decode";
import { encodeBlock, encodeOrdered, encodeRange } from "./encode";
import { MAX_ROWS } from "./layout";

const FIRST_ROWS: u32 = 1024;
const FIRST_OUTPUT_BYTES: u32 = 64 << 10;
/** Output memory beyond this is given back before the next block. */
const KEPT_OUTPUT_BYTES: u32 = 8 << 20;

let output: usize = 0;

function cleanOutput(): ByteBuffer {
  if (output != 0 && changetype<ByteBuffer>(output).capacity > KEPT_OUTPUT_BYTES) {
    changetype<ByteBuffer>(output).dispose();
    output = 0;
  }
  if (output == 0) output = changetype<usize>(ByteBuffer.create(FIRST_OUTPUT_BYTES));
  changetype<ByteBuffer>(output).reset();
  return changetype<ByteBuffer>(output);
}

/** Encodes to the module's own memory: the address of a `ByteBuffer`, valid until the next call, or 0 when too large. */
export function codecEncode(batch: Batch, stream: usize, streamLength: u32, mask: usize): usize {
  const out = cleanOutput();
  return encodeBlock(batch, stream, streamLength, mask, out) ? changetype<usize>(out) : 0;
}

/** As `codecEncode`, of `count` rows from row `from` on. */
export function codecEncodeRange(batch: Batch, stream: usize, streamLength: u32, from: u32, count: u32): usize {
  const out = cleanOutput();
  return encodeRange(batch, stream, streamLength, from, count, out) ? changetype<usize>(out) : 0;
}

/** As `codecEncode`, of all rows in another order (`row-order.ts`) and as small as it can be. */
export function codecEncodeOrdered(
  batch: Batch,
  stream: usize,
  streamLength: u32,
  parts: usize,
  partCount: u32,
): usize {
  const out = cleanOutput();
  return encodeOrdered(batch, stream, streamLength, parts, partCount, out) ? changetype<usize>(out) : 0;
}

/** Appends the block's rows to the batch. 0, or why not (`Failure`). */
export function codecDecode(block: usize, length: u32, batch: Batch): u32 {
  return decodeBlock(block, length, batch);
}

export function codecNewBatch(): Batch {
  return Batch.create(FIRST_ROWS);
}

export function codecClearBatch(batch: Batch): void {
  clearBatch(batch);
}

/** Makes room for so many rows of blocks, in columns that are there and in those to come: no more than a batch may have, whoever counted. */
export function codecReserve(batch: Batch, rows: u32): void {
  batch.reserve(min(rows, MAX_ROWS) + SPARE_ROWS);
}

/** Forgets the rows; columns stay, with their types and texts. */
export function codecEmptyBatch(batch: Batch): void {
  emptyBatch(batch);
}

export function codecAddColumn(batch: Batch, name: usize, nameLength: u32, type: ColumnType): u32 {
  return batch.addColumn(name, nameLength, type);
}

export function codecAppendRow(batch: Batch, time: i64, flags: u32): u32 {
  return appendRow(batch, time, flags);
}

export function codecSetCell(batch: Batch, column: u32, row: u32, bits: i64): void {
  setCell(batch, column, row, bits);
}

export function codecSetText(batch: Batch, column: i32, row: u32, text: usize, length: u32): void {
  setText(batch, column, row, text, length);
}

/** What a reader outside needs of a column. */
@unmanaged
class ColumnView {
  type: u32;
  name: usize;
  nameLength: u32;
  cells: usize;
  valid: usize;
  /** Of a Raw column, where its bytes begin. */
  bytes: usize;
}

/** What a reader outside needs of a text. */
@unmanaged
class TextView {
  data: usize;
  length: u32;
}

const columnView = changetype<ColumnView>(memory.data(24, 4));
const textView = changetype<TextView>(memory.data(8, 4));

/** Makes every column as long as the batch, so that it can be read. Gives the rows. */
export function codecSeal(batch: Batch): u32 {
  batch.seal();
  return batch.rows;
}

/** A `ColumnView` of column `index`, or of the extra column for −1; overwritten by the next call. */
export function codecViewColumn(batch: Batch, index: i32): usize {
  const column: Column = index < 0 ? batch.extra : batch.column(index);
  columnView.type = column.type;
  columnView.name = column.name;
  columnView.nameLength = column.nameLength;
  columnView.cells = column.cells;
  columnView.valid = column.valid;
  columnView.bytes = changetype<usize>(column.bytes) == 0 ? 0 : column.bytes.data;
  return changetype<usize>(columnView);
}

/** A `TextView` of text `id` of column `index`; overwritten by the next call. */
export function codecViewText(batch: Batch, index: u32, id: u32): usize {
  const dictionary = batch.column(index).dictionary;
  textView.data = dictionary.pointer(id);
  textView.length = dictionary.length(id);
  return changetype<usize>(textView);
}
