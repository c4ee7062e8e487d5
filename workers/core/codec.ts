import { MillraceError } from "../errors.ts";
import type { FieldType } from "../messages.ts";
import { BlockError, type BlockErrorCode } from "./block-header.ts";
import { type CoreModule, copyIn, copyOut, type Pointer } from "./module.ts";

export { BlockError, readHeader } from "./block-header.ts";

/** A `Batch` in the module's memory. */
export type BatchHandle = Pointer;

/** What the module's exported functions of this part look like from here. */
interface CodecExports {
  allocate(length: number): number;
  release(pointer: number): void;
  codecEncode(batch: number, stream: number, streamLength: number, mask: number): number;
  codecEncodeRange(batch: number, stream: number, streamLength: number, from: number, count: number): number;
  codecEncodeOrdered(
    batch: number,
    stream: number,
    streamLength: number,
    parts: number,
    partCount: number,
  ): number;
  codecDecode(block: number, length: number, batch: number): number;
  codecNewBatch(): number;
  codecReserve(batch: number, rows: number): void;
  codecClearBatch(batch: number): void;
  codecEmptyBatch(batch: number): void;
  codecSeal(batch: number): number;
  codecViewColumn(batch: number, index: number): number;
  codecViewText(batch: number, column: number, id: number): number;
  batchTimes(batch: number): number;
  batchFlags(batch: number): number;
  batchDispose(batch: number): void;
  batchRows(batch: number): number;
  batchColumnCount(batch: number): number;
}

/** The decoder may read, but not use, this many bytes behind a block. */
export const INPUT_PADDING_BYTES = 64;

/** By the numbers of `Failure` in the core. */
export const FAILURES: readonly BlockErrorCode[] = [
  "E_BLOCK_CORRUPT",
  "E_BLOCK_MAGIC",
  "E_BLOCK_VERSION",
  "E_BLOCK_TRUNCATED",
  "E_BLOCK_CHECKSUM",
  "E_BLOCK_CORRUPT",
  "E_BLOCK_TOO_LARGE",
];

const utf8 = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

function exportsOf(core: CoreModule): CodecExports {
  return core.exports as unknown as CodecExports;
}

/** An empty batch without columns. */
export function newBatch(core: CoreModule): BatchHandle {
  return exportsOf(core).codecNewBatch() >>> 0;
}

/** Makes room for so many rows from blocks at once: without, it doubles as they come, and what it grew out of stays in memory. */
export function reserveRows(core: CoreModule, batch: BatchHandle, rows: number): void {
  exportsOf(core).codecReserve(batch, rows);
}

/** Drops a batch's rows and columns, so that nothing of it shows in what it takes next. */
export function resetBatch(core: CoreModule, batch: BatchHandle): void {
  exportsOf(core).codecClearBatch(batch);
}

/** Gives a batch's memory back. */
export function disposeBatch(core: CoreModule, batch: BatchHandle): void {
  exportsOf(core).batchDispose(batch);
}

/** Drops a batch's rows; its columns stay, with their types, and texts keep their ids unless there are very many. */
export function emptyBatch(core: CoreModule, batch: BatchHandle): void {
  exportsOf(core).codecEmptyBatch(batch);
}

/**
 * The block of all rows of a batch, not yet compressed.
 * @throws BlockError E_BLOCK_TOO_LARGE beyond 8,388,608 rows or 67,108,864 cells.
 */
export function encodeBatch(
  core: CoreModule,
  batch: BatchHandle,
  options: { readonly stream: string },
): Uint8Array<ArrayBuffer> {
  return encode(core, batch, options.stream, null);
}

/**
 * The block of the rows whose mask byte is not 0; `mask` has one byte a row.
 * @throws BlockError E_BLOCK_TOO_LARGE beyond 8,388,608 rows or 67,108,864 cells.
 */
export function encodeRows(
  core: CoreModule,
  batch: BatchHandle,
  stream: string,
  mask: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const rows = exportsOf(core).batchRows(batch);
  if (mask.length !== rows) {
    throw new MillraceError(
      "E_MASK",
      `the mask has ${mask.length} bytes for a batch of ${rows} rows; give one a row`,
    );
  }
  return encode(core, batch, stream, mask);
}

