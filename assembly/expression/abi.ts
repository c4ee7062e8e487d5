import { Batch } from "../batch/batch";
import { Program, readProgram } from "./program";
import { enter, evaluate, leave } from "./run";
import { Table } from "./table";

/** A program, or 0 when it is of another version. */
export function expressionCreate(program: usize): Program {
  return readProgram(program);
}

/** Gives the program's table of that number; 0 for none. It stays the caller's. */
export function expressionBindTable(program: Program, index: u32, table: Table): void {
  if (index < program.tableCount) store<Table>(program.tables + index * sizeof<usize>(), table);
}

/** Says in which column of its table a cell of the program is; one that is in none is null. */
export function expressionBindCell(program: Program, cell: u32, column: u32): void {
  program.bindCell(cell, column);
}

/** The address of a byte a row: 1 where the condition is true. Valid until the next use of the program. */
export function expressionMask(program: Program, batch: Batch): usize {
  evaluate(program, batch);
  return program.mask;
}

export function expressionEnter(program: Program, batch: Batch): void {
  enter(program, batch);
}

export function expressionLeave(program: Program, batch: Batch): void {
  leave(program, batch);
}

export function expressionDispose(program: Program): void {
  program.dispose();
}

/** A table of a sealed batch, which it takes over; 0, and the batch stays the caller's, when a key is missing or stands twice. */
export function tableCreate(rows: Batch): Table {
  return Table.create(rows);
}

export function tableRows(table: Table): u32 {
  return table.rows.rows;
}

export function tableDispose(table: Table): void {
  table.dispose();
}
