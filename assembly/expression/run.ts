import { Batch, Column, ColumnType, FLAG_CLOCK_SKEW, FLAG_DROPPED } from "../batch/batch";
import { Dictionary } from "../memory/dictionary";
import { arithmetic } from "./arithmetic";
import { compare } from "./compare";
import { and, chooseIf, coalesce, isNull, not, or } from "./logic";
import { extreme, power, unaryMath } from "./math";
import { Op } from "./opcode";
import { Derived, NO_OPERAND, Program } from "./program";
import { beginBatch, Step } from "./step";
import { findRows, readCells } from "./table";
import { changeCase, concat, lengthOf, predicate, toText } from "./text";
import { timePart } from "./time-part";
import { isIn } from "./value-set";
import { ALL_VALID, asKind, CHUNK_ROWS, Vector } from "./vector";
import { Kind } from "./opcode";

/**
 * Runs a program over a sealed batch: the derived columns then hold their values, and `program.mask` a byte a row, 1 where
 * the condition is true (all 1 without one). Cost: one pass over chunks of rows for each step.
 */
export function evaluate(program: Program, batch: Batch): void {
  beginBatch();
  program.texts.reset();
  findInputs(program, batch);
  for (let i: u32 = 0; i < program.derivedCount; i++) prepareDerived(program.derivedColumn(i).column, batch.rows);
  if (batch.rows > program.maskCapacity) {
    program.maskCapacity = batch.capacity;
    heap.free(program.mask);
    program.mask = heap.alloc(program.maskCapacity);
  }
  for (let from: u32 = 0; from < batch.rows; from += CHUNK_ROWS) {
    const rows = min(CHUNK_ROWS, batch.rows - from);
    for (let i: u32 = 0; i < program.inputCount; i++) {
      readInput(program.input(i).vector, program.input(i).column, from, rows);
    }
    for (let i: u32 = 0; i < program.stepCount; i++) runStep(program, program.step(i), batch, from, rows);
    for (let i: u32 = 0; i < program.derivedCount; i++) {
      const derived = program.derivedColumn(i);
      writeDerived(derived.column, program.operand(derived.operand), from, rows);
    }
    writeMask(program, from, rows);
  }
}

/** A column of nulls alone is as good as none, so that a block that left it out gives the same. */
function findInputs(program: Program, batch: Batch): void {
  for (let i: u32 = 0; i < program.inputCount; i++) {
    const input = program.input(i);
    const index = batch.indexOf(input.name.pointer, input.name.length);
    const column = index < 0 ? changetype<Column>(0) : batch.column(index);
    const hasValues = index >= 0 && column.type != ColumnType.Null && column.type != ColumnType.Raw && column.nulls < batch.rows;
    input.column = hasValues ? column : changetype<Column>(0);
    input.vector.clear();
  }
}

function readInput(vector: Vector, column: Column, from: u32, rows: u32): void {
  if (changetype<usize>(column) == 0) return;
  vector.own(column.type);
  const cells = column.cell(from);
  if (column.type == ColumnType.Bool) {
    for (let row: usize = 0; row < <usize>rows; row++) store<u8>(vector.cells + row, load<u8>(cells + (row << 3)) & 1);
  } else {
    if (column.type == ColumnType.Text) vector.dictionary = column.dictionary;
    // The last stretch of the batch's memory may not be there.
    if (rows == CHUNK_ROWS) vector.cells = cells;
    else memory.copy(vector.cells, cells, <usize>rows << 3);
  }
  if (column.nulls == 0) return;
  if (rows == CHUNK_ROWS) vector.valid = column.valid + from;
  else {
    memory.copy(vector.ownValid, column.valid + from, rows);
    vector.valid = vector.ownValid;
  }
}