/**
 * The block of some rows of a batch that follow one another.
 * @throws BlockError E_BLOCK_TOO_LARGE beyond 8,388,608 rows or 67,108,864 cells.
 */
export function encodeRange(
  core: CoreModule,
  batch: BatchHandle,
  stream: string,
  { from, count }: { readonly from: number; readonly count: number },
): Uint8Array<ArrayBuffer> {
  const { allocate, release, codecEncodeRange, batchRows } = exportsOf(core);
  if (!(from >= 0 && count >= 0 && from + count <= batchRows(batch)))
    throw new MillraceError("E_RANGE", `there are no ${count} rows from row ${from} on`);
  const name = utf8.encode(stream);
  const input = allocate(name.length + INPUT_PADDING_BYTES) >>> 0;
  copyIn(core, input, name);
  const out = codecEncodeRange(batch, input, name.length, from, count) >>> 0;
  release(input);
  return outputAt(core, out, stream);
}

/**
 * The block of all rows of a batch in an order that compresses well, and as small as it can be: several times the time of
 * `encodeBatch`. The batch is of parts with so many rows each: rows stay in their part, ordered by time and key there; those
 * alike in both keep their order. Without parts all of them do.
 * @throws BlockError E_BLOCK_TOO_LARGE beyond 8,388,608 rows or 67,108,864 cells.
 */
export function encodeOrdered(
  core: CoreModule,
  batch: BatchHandle,
  stream: string,
  parts: readonly number[],
): Uint8Array<ArrayBuffer> {
  const { allocate, release, codecEncodeOrdered } = exportsOf(core);
  const name = utf8.encode(stream);
  const counts = Uint32Array.from(parts);
  const input = allocate(counts.byteLength + name.length + INPUT_PADDING_BYTES) >>> 0;
  copyIn(core, input, new Uint8Array(counts.buffer));
  const nameAt = input + counts.byteLength;
  copyIn(core, nameAt, name);
  const out = codecEncodeOrdered(batch, nameAt, name.length, input, counts.length) >>> 0;
  release(input);
  return outputAt(core, out, stream);
}

function encode(
  core: CoreModule,
  batch: BatchHandle,
  stream: string,
  mask: Uint8Array | null,
): Uint8Array<ArrayBuffer> {
  const { allocate, release, codecEncode } = exportsOf(core);
  const name = utf8.encode(stream);
  const input = allocate(name.length + (mask?.length ?? 0) + INPUT_PADDING_BYTES) >>> 0;
  copyIn(core, input, name);
  const maskAt = input + name.length;
  if (mask !== null) copyIn(core, maskAt, mask);
  const out = codecEncode(batch, input, name.length, mask === null ? 0 : maskAt) >>> 0;
  release(input);
  return outputAt(core, out, stream);
}

function outputAt(core: CoreModule, out: Pointer, stream: string): Uint8Array<ArrayBuffer> {
  if (out === 0) {
    throw new BlockError(
      "E_BLOCK_TOO_LARGE",
      `a block of stream ${stream} has too many rows; send smaller bodies`,
    );
  }
  const view = new DataView(core.memory.buffer, out, 8);
  return copyOut(core, view.getUint32(0, true), view.getUint32(4, true));
}

/**
 * Appends a block's rows to a batch. Columns meet by name in the wider of their types (int → float → text, bool →
 * text). On failure the batch keeps the rows it had.
 * @throws BlockError when the block is damaged, truncated, of a later version, or makes the batch too large.
 */
export function decodeBlock(core: CoreModule, bytes: Uint8Array, into: BatchHandle): void {
  const { allocate, release, codecDecode } = exportsOf(core);
  const input = allocate(bytes.length + INPUT_PADDING_BYTES) >>> 0;
  copyIn(core, input, bytes);
  const failure = codecDecode(input, bytes.length, into);
  release(input);
  if (failure !== 0) throw new BlockError(FAILURES[failure] ?? "E_BLOCK_CORRUPT");
}

