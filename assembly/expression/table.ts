import { Batch, ColumnType } from "../batch/batch";
import { Dictionary, NOT_INTERNED } from "../memory/dictionary";
import { memoFor, Step } from "./step";
import { writeCell, writtenText } from "./text";
import { ALL_VALID, Vector } from "./vector";

const MISSING: u32 = 1;

/**
 * A reference table: rows found by their key's text.
 *
 * Invariant: the keys' ids are the numbers of their rows, for no two rows have the same key.
 */
@unmanaged
export class Table {
  rows: Batch;
  keys: Dictionary;

  /** Takes over a sealed batch whose first column holds the keys, as texts. Null when keys are missing or not unique. */
  static create(rows: Batch): Table {
    const none = changetype<Table>(0);
    if (rows.columnCount == 0) return none;
    const key = rows.column(0);
    if (rows.rows > 0 && (key.type != ColumnType.Text || key.nulls != 0)) return none;
    const keys = Dictionary.create();
    for (let row: u32 = 0; row < rows.rows; row++) {
      const id = load<u32>(key.cell(row));
      if (keys.intern(key.dictionary.pointer(id), key.dictionary.length(id)) == row) continue;
      keys.dispose();
      return none;
    }
    const self = changetype<Table>(heap.alloc(offsetof<Table>()));
    self.rows = rows;
    self.keys = keys;
    return self;
  }

  dispose(): void {
    this.rows.dispose();
    this.keys.dispose();
    heap.free(changetype<usize>(this));
  }
}

/** The number of the table's row for each key, as an Int; null where there is none. A whole float is the key of an int. */
export function findRows(step: Step, table: Table, a: Vector, out: Vector, rows: u32): void {
  if (changetype<usize>(table) == 0 || a.type == ColumnType.Null) return out.clear();
  out.own(ColumnType.Int);
  out.validAs(a);
  const isText = a.type == ColumnType.Text;
  const memo = isText ? memoFor(step, 0, a.dictionary) : 0;
  for (let row: u32 = 0; row < rows; row++) {
    let known: u32 = MISSING;
    if (a.isValid(row)) known = isText ? findText(table, a, row, memo) : findNumber(table, a, row);
    if (known == MISSING) out.setNull(row);
    store<u64>(out.cells + (<usize>row << 3), known == MISSING ? 0 : known - MISSING - 1);
  }
}

function findText(table: Table, a: Vector, row: u32, memo: usize): u32 {
  const id = load<u32>(a.cells + (<usize>row << 3));
  const place = memo + (<usize>id << 2);
  let known = load<u32>(place);
  if (known != 0) return known;
  known = numberOf(table.keys.find(a.dictionary.pointer(id), a.dictionary.length(id)));
  store<u32>(place, known);
  return known;
}

function findNumber(table: Table, a: Vector, row: u32): u32 {
  return numberOf(table.keys.find(writtenText, writeCell(a, row)));
}

@inline
function numberOf(found: u32): u32 {
  return found == NOT_INTERNED ? MISSING : found + MISSING + 1;
}

/** A column of the rows that `findRows` found. */
export function readCells(table: Table, column: u32, a: Vector, out: Vector, rows: u32): void {
  if (changetype<usize>(table) == 0 || a.type != ColumnType.Int || column >= table.rows.columnCount) return out.clear();
  const source = table.rows.column(column);
  if (source.type == ColumnType.Null || source.type == ColumnType.Raw) return out.clear();
  out.own(source.type);
  if (source.type == ColumnType.Text) out.dictionary = source.dictionary;
  out.validAs(a);
  const isBool = source.type == ColumnType.Bool;
  const mayMiss = source.nulls != 0 || a.valid != ALL_VALID;
  for (let row: u32 = 0; row < rows; row++) {
    const from = load<u32>(a.cells + (<usize>row << 3));
    const isThere = !mayMiss || (a.isValid(row) && source.isValid(from));
    if (!isThere) out.setNull(row);
    const cell = isThere ? load<u64>(source.cell(from)) : 0;
    if (isBool) store<u8>(out.cells + row, <u8>(cell & 1));
    else store<u64>(out.cells + (<usize>row << 3), cell);
  }
}
