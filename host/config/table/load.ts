import { readFileSync, statSync } from "node:fs";
import { dirname, extname, resolve } from "node:path";
import type { TableConfig } from "../config.ts";
import { KIND_OF, type Kind } from "../expression/kinds.ts";
import type { TableColumns } from "../expression/scope.ts";
import type { Problem } from "../problems.ts";
import { readTable, TableError, type TableFormat } from "./rows.ts";
import { emptyTable, rowCount } from "./stored.ts";

/** How a table is declared. */
export interface TableInput {
  readonly file?: string | undefined;
  readonly key: string;
  readonly on?: string | undefined;
}

const FORMATS: Readonly<Record<string, TableFormat>> = {
  ".csv": "csv",
  ".json": "json",
  ".ndjson": "ndjson",
  ".jsonl": "ndjson",
};

export type TableResult =
  | { readonly ok: true; readonly table: TableConfig }
  /** `problem.file` is the table's when its content is wrong, else empty: then the setting at `problem.path` is. */
  | { readonly ok: false; readonly problem: Problem };

/** Rows that are there without a file: those that were put. */
export type KnownTables = ReadonlyMap<string, TableConfig>;

export interface TablePlace {
  /** Paths of tables are relative to its folder. */
  readonly configFile: string;
  readonly maxBytes: number;
  readonly known: KnownTables;
}

/** Reads a table's file; where it has none, its rows stay as they are known. */
export function loadTable(name: string, input: TableInput, place: TablePlace): TableResult {
  const { file, key, on } = input;
  if (file === undefined) return keepRows(name, input, place.known.get(name));
  const { configFile, maxBytes } = place;
  const format = FORMATS[extname(file).toLowerCase()];
  const refuse = (message: string, fix: string): TableResult => {
    const problem = { file: "", line: 1, column: 1, path: `tables.${name}.file`, message, fix };
    return { ok: false, problem };
  };
  if (format === undefined)
    return refuse(`${file} is of no known form`, "name a file that ends in .csv, .json or .ndjson");
  const path = resolve(dirname(configFile), file);
  try {
    if (statSync(path).size > maxBytes)
      return refuse(
        `${path} has more than limits.maxTable (${maxBytes} bytes)`,
        "leave out columns that no query uses, or raise it",
      );
    const data = readTable(name, readFileSync(path, "utf8"), format, key);
    return { ok: true, table: { name, file, key, on: on ?? null, data } };
  } catch (cause) {
    if (cause instanceof TableError) {
      const { line, message, fix } = cause;
      return { ok: false, problem: { file: path, line, column: 1, path: `tables.${name}`, message, fix } };
    }
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : null;
    if (code === null) throw cause;
    return refuse(
      code === "ENOENT" ? `there is no file ${path}` : `${path} cannot be read (${code})`,
      "mend the path",
    );
  }
}

function keepRows(name: string, { key, on }: TableInput, before: TableConfig | undefined): TableResult {
  const hasRows = before !== undefined && rowCount(before.data) > 0;
  const problem = hasRows ? explainOtherKey(before, key) : null;
  if (problem !== null) return { ok: false, problem };
  const data = hasRows ? before.data : emptyTable(name, key);
  return { ok: true, table: { name, file: null, key, on: on ?? null, data } };
}

/** Rows that were put are known by their key; null when it is the same. */
export function explainOtherKey({ name, key: known }: TableConfig, key: string): Problem | null {
  if (key === known) return null;
  const message = `the table has rows with the key ${known}, and ${key} would be another`;
  const fix = "leave the key, or give the table another name and put its rows";
  return { file: "", line: 1, column: 1, path: `tables.${name}.key`, message, fix };
}

/** What expressions over a stream may know of a table: without rows and a file, nothing. */
export function tableColumns({ file, on, data }: TableConfig, streamKey: readonly string[]): TableColumns {
  const names = on === null ? streamKey : [on];
  if (file === null && rowCount(data) === 0) return { on: names, columns: null };
  const columns = data.columns.map(({ name, type, values }): { name: string; kind: Kind } => ({
    name,
    kind: values.some((value) => value !== null) ? KIND_OF[type] : "null",
  }));
  return { on: names, columns };
}
