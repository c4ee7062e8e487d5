import { isNode, isSeq, LineCounter, parseDocument } from "yaml";
import type { FieldType, TableColumn, TableData, TableValue } from "../../../workers/messages.ts";
import { CsvError, readCsv } from "./csv.ts";

/** A row of a table's file. `line` is asked for in case of an error only. */
interface SourceRow {
  readonly values: ReadonlyMap<string, TableValue>;
  readonly line: () => number;
}

interface Source {
  readonly names: readonly string[];
  readonly rows: readonly SourceRow[];
}

/** What is wrong with a table's file. Lines are 1-based. */
export class TableError extends Error {
  readonly line: number;
  readonly fix: string;

  constructor(line: number, message: string, fix: string) {
    super(message);
    this.line = line;
    this.fix = fix;
  }
}

export type TableFormat = "csv" | "json" | "ndjson";

const INT = /^[-+]?\d{1,19}$/;
const FLOAT = /^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$/;
const BOOL = /^(?:true|false)$/;
const LEAST_INT = -(2n ** 63n);
const GREATEST_INT = 2n ** 63n - 1n;

/**
 * Reads a table. Its first column is the key, as texts; the others have the type that all their values have. An empty cell
 * of CSV that is not quoted is null.
 * @throws TableError
 */
export function readTable(name: string, text: string, format: TableFormat, key: string): TableData {
  const source = format === "csv" ? fromCsv(text) : format === "json" ? fromJson(text) : fromNdjson(text);
  if (source.names.length === 0) throw new TableError(1, "the table is empty", "give it a row");
  if (!source.names.includes(key))
    throw new TableError(1, `there is no column ${key}`, `the columns are ${source.names.join(", ")}`);
  const others = source.names.filter((column) => column !== key);
  const columns = [readKeys(source, key), ...others.map((column) => readColumn(source, column))];
  return { name, columns };
}

function readKeys({ rows }: Source, key: string): TableColumn {
  const lines = new Map<string, SourceRow>();
  for (const row of rows) {
    const value = row.values.get(key) ?? null;
    if (value === null)
      throw new TableError(row.line(), `the key ${key} is missing`, "give every row its key");
    const text = String(value);
    const before = lines.get(text);
    if (before !== undefined) {
      const message = `the key ${JSON.stringify(text)} stands in line ${before.line()} already`;
      throw new TableError(row.line(), message, "let every key stand once");
    }
    lines.set(text, row);
  }
  return { name: key, type: "string", values: [...lines.keys()] };
}

function readColumn({ rows }: Source, name: string): TableColumn {
  let type: FieldType | null = null;
  for (const row of rows) {
    const value = row.values.get(name) ?? null;
    if (value === null) continue;
    const own = typeOf(value);
    const isNumber = (kind: FieldType | null): boolean => kind === "int" || kind === "float";
    if (type === null || type === own) type = own;
    else if (isNumber(type) && isNumber(own)) type = "float";
    else
      throw new TableError(
        row.line(),
        `${name} is ${own} here and ${type} before`,
        "let a column have one type",
      );
  }
  return { name, type: type ?? "string", values: rows.map(({ values }) => values.get(name) ?? null) };
}

function typeOf(value: NonNullable<TableValue>): FieldType {
  if (typeof value === "string") return "string";
  if (typeof value === "boolean") return "bool";
  return typeof value === "bigint" ? "int" : "float";
}

function fromCsv(text: string): Source {
  const [header, ...records] = csvRecords(text);
  if (header === undefined) throw new TableError(1, "the file is empty", "begin with a line of column names");
  const names = header.cells.map((cell) => cell.text.trim());
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined)
    throw new TableError(header.line, `the column ${twice} stands twice`, "rename one");
  for (const { line, cells } of records) {
    if (cells.length === names.length) continue;
    const message = `${cells.length} cells, and ${names.length} columns`;
    throw new TableError(line, message, "put cells that hold commas in double quotes");
  }
  const columns = names.map((_, column) => {
    const cells = records.map((record) => record.cells[column]!);
    const filled = cells
      .filter(({ text: cell, isQuoted }) => cell !== "" || isQuoted)
      .map((cell) => cell.text);
    const convert = converterFor(filled);
    return cells.map(({ text: cell, isQuoted }) => (cell === "" && !isQuoted ? null : convert(cell)));
  });
  const rows = records.map(({ line }, row) => ({
    values: new Map(names.map((name, column) => [name, columns[column]![row]!])),
    line: () => line,
  }));
  return { names, rows };
}

