import type { ResultRow } from "../messages.ts";
import { type BatchBuilder, buildBatch } from "./batch-builder.ts";
import type { BatchHandle } from "./codec.ts";
import type { CoreModule } from "./module.ts";

type Cell = null | boolean | bigint | number | string;
type CellType = "null" | "bool" | "int" | "float" | "string";

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
 * does not depend on those beside it. The batches are the caller's to dispose of.
 */
export function batchResults(
  core: CoreModule,
  rows: readonly ResultRow[],
  names: readonly string[],
): ResultBatch[] {
  const cells = rows.map((row) => cellsOf(row, names));
  const groups = Map.groupBy(cells.keys(), (index) => cells[index]!.map(typeOf).join());
  return [...groups.values()].map((indexes) => {
    const builder = buildBatch(core);
    const columns = names.map((name, column) =>
      builder.addColumn(name, typeOf(cells[indexes[0]!]![column]!)),
    );
    for (const index of indexes) {
      const row = builder.addRow(BigInt(rows[index]!.endUs), 0);
      cells[index]!.forEach((cell, column) => {
        setCell(builder, columns[column]!, row, cell);
      });
    }
    (core.exports as unknown as { codecSeal(batch: number): number }).codecSeal(builder.batch);
    return { batch: builder.batch, indexes };
  });
}

function cellsOf(row: ResultRow, names: readonly string[]): Cell[] {
  const values = JSON.parse(row.values) as Record<string, unknown>;
  const key = readKey(row.key);
  return names.map((name) => {
    if (Object.hasOwn(values, name)) return toCell(values[name]);
    if (name === "window.start") return BigInt(row.startUs);
    if (name === "window.end") return BigInt(row.endUs);
    const cell = toCell(key[name]);
    return typeof cell === "number" && Number.isSafeInteger(cell) ? BigInt(cell) : cell;
  });
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

function setCell(builder: BatchBuilder, column: number, row: number, cell: Cell): void {
  if (typeof cell === "boolean") builder.setBool(column, row, cell);
  else if (typeof cell === "bigint") builder.setInt(column, row, cell);
  else if (typeof cell === "number") builder.setFloat(column, row, cell);
  else if (typeof cell === "string") builder.setText(column, row, cell);
}
