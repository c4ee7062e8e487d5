import { MillraceError } from "../errors.ts";
import type { TableData } from "../messages.ts";
import { buildBatch } from "./batch-builder.ts";
import type { RowProgram } from "./expression.ts";
import type { CoreModule } from "./module.ts";

interface TableExports {
  codecSeal(batch: number): number;
  batchDispose(batch: number): void;
  tableCreate(batch: number): number;
  tableDispose(table: number): void;
}

/** A reference table in the core's memory. */
export type TableHandle = number & { readonly __table?: never };

/** The reference tables of one thread, and the programs that use them. */
export class Tables {
  readonly #core: CoreModule;
  readonly #known = new Map<string, { readonly handle: TableHandle; readonly columns: readonly string[] }>();
  readonly #programs = new Set<RowProgram>();

  constructor(core: CoreModule) {
    this.#core = core;
  }

  /**
   * Makes a table known, or puts it in the place of the one before: for the next batch of every program.
   * @throws MillraceError E_TABLE_KEY when a key is missing or stands twice; the table is then as it was.
   */
  load(data: TableData): void {
    const { tableDispose } = this.#core.exports as unknown as TableExports;
    const handle = createTable(this.#core, data);
    const columns = data.columns.map(({ name }) => name);
    const before = this.#known.get(data.name);
    this.#known.set(data.name, { handle, columns });
    for (const program of this.#programs) program.bindTable(data.name, handle, columns);
    if (before !== undefined) tableDispose(before.handle);
  }

  /**
   * Gives a program its tables, now and whenever one is loaded.
   * @throws MillraceError E_UNKNOWN_TABLE when one of them was not loaded yet.
   */
  bind(program: RowProgram): void {
    const missing = program.tables.find((name) => !this.#known.has(name));
    if (missing !== undefined)
      throw new MillraceError("E_UNKNOWN_TABLE", `table ${missing} was never loaded here`);
    this.#programs.add(program);
    for (const [name, { handle, columns }] of this.#known) program.bindTable(name, handle, columns);
  }

  /** Gives all tables' memory back; programs that use them must be disposed of by then. */
  dispose(): void {
    const { tableDispose } = this.#core.exports as unknown as TableExports;
    for (const { handle } of this.#known.values()) tableDispose(handle);
    this.#known.clear();
  }

  /** To be called before the program is disposed of. */
  unbind(program: RowProgram): void {
    this.#programs.delete(program);
  }
}

function createTable(core: CoreModule, { name, columns }: TableData): TableHandle {
  const exports = core.exports as unknown as TableExports;
  const builder = buildBatch(core);
  const indexes = columns.map((column) => builder.addColumn(column.name, column.type));
  const rowCount = columns[0]?.values.length ?? 0;
  for (let at = 0; at < rowCount; at++) {
    const row = builder.addRow(0n, 0);
    columns.forEach(({ type, values }, column) => {
      const value = values[at] ?? null;
      const index = indexes[column]!;
      if (value === null) return;
      if (type === "bool") builder.setBool(index, row, value === true);
      else if (type === "int") builder.setInt(index, row, BigInt(value));
      else if (type === "float") builder.setFloat(index, row, Number(value));
      else builder.setText(index, row, String(value));
    });
  }
  exports.codecSeal(builder.batch);
  const table = exports.tableCreate(builder.batch) >>> 0;
  if (table !== 0) return table;
  exports.batchDispose(builder.batch);
  throw new MillraceError("E_TABLE_KEY", `table ${name}: a key is missing or stands twice`);
}
