import { readFileSync, statSync } from "node:fs";
import { dirname, extname, resolve } from "node:path";
import type { TableConfig } from "../config.ts";
import { KIND_OF, type Kind } from "../expression/kinds.ts";
import type { TableColumns } from "../expression/scope.ts";
import type { Problem } from "../problems.ts";
import { readTable, TableError, type TableFormat } from "./rows.ts";

/** How a table is declared. */
export interface TableInput {
  readonly file: string;
  readonly key: string;
  readonly on?: string | undefined;
}

/** Tables are held in the memory of every ingest thread. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;
const FORMATS: Readonly<Record<string, TableFormat>> = {
  ".csv": "csv",
  ".json": "json",
  ".ndjson": "ndjson",
  ".jsonl": "ndjson",
};

export type TableResult =
  | { readonly ok: true; readonly table: TableConfig }
  /** `problem.file` is the table's when its content is wrong, else empty: then the setting is. */
  | { readonly ok: false; readonly problem: Problem };

/** Reads a table's file; its path is relative to the folder of the configuration file. */
export function loadTable(name: string, { file, key, on }: TableInput, configFile: string): TableResult {
  const format = FORMATS[extname(file).toLowerCase()];
  const refuse = (message: string, fix: string): TableResult => {
    const problem = { file: "", line: 1, column: 1, path: `tables.${name}.file`, message, fix };
    return { ok: false, problem };
  };
  if (format === undefined)
    return refuse(`${file} is of no known form`, "name a file that ends in .csv, .json or .ndjson");
  const path = resolve(dirname(configFile), file);
  try {
    if (statSync(path).size > MAX_FILE_BYTES)
      return refuse(`${path} has more than 64 MiB`, "leave out columns that no query uses");
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

/** What expressions over a stream may know of a table. */
export function tableColumns({ on, data }: TableConfig, streamKey: readonly string[]): TableColumns {
  const columns = data.columns.map(({ name, type }): { name: string; kind: Kind } => ({
    name,
    kind: KIND_OF[type],
  }));
  return { on: on === null ? streamKey : [on], columns };
}