function runStep(program: Program, step: Step, batch: Batch, from: u32, rows: u32): void {
  const out = program.buffer(step.into);
  const texts = program.texts;
  if (step.op == Op.EventTime) return readTimes(batch, from, rows, out);
  const a = program.operand(step.a);
  const b = step.b == NO_OPERAND ? a : program.operand(step.b);
  switch (step.op) {
    case Op.Add:
    case Op.Subtract:
    case Op.Multiply:
    case Op.Divide:
    case Op.Remainder:
      return arithmetic(step.op, a, b, out, rows);
    case Op.Equal:
    case Op.NotEqual:
    case Op.Less:
    case Op.LessOrEqual:
    case Op.Greater:
    case Op.GreaterOrEqual:
      if (a.type == ColumnType.Text) return predicate(step, a, b, out, rows);
      return compare(step.op, a, b, out, rows);
    case Op.And:
      return and(a, b, out, rows);
    case Op.Or:
      return or(a, b, out, rows);
    case Op.Not:
      return not(a, out, rows);
    case Op.IsNull:
      return isNull(a, out, rows);
    case Op.If:
      return chooseIf(step, a, b, program.operand(step.c), out, rows, texts);
    case Op.Coalesce:
      return coalesce(step, a, b, out, rows, texts);
    case Op.In:
      return isIn(step, program.valueSet(step.extra), a, out, rows);
    case Op.StartsWith:
    case Op.EndsWith:
    case Op.Contains:
    case Op.Like:
      return predicate(step, a, b, out, rows);
    case Op.Lower:
    case Op.Upper:
      return changeCase(step, a, out, rows, texts);
    case Op.Length:
      return lengthOf(step, a, out, rows);
    case Op.Concat:
      return concat(step, a, b, out, rows, texts);
    case Op.ToText:
      return toText(a, out, rows, texts);
    case Op.Minimum:
    case Op.Maximum:
      return extreme(step.op, a, b, out, rows);
    case Op.Power:
      return power(a, b, out, rows);
    case Op.Year:
    case Op.Month:
    case Op.Day:
    case Op.Hour:
    case Op.Minute:
    case Op.Second:
    case Op.Weekday:
      return timePart(step.op, a, out, rows);
    case Op.TableRow:
      return findRows(step, program.table(step.extra), a, out, rows);
    case Op.TableCell:
      return readCells(program.table(step.extra), program.cellColumn(step.c), a, out, rows);
    default:
      return unaryMath(step.op, a, out, rows);
  }
}

function readTimes(batch: Batch, from: u32, rows: u32, out: Vector): void {
  out.own(ColumnType.Int);
  memory.copy(out.cells, batch.times + (<usize>from << 3), <usize>rows << 3);
}

function prepareDerived(column: Column, rows: u32): void {
  column.type = ColumnType.Null;
  column.dictionary = changetype<Dictionary>(0);
  column.nulls = 0;
  if (column.filled < rows) {
    heap.free(column.cells);
    heap.free(column.valid);
    column.cells = heap.alloc(<usize>rows << 3);
    column.valid = heap.alloc(rows);
  }
  column.filled = max(column.filled, rows);
}

/** Nulls become cells of 0, as a batch has them. */
function writeDerived(column: Column, value: Vector, from: u32, rows: u32): void {
  column.type = value.type;
  if (value.type == ColumnType.Text) column.dictionary = value.dictionary;
  const cells = column.cell(from);
  const valid = column.valid + from;
  memory.copy(valid, value.valid, rows);
  if (value.type == ColumnType.Bool) {
    for (let row: usize = 0; row < <usize>rows; row++) store<u64>(cells + (row << 3), load<u8>(value.cells + row));
  } else {
    memory.copy(cells, value.cells, <usize>rows << 3);
  }
  if (value.valid == ALL_VALID) return;
  for (let row: usize = 0; row < <usize>rows; row++) {
    if (load<u8>(valid + row)) continue;
    store<u64>(cells + (row << 3), 0);
    column.nulls++;
  }
}

function writeMask(program: Program, from: u32, rows: u32): void {
  const to = program.mask + from;
  if (program.condition == NO_OPERAND) memory.fill(to, 1, rows);
  else memory.copy(to, asKind(program.operand(program.condition), Kind.Bool).cells, rows);
}

/**
 * Evaluates, and lets the batch be seen as the query sees it until `leave`: with the derived columns, which stand for
 * columns of the same name, and with the rows that the condition drops flagged as no part of any window.
 */
export function enter(program: Program, batch: Batch): void {
  evaluate(program, batch);
  for (let i: u32 = 0; i < program.derivedCount; i++) show(program.derivedColumn(i), batch);
  if (program.condition == NO_OPERAND) return;
  program.hiddenFlags = batch.flags;
  const mask = program.mask;
  for (let row: usize = 0; row < <usize>batch.rows; row++) {
    const flags = load<u8>(batch.flags + row);
    const isDropped: bool = !load<u8>(mask + row) && !(flags & FLAG_CLOCK_SKEW);
    store<u8>(mask + row, isDropped ? flags | FLAG_CLOCK_SKEW | FLAG_DROPPED : flags);
  }
  batch.flags = mask;
}

function show(derived: Derived, batch: Batch): void {
  const column = derived.column;
  const index = batch.indexOf(column.name, column.nameLength);
  derived.hidden = index < 0 ? changetype<Column>(0) : batch.column(index);
  derived.place = index < 0 ? batch.append(column) : index;
  if (index >= 0) batch.replace(index, column);
}

/** Undoes `enter`. */
export function leave(program: Program, batch: Batch): void {
  for (let i = program.derivedCount; i > 0; i--) {
    const derived = program.derivedColumn(i - 1);
    if (changetype<usize>(derived.hidden) == 0) batch.columnCount = derived.place;
    else batch.replace(derived.place, derived.hidden);
  }
  if (program.hiddenFlags == 0) return;
  batch.flags = program.hiddenFlags;
  program.hiddenFlags = 0;
}
