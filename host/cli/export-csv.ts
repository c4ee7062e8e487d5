import { closeSync, fsyncSync, openSync } from "node:fs";
import { formatTime } from "../../workers/time-format.ts";
import type { ColumnType, ExportColumn } from "./export-rows.ts";
import { type TableFile, writeAll } from "./table-file.ts";

const WRITTEN_CHARS = 256 * 1024;
const STDOUT = 1;

/**
 * A file of comma-separated values (RFC 4180): a header line, CRLF, quotes where needed. No value is nothing between the
 * commas, and an empty text is `""`.
 */
export class CsvFile implements TableFile {
  readonly #columns: readonly ExportColumn[];
  readonly #file: number;
  #text: string;

  /** A path, or null for stdout. */
  constructor(path: string | null, columns: readonly ExportColumn[]) {
    this.#columns = columns;
    this.#file = path === null ? STDOUT : openSync(path, "w");
    this.#text = `${columns.map(({ name }) => quoted(name)).join(",")}\r\n`;
  }

  add(values: readonly unknown[]): void {
    this.#text += `${values.map((value, at) => cellOf(this.#columns[at]!.type, value)).join(",")}\r\n`;
    if (this.#text.length >= WRITTEN_CHARS) this.#flush();
  }

  end(): void {
    this.#flush();
    if (this.#file === STDOUT) return;
    fsyncSync(this.#file);
    closeSync(this.#file);
  }

  #flush(): void {
    writeAll(this.#file, this.#text);
    this.#text = "";
  }
}

function cellOf(type: ColumnType, value: unknown): string {
  if (value === null) return "";
  if (type === "time") return formatTime(value as bigint);
  if (type === "float") return Object.is(value, -0) ? "-0" : String(value);
  return type === "string" || type === "json" ? quoted(String(value)) : String(value);
}

function quoted(text: string): string {
  return text === "" || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
