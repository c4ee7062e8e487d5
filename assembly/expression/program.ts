import { Column, ColumnType } from "../batch/batch";
import { Dictionary } from "../memory/dictionary";
import { ByteCursor, readFrom } from "../state/cursor";
import { Name } from "../window/plan";
import { disposeMemos, Step } from "./step";
import { Table } from "./table";
import { ValueSet } from "./value-set";
import { CHUNK_ROWS, Vector } from "./vector";

/** What an operand refers to stands in its upper two bits, the number below. */
const PLACE_SHIFT: u32 = 30;
const NUMBER_MASK: u32 = 0x3fffffff;
const enum Place {
  Buffer = 0,
  Constant = 1,
  Column = 2,
}
export const NO_OPERAND: u32 = 0xffffffff;
export const PROGRAM_VERSION: u32 = 1;
/** No table has so many columns. */
const NO_COLUMN: u32 = 0xffffffff;

/** A field that the program reads. */
@unmanaged
export class Input {
  name: Name;
  /** The batch's column, or null. */
  column: Column;
  vector: Vector;
}

/** A column that the program makes. */
@unmanaged
export class Derived {
  /** What gives it. */
  operand: u32;
  column: Column;
  /** Where it stands in the batch while the batch has it, and the column that it stands for, or null. */
  place: u32;
  hidden: Column;
}

const INPUT_SIZE: u32 = offsetof<Input>();
const DERIVED_SIZE: u32 = offsetof<Derived>();
const STEP_SIZE: u32 = offsetof<Step>();

/**
 * Compiled expressions of one query, for many batches. All numbers are u32 unless told otherwise:
 *
 *   version
 *   inputs, then each: name length, name
 *   constants, then each: ColumnType, then for Text: length, bytes; else the cell as u64
 *   sets of values, then each as `ValueSet.read` has it
 *   tables
 *   buffers
 *   steps, then each: op, into, a, b, c, extra
 *   derived columns, then each: name length, name, operand
 *   condition: an operand, or NO_OPERAND
 *
 * An operand is a buffer, constant or input; steps run in order, and a buffer is used again once its value is.
 */
@unmanaged
export class Program {
  inputs: usize; // Input[inputCount]
  inputCount: u32;
  constants: usize; // Vector[constantCount], addresses
  constantCount: u32;
  /** The constants' texts. */
  constantTexts: Dictionary;
  valueSets: usize; // ValueSet[valueSetCount], addresses
  valueSetCount: u32;
  tables: usize; // Table[tableCount], addresses or 0
  tableCount: u32;
  /** By the number of a cell: which column of its table it is; cells beyond `cellCount` are numbered like columns. */
  cellColumns: usize; // u32[cellCount]
  cellCount: u32;
  buffers: usize; // Vector[bufferCount], addresses
  bufferCount: u32;
  steps: usize; // Step[stepCount]
  stepCount: u32;
  derived: usize; // Derived[derivedCount]
  derivedCount: u32;
  condition: u32;
  /** Texts that were made in this batch. */
  texts: Dictionary;
  /** The batch's flags with those of rows that the condition drops; room for `maskCapacity` rows. */
  mask: usize;
  maskCapacity: u32;
  /** The batch's own flags while it has others, else 0. */
  hiddenFlags: usize;

  @inline input(index: u32): Input {
    return changetype<Input>(this.inputs + index * INPUT_SIZE);
  }

  @inline constant(index: u32): Vector {
    return load<Vector>(this.constants + index * sizeof<usize>());
  }

  @inline buffer(index: u32): Vector {
    return load<Vector>(this.buffers + index * sizeof<usize>());
  }

  @inline table(index: u32): Table {
    return load<Table>(this.tables + index * sizeof<usize>());
  }

  @inline cellColumn(index: u32): u32 {
    return index < this.cellCount ? load<u32>(this.cellColumns + (<usize>index << 2)) : index;
  }

  /** Says which column of its table a cell is. Cells between it and those known before are in no column. */
  bindCell(index: u32, column: u32): void {
    if (index >= this.cellCount) {
      this.cellColumns = heap.realloc(this.cellColumns, (<usize>index + 1) << 2);
      for (let cell = this.cellCount; cell < index; cell++)
        store<u32>(this.cellColumns + (<usize>cell << 2), NO_COLUMN);
      this.cellCount = index + 1;
    }
    store<u32>(this.cellColumns + (<usize>index << 2), column);
  }

  @inline valueSet(index: u32): ValueSet {
    return load<ValueSet>(this.valueSets + index * sizeof<usize>());
  }

  @inline step(index: u32): Step {
    return changetype<Step>(this.steps + index * STEP_SIZE);
  }

  @inline derivedColumn(index: u32): Derived {
    return changetype<Derived>(this.derived + index * DERIVED_SIZE);
  }

  operand(reference: u32): Vector {
    const number = reference & NUMBER_MASK;
    switch (<Place>(reference >> PLACE_SHIFT)) {
      case Place.Constant:
        return this.constant(number);
      case Place.Column:
        return this.input(number).vector;
      default:
        return this.buffer(number);
    }
  }

