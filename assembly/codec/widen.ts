import { Column, ColumnType } from "../batch/batch";
import { Dictionary } from "../memory/dictionary";
import { writeDouble, writeInteger } from "./numbers";
import { Scratch, scratch } from "./scratch";

/** Room for any number as text. */
const NUMBER_BYTES: usize = 64;

/** The type that holds both: int → float → text, and text for bool with anything else. */
export function widerOf(a: ColumnType, b: ColumnType): ColumnType {
  if (a == b || b == ColumnType.Null) return a;
  if (a == ColumnType.Null) return b;
  const isNumeric =
    a != ColumnType.Bool && b != ColumnType.Bool && a != ColumnType.Text && b != ColumnType.Text;
  return isNumeric ? ColumnType.Float : ColumnType.Text;
}

/** Changes a column and the values in it to a wider type. */
export function widenColumn(column: Column, type: ColumnType): void {
  const from = column.type;
  if (from == type) return;
  if (type == ColumnType.Text) column.dictionary = Dictionary.create();
  column.type = type;
  if (from == ColumnType.Null) return;
  for (let row: u32 = 0; row < column.filled; row++) {
    if (!column.isValid(row)) continue;
    store<u64>(column.cell(row), widenValue(load<u64>(column.cell(row)), from, column));
  }
}

/** The cell for `column` of a value of another, narrower type. */
export function widenValue(value: u64, from: ColumnType, column: Column): u64 {
  if (from == column.type) return value;
  if (column.type == ColumnType.Float) return reinterpret<u64>(<f64>(<i64>value));
  const text = scratch(Scratch.Text, NUMBER_BYTES);
  return column.dictionary.intern(text, writeValue(value, from, text));
}

function writeValue(value: u64, type: ColumnType, target: usize): u32 {
  if (type == ColumnType.Int) return writeInteger(<i64>value, target);
  if (type == ColumnType.Float) return writeDouble(reinterpret<f64>(value), target);
  if (value & 1) {
    store<u32>(target, 0x65757274); // "true"
    return 4;
  }
  store<u32>(target, 0x736c6166); // "fals"
  store<u8>(target, 0x65, 4); // "e"
  return 5;
}
