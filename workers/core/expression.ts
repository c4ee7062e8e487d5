import { MillraceError } from "../errors.ts";
import type { ExpressionProgram, QueryPlan } from "../messages.ts";
import type { BatchHandle } from "./codec.ts";
import { type CoreModule, copyIn, copyOut } from "./module.ts";
import type { TableHandle, Tables } from "./tables.ts";
import type { LocalAggregator } from "./window.ts";

interface ExpressionExports {
  allocate(length: number): number;
  release(pointer: number): void;
  batchRows(batch: number): number;
  expressionCreate(program: number): number;
  expressionBindTable(program: number, index: number, table: number): void;
  expressionBindCell(program: number, cell: number, column: number): void;
  expressionMask(program: number, batch: number): number;
  expressionEnter(program: number, batch: number): void;
  expressionLeave(program: number, batch: number): void;
  expressionDispose(program: number): void;
}

/** The compiled expressions of one query. */
export interface RowProgram {
  /** Names of the fields that it reads. */
  readonly inputs: readonly string[];
  /** Names of its tables. */
  readonly tables: readonly string[];
  /** Gives a table its rows from now on, and names its columns. A table that the program does not use is no matter. */
  bindTable(name: string, table: TableHandle, columns: readonly string[]): void;
  /** One byte a row: 1 where the condition is true. */
  mask(batch: BatchHandle): Uint8Array<ArrayBuffer>;
  /** The address of the same; valid until the program is used again. */
  maskAt(batch: BatchHandle): number;
  /**
   * Uses the batch as the query sees it: with the derived columns, and with the rows for which the condition is not true
   * flagged as no part of any window. The batch is as it was when `use` has returned.
   */
  within<T>(batch: BatchHandle, use: () => T): T;
  dispose(): void;
}

/** @throws MillraceError E_PROGRAM_VERSION */
export function createRowProgram(
  core: CoreModule,
  { code, inputs, tables, cells = [] }: ExpressionProgram,
): RowProgram {
  const exports = core.exports as unknown as ExpressionExports;
  const bytes = Buffer.from(code, "base64");
  const at = exports.allocate(bytes.length + 16) >>> 0;
  copyIn(core, at, bytes);
  const program = exports.expressionCreate(at) >>> 0;
  exports.release(at);
  if (program === 0)
    throw new MillraceError("E_PROGRAM_VERSION", "an expression was compiled by another release");
  return {
    inputs,
    tables,
    bindTable: (name, table, columns) => {
      const index = tables.indexOf(name);
      if (index < 0) return;
      exports.expressionBindTable(program, index, table);
      cells.forEach((cell, number) => {
        // -1: no table has a column of that number, so the cell is null.
        if (cell.table === index) exports.expressionBindCell(program, number, columns.indexOf(cell.column));
      });
    },
    mask: (batch) => {
      const mask = exports.expressionMask(program, batch);
      return copyOut(core, mask, exports.batchRows(batch));
    },
    maskAt: (batch) => exports.expressionMask(program, batch) >>> 0,
    within: (batch, use) => {
      exports.expressionEnter(program, batch);
      try {
        return use();
      } finally {
        exports.expressionLeave(program, batch);
      }
    },
    dispose: () => exports.expressionDispose(program),
  };
}

/** The local stage of a query with `where` or `derive`: it sees every batch as they make it. */
export function withExpressions(
  core: CoreModule,
  plan: QueryPlan,
  local: LocalAggregator,
  tables: Tables,
): LocalAggregator {
  if (plan.expressions === undefined) return local;
  const program = createRowProgram(core, plan.expressions);
  try {
    tables.bind(program);
  } catch (cause) {
    program.dispose();
    local.dispose();
    throw cause;
  }
  return {
    aggregate: (batch) => program.within(batch, () => local.aggregate(batch)),
    maskLate: (batch, lateGroups) => program.within(batch, () => local.maskLate(batch, lateGroups)),
    dispose: () => {
      local.dispose();
      tables.unbind(program);
      program.dispose();
    },
  };
}
