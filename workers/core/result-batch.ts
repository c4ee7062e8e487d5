import type { ResultRow } from "../messages.ts";
import { type BatchHandle, newBatch } from "./codec.ts";
import { type CoreModule, copyIn } from "./module.ts";

type Cell = null | boolean | bigint | number | string;
type CellType = "null" | "bool" | "int" | "float" | "string";

interface BatchExports {
  allocate(length: number): number;
  release(pointer: number): void;
  batchEnsure(batch: number, rows: number): void;
  batchIntern(batch: number, column: number, text: number, length: number): number;
  batchSetRows(batch: number, rows: number): void;
  codecAddColumn(batch: number, name: number, nameLength: number, type: number): number;
  codecViewColumn(batch: number, index: number): number;
  codecSeal(batch: number): number;
}

/** The numbers of `ColumnType` in `assembly/batch/batch.ts`. */
const TYPE_NUMBERS: Readonly<Record<CellType, number>> = { null: 0, bool: 1, int: 2, float: 3, string: 4 };
/** Where cells and validity stand in the core's view of a column, in words. */
const CELLS_WORD = 3;
const VALID_WORD = 4;
const utf8 = new TextEncoder();

/** Integers beyond these need their digits to be exact. */
const LONG_DIGITS = /\d{16}/;
const WHOLE = /^-?\d+$/;

/** A batch of result rows that have the same types, and where they were among all. */
export interface ResultBatch {
  readonly batch: BatchHandle;
  readonly indexes: readonly number[];
}

/**
 * Result rows as batches with a column for each of `names`: a selected value (numbers as floats), a field of the key, or
 * `window.start` and `window.end` (µs, ints). Rows whose values differ in type are kept apart, so that what becomes of a row
 * does not depend on those beside it. The batches are the caller's to dispose of. Cost: a microsecond or two a row.
 */
export function batchResults(
  core: CoreModule,
  rows: readonly ResultRow[],
  names: readonly string[],
): ResultBatch[] {
  // One text is parsed faster than many.
  const values = JSON.parse(`[${rows.map((row) => row.values).join(",")}]`) as Record<string, unknown>[];
  const columns = names.map((name) => rows.map((row, index) => cellOf(row, values[index]!, name)));
  return groupByTypes(columns, rows.length).map((indexes) => {
    const batch = newBatch(core);
    const exports = core.exports as unknown as BatchExports;
    exports.batchEnsure(batch, indexes.length);
    columns.forEach((cells, column) => {
      fillColumn(core, batch, names[column]!, cells, indexes);
    });
    exports.batchSetRows(batch, indexes.length);
    exports.codecSeal(batch);
    return { batch, indexes };
  });
}

/** The rows' numbers, apart by the types of their cells. */
function groupByTypes(columns: readonly (readonly Cell[])[], rowCount: number): number[][] {
  const groups = new Map<string, number[]>();
  for (let row = 0; row < rowCount; row++) {
    let types = "";
    for (const cells of columns) types += TYPE_NUMBERS[typeOf(cells[row]!)];
    const group = groups.get(types);
    if (group === undefined) groups.set(types, [row]);
    else group.push(row);
  }
  return [...groups.values()];
}

/** Adds the column of those rows, all of one type. */
function fillColumn(
  core: CoreModule,
  batch: BatchHandle,
  name: string,
  cells: readonly Cell[],
  rows: readonly number[],
): void {
  const exports = core.exports as unknown as BatchExports;
  const type = typeOf(cells[rows[0]!]!);
  const column = withText(core, name, (at, length) =>
    exports.codecAddColumn(batch, at, length, TYPE_NUMBERS[type]),
  );
  const words = rows.map((row) => {
    const cell = cells[row]!;
    if (typeof cell !== "string") return cell;
    return withText(core, cell, (at, length) => exports.batchIntern(batch, column, at, length));
  });
  const { buffer } = core.memory;
  const view = new Uint32Array(buffer, exports.codecViewColumn(batch, column) >>> 0, VALID_WORD + 1);
  new Uint8Array(buffer, view[VALID_WORD]!, rows.length).fill(type === "null" ? 0 : 1);
  const target =
    type === "float"
      ? new Float64Array(buffer, view[CELLS_WORD]!, rows.length)
      : new BigInt64Array(buffer, view[CELLS_WORD]!, rows.length);
  words.forEach((word, row) => {
    target[row] = target instanceof Float64Array ? Number(word) : BigInt(word ?? 0);
  });
}

function withText<T>(core: CoreModule, text: string, use: (at: number, length: number) => T): T {
  const { allocate, release } = core.exports as unknown as BatchExports;
  const bytes = utf8.encode(text);
  const at = allocate(bytes.length + 16) >>> 0;
  copyIn(core, at, bytes);
  const result = use(at, bytes.length);
  release(at);
  return result;
}

function cellOf(row: ResultRow, values: Record<string, unknown>, name: string): Cell {
  if (Object.hasOwn(values, name)) return toCell(values[name]);
  if (name === "window.start") return BigInt(row.startUs);
  if (name === "window.end") return BigInt(row.endUs);
  const cell = toCell(readKey(row.key)[name]);
  return typeof cell === "number" && Number.isSafeInteger(cell) ? BigInt(cell) : cell;
}

function readKey(text: string): Record<string, unknown> {
  const parsed: unknown = LONG_DIGITS.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text);
  return parsed as Record<string, unknown>;
}

function keepDigits(_name: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source ?? "";
  return typeof value === "number" && WHOLE.test(source) ? BigInt(source) : value;
}

function toCell(value: unknown): Cell {
  const isPlain = typeof value === "boolean" || typeof value === "number" || typeof value === "string";
  return isPlain || typeof value === "bigint" ? value : null;
}

function typeOf(cell: Cell): CellType {
  switch (typeof cell) {
    case "boolean":
      return "bool";
    case "bigint":
      return "int";
    case "number":
      return "float";
    case "string":
      return "string";
    default:
      return "null";
  }
}