function csvRecords(text: string): ReturnType<typeof readCsv> {
  try {
    return readCsv(text);
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    throw new TableError(cause.line, cause.message, 'write "" for a double quote within quotes');
  }
}

/** What the cells of a CSV column are: the narrowest type that all of them have. */
function converterFor(cells: readonly string[]): (cell: string) => TableValue {
  if (cells.every((cell) => INT.test(cell) && isInt(BigInt(cell)))) return BigInt;
  if (cells.every((cell) => FLOAT.test(cell) && Number.isFinite(Number(cell)))) return Number;
  return cells.every((cell) => BOOL.test(cell)) ? (cell) => cell === "true" : (cell) => cell;
}

function isInt(value: bigint): boolean {
  return value >= LEAST_INT && value <= GREATEST_INT;
}

function fromJson(text: string): Source {
  const parsed = parseJson(text, 1);
  if (!Array.isArray(parsed)) throw new TableError(1, "this is no list", "write [{ … }, { … }]");
  return fromObjects(parsed.map((item: unknown, index) => ({ item, line: () => lineOfItem(text, index) })));
}

function fromNdjson(text: string): Source {
  const lines = text.split("\n").map((line, index) => ({ line, number: index + 1 }));
  const filled = lines.filter(({ line }) => line.trim() !== "");
  return fromObjects(
    filled.map(({ line, number }) => ({ item: parseJson(line, number), line: () => number })),
  );
}

function fromObjects(items: readonly { item: unknown; line: () => number }[]): Source {
  const names = new Set<string>();
  const rows = items.map(({ item, line }) => {
    if (typeof item !== "object" || item === null || Array.isArray(item))
      throw new TableError(line(), "this is no object", 'write { "device": "press-1", "site": "Berlin" }');
    const values = new Map<string, TableValue>();
    for (const [name, value] of Object.entries(item)) {
      names.add(name);
      values.set(name, toValue(name, value, line));
    }
    return { values, line };
  });
  return { names: [...names], rows };
}

function toValue(name: string, value: unknown, line: () => number): TableValue {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "bigint") return isInt(value) ? value : Number(value);
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : value;
  throw new TableError(line(), `${name} is a list or a map`, "give it a number, a text, true, false or null");
}

/** Integers beyond 2^53 keep their digits. */
function parseJson(text: string, firstLine: number): unknown {
  try {
    return JSON.parse(text, (_name, value: unknown, context?: { readonly source?: string }) =>
      typeof value === "number" && !Number.isSafeInteger(value) && INT.test(context?.source ?? "")
        ? BigInt(context?.source ?? "")
        : value,
    );
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new TableError(firstLine + faultyLine(text), "this is not JSON", "mend it, or write it anew");
  }
}

/** The line, 0-based, up to which a text is the beginning of JSON, and with which it is not. */
function faultyLine(text: string): number {
  const lines = text.trimEnd().split("\n");
  let fine = 0;
  let faulty = lines.length;
  while (fine + 1 < faulty) {
    const middle = (fine + faulty) >> 1;
    if (isBeginningOfJson(lines.slice(0, middle).join("\n"))) fine = middle;
    else faulty = middle;
  }
  return faulty - 1;
}

/** The engine says that the text ends too early, or finds fault where it ends. */
function isBeginningOfJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : "";
    const position = /at position (\d+)/.exec(message)?.[1];
    return message.includes("end of JSON input") || Number(position) >= text.trimEnd().length;
  }
}

/** Where the list's item begins. JSON is YAML, whose reader knows the places. */
function lineOfItem(text: string, index: number): number {
  const lines = new LineCounter();
  const { contents } = parseDocument(text, { lineCounter: lines, logLevel: "silent" });
  const item = isSeq(contents) ? contents.items[index] : null;
  return isNode(item) ? lines.linePos(item.range?.[0] ?? 0).line : 1;
}