export type ColumnKind = "null" | "raw" | FieldType;
const COLUMN_KINDS: readonly ColumnKind[] = ["null", "bool", "int", "float", "string", "raw"];

export type CellValue = null | boolean | number | bigint | string;

/** A column as JavaScript reads it. Integers beyond 2^53 are bigints, so that each is exact. */
export interface ColumnReader {
  readonly name: string;
  readonly type: ColumnKind;
  valueAt(row: number): CellValue;
}

/** A batch as JavaScript reads it: a view, valid until the batch changes. */
export interface BatchReader {
  readonly rows: number;
  /** Event times in µs since the epoch: a copy. */
  readonly times: BigInt64Array;
  /** A copy; bit 0 is clock skew. */
  readonly flags: Uint8Array;
  readonly columns: readonly ColumnReader[];
  /** The undeclared members of a row as the text of a JSON object. */
  extraAt(row: number): string | null;
}

/** Opens a batch for reading values one by one. */
export function readColumns(core: CoreModule, batch: BatchHandle): BatchReader {
  const { codecSeal, batchTimes, batchFlags, batchColumnCount } = exportsOf(core);
  const rows = codecSeal(batch);
  const times = new BigInt64Array(copyOut(core, batchTimes(batch), rows * 8).buffer);
  const flags = copyOut(core, batchFlags(batch), rows);
  const columns = Array.from({ length: batchColumnCount(batch) }, (_, index) =>
    openColumn(core, batch, index),
  );
  const extra = openColumn(core, batch, -1);
  return { rows, times, flags, columns, extraAt: (row) => extra.valueAt(row) as string | null };
}

function openColumn(core: CoreModule, batch: BatchHandle, index: number): ColumnReader {
  const memory = memoryOf(core);
  const at = exportsOf(core).codecViewColumn(batch, index) >>> 0;
  const word = (field: number): number => memory().getUint32(at + field * 4, true);
  const type = COLUMN_KINDS[word(0)] ?? "null";
  const name = decoder.decode(copyOut(core, word(1), word(2)));
  const cells = word(3);
  const valid = word(4);
  const bytes = word(5);
  const read = valueReader(core, batch, index, type, bytes);
  return {
    name,
    type,
    valueAt: (row) => (memory().getUint8(valid + row) === 0 ? null : read(memory(), cells + row * 8)),
  };
}

function valueReader(
  core: CoreModule,
  batch: BatchHandle,
  index: number,
  type: ColumnKind,
  bytes: number,
): (memory: DataView, cell: number) => CellValue {
  switch (type) {
    case "null":
      return () => null;
    case "bool":
      return (memory, cell) => memory.getUint8(cell) !== 0;
    case "int":
      return (memory, cell) => {
        const high = memory.getInt32(cell + 4, true);
        const isSafe = high >= -0x200000 && high < 0x200000;
        return isSafe ? high * 2 ** 32 + memory.getUint32(cell, true) : memory.getBigInt64(cell, true);
      };
    case "float":
      return (memory, cell) => memory.getFloat64(cell, true);
    case "string":
      return textReader(core, batch, index);
    case "raw":
      return (memory, cell) =>
        decoder.decode(copyOut(core, bytes + memory.getUint32(cell, true), memory.getUint32(cell + 4, true)));
  }
}

/** Reads each distinct text once. */
function textReader(
  core: CoreModule,
  batch: BatchHandle,
  index: number,
): (memory: DataView, cell: number) => string {
  const texts = new Map<number, string>();
  return (memory, cell) => {
    const id = memory.getUint32(cell, true);
    const known = texts.get(id);
    if (known !== undefined) return known;
    const at = exportsOf(core).codecViewText(batch, index, id) >>> 0;
    const text = decoder.decode(copyOut(core, memory.getUint32(at, true), memory.getUint32(at + 4, true)));
    texts.set(id, text);
    return text;
  };
}

/** The memory as it is now: growing detaches its old buffer. */
function memoryOf(core: CoreModule): () => DataView {
  let view = new DataView(core.memory.buffer);
  return () => {
    if (view.buffer !== core.memory.buffer) view = new DataView(core.memory.buffer);
    return view;
  };
}