  dispose(): void {
    for (let i: u32 = 0; i < this.inputCount; i++) {
      const input = this.input(i);
      heap.free(input.name.pointer);
      heap.free(changetype<usize>(input.name));
      input.vector.dispose();
    }
    for (let i: u32 = 0; i < this.constantCount; i++) this.constant(i).dispose();
    for (let i: u32 = 0; i < this.valueSetCount; i++) this.valueSet(i).dispose();
    for (let i: u32 = 0; i < this.bufferCount; i++) this.buffer(i).dispose();
    for (let i: u32 = 0; i < this.stepCount; i++) disposeMemos(this.step(i));
    for (let i: u32 = 0; i < this.derivedCount; i++) {
      const column = this.derivedColumn(i).column;
      heap.free(column.name);
      heap.free(column.cells);
      heap.free(column.valid);
      heap.free(changetype<usize>(column));
    }
    heap.free(this.inputs);
    heap.free(this.constants);
    heap.free(this.valueSets);
    heap.free(this.tables);
    heap.free(this.cellColumns);
    heap.free(this.buffers);
    heap.free(this.steps);
    heap.free(this.derived);
    heap.free(this.mask);
    this.constantTexts.dispose();
    this.texts.dispose();
    heap.free(changetype<usize>(this));
  }
}

/** Reads a program as `host/config/expression/encode.ts` writes it. Null when it is of another version. */
export function readProgram(at: usize): Program {
  const cursor = readFrom(at);
  if (cursor.u32() != PROGRAM_VERSION) return changetype<Program>(0);
  const program = changetype<Program>(heap.alloc(offsetof<Program>()));
  program.constantTexts = Dictionary.create();
  program.texts = Dictionary.create();
  program.maskCapacity = 0;
  program.mask = heap.alloc(1);
  program.hiddenFlags = 0;
  program.inputCount = cursor.u32();
  program.inputs = heap.alloc(program.inputCount * INPUT_SIZE + 1);
  for (let i: u32 = 0; i < program.inputCount; i++) {
    const input = program.input(i);
    const length = cursor.u32();
    input.name = changetype<Name>(heap.alloc(offsetof<Name>()));
    input.name.set(cursor.take(length), length);
    input.column = changetype<Column>(0);
    input.vector = Vector.create();
  }
  program.constantCount = cursor.u32();
  program.constants = heap.alloc(program.constantCount * sizeof<usize>() + 1);
  for (let i: u32 = 0; i < program.constantCount; i++) {
    store<Vector>(program.constants + i * sizeof<usize>(), readConstant(program, cursor));
  }
  program.valueSetCount = cursor.u32();
  program.valueSets = heap.alloc(program.valueSetCount * sizeof<usize>() + 1);
  for (let i: u32 = 0; i < program.valueSetCount; i++) {
    store<ValueSet>(program.valueSets + i * sizeof<usize>(), ValueSet.read(cursor));
  }
  program.tableCount = cursor.u32();
  program.tables = heap.alloc(program.tableCount * sizeof<usize>() + 1);
  memory.fill(program.tables, 0, program.tableCount * sizeof<usize>());
  program.cellCount = 0;
  program.cellColumns = heap.alloc(1);
  program.bufferCount = cursor.u32();
  program.buffers = heap.alloc(program.bufferCount * sizeof<usize>() + 1);
  for (let i: u32 = 0; i < program.bufferCount; i++) {
    store<Vector>(program.buffers + i * sizeof<usize>(), Vector.create());
  }
  program.stepCount = cursor.u32();
  program.steps = heap.alloc(program.stepCount * STEP_SIZE + 1);
  for (let i: u32 = 0; i < program.stepCount; i++) {
    const step = program.step(i);
    step.op = cursor.u32();
    step.into = cursor.u32();
    step.a = cursor.u32();
    step.b = cursor.u32();
    step.c = cursor.u32();
    step.extra = cursor.u32();
    step.firstMemo = 0;
    step.secondMemo = 0;
  }
  program.derivedCount = cursor.u32();
  program.derived = heap.alloc(program.derivedCount * DERIVED_SIZE + 1);
  for (let i: u32 = 0; i < program.derivedCount; i++) {
    const length = cursor.u32();
    const derived = program.derivedColumn(i);
    derived.column = newColumn(cursor.take(length), length);
    derived.operand = cursor.u32();
    derived.place = 0;
    derived.hidden = changetype<Column>(0);
  }
  program.condition = cursor.u32();
  return program;
}

function readConstant(program: Program, cursor: ByteCursor): Vector {
  const vector = Vector.create();
  const type = <ColumnType>cursor.u32();
  vector.isConstant = 1;
  if (type == ColumnType.Null) {
    cursor.take(8);
    return vector;
  }
  vector.own(type);
  let cell: u64;
  if (type == ColumnType.Text) {
    const length = cursor.u32();
    cell = program.constantTexts.intern(cursor.take(length), length);
    vector.dictionary = program.constantTexts;
  } else {
    cell = <u64>cursor.i64();
  }
  if (type == ColumnType.Bool) memory.fill(vector.cells, <u8>cell, CHUNK_ROWS);
  else for (let row: u32 = 0; row < CHUNK_ROWS; row++) store<u64>(vector.cells + (row << 3), cell);
  return vector;
}

/** A column outside any batch; its cells grow with the batches. */
function newColumn(name: usize, length: u32): Column {
  const column = changetype<Column>(heap.alloc(offsetof<Column>()));
  memory.fill(changetype<usize>(column), 0, offsetof<Column>());
  column.name = heap.alloc(length + 1);
  memory.copy(column.name, name, length);
  column.nameLength = length;
  column.cells = heap.alloc(1);
  column.valid = heap.alloc(1);
  return column;
}
