import { escapeControls } from "./escape.ts";
import { print } from "./output.ts";

type Row = Readonly<Record<string, unknown>>;

/** Prints NDJSON lines as they are, or on a terminal as a table. */
export class RowPrinter {
  readonly #isTable: boolean;
  #columns: readonly string[] = [];
  #widths: readonly number[] = [];

  constructor(isJson: boolean) {
    this.#isTable = !isJson && process.stdout.isTTY === true;
  }

  print(lines: readonly string[]): void {
    if (lines.length === 0) return;
    if (!this.#isTable) {
      print(lines.join("\n"));
      return;
    }
    const rows = lines.map((line) => flatten(JSON.parse(line) as Row));
    const isNew = rows.some((row) => Object.keys(row).some((name) => !this.#columns.includes(name)));
    if (isNew) this.#layOut(rows);
    for (const row of rows) this.#printRow(this.#columns.map((name) => row[name] ?? ""));
  }

  /** Says so on a terminal when there was nothing. */
  end(nothing: string): void {
    if (this.#isTable && this.#columns.length === 0) print(nothing);
  }

  #layOut(rows: readonly Readonly<Record<string, string>>[]): void {
    this.#columns = [...new Set([...this.#columns, ...rows.flatMap((row) => Object.keys(row))])];
    this.#widths = this.#columns.map((name) =>
      Math.max(name.length, ...rows.map((row) => row[name]?.length ?? 0)),
    );
    this.#printRow(this.#columns.map((name) => name.toUpperCase()));
  }

  #printRow(cells: readonly string[]): void {
    const padded = cells.map((cell, index) => {
      const width = this.#widths[index] ?? 0;
      return /^-?[\d.,]+$/.test(cell) ? cell.padStart(width) : cell.padEnd(width);
    });
    print(padded.join("  ").trimEnd());
  }
}

/** Members of `window`, `key`, `values` and `value` beside the rest, and every value as text. */
function flatten(row: Row): Record<string, string> {
  const cells: Record<string, string> = {};
  for (const [name, value] of Object.entries(row)) {
    const isGroup =
      ["window", "key", "values", "value"].includes(name) && typeof value === "object" && value !== null;
    const members = isGroup ? Object.entries(value) : [[name, value] as const];
    for (const [member, inner] of members)
      cells[escapeControls(member in cells ? `${name}.${member}` : member)] = escapeControls(cellOf(inner));
  }
  return cells;
}

function cellOf(value: unknown): string {
  if (value === null || value === undefined) return "-";
  if (typeof value === "string") return value;
  return JSON.stringify(value);
}
