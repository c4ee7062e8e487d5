import { Batch, Column, ColumnType } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { Plan, Slot } from "./plan";

/**
 * A group's key as canonical bytes, slot by slot: the candidate's index (255 when all are null), a tag, the value.
 * Whole floats within ±2^53 are written as integers, so that 1 and 1.0 are one key.
 */
export const enum KeyTag {
  Null = 0,
  False = 1,
  True = 2,
  Int = 3,
  Float = 4,
  Text = 5,
}

const NO_CANDIDATE: u8 = 255;
/** Of a key of one text: the candidate's number, the tag, the text's length. */
const TEXT_KEY_HEAD: u32 = 6;
const EXACT_INTEGERS: f64 = 9007199254740992;
const CANONICAL_NAN: u64 = 0x7ff8000000000000;

/** Appends the key of a row. `columns` holds, slot by slot, a column (or 0) for each candidate. */
export function writeKey(out: ByteBuffer, plan: Plan, columns: usize, row: u32): void {
  let at = columns;
  for (let s: u32 = 0; s < plan.slotCount; s++) {
    const slot = plan.slot(s);
    writeSlot(out, slot, at, row);
    at += slot.count * sizeof<usize>();
  }
}

function writeSlot(out: ByteBuffer, slot: Slot, columns: usize, row: u32): void {
  for (let c: u32 = 0; c < slot.count; c++) {
    const column = load<Column>(columns + c * sizeof<usize>());
    if (changetype<usize>(column) == 0 || column.type == ColumnType.Null || !column.isValid(row)) continue;
    out.u8(<u8>c);
    writeValue(out, column, row);
    return;
  }
  out.u8(NO_CANDIDATE);
  out.u8(<u8>KeyTag.Null);
}

function writeValue(out: ByteBuffer, column: Column, row: u32): void {
  const cell = column.cell(row);
  switch (column.type) {
    case ColumnType.Bool:
      out.u8(<u8>(load<u8>(cell) ? KeyTag.True : KeyTag.False));
      return;
    case ColumnType.Int:
      out.u8(<u8>KeyTag.Int);
      out.u64(load<u64>(cell));
      return;
    case ColumnType.Float: {
      const value = load<f64>(cell);
      const isWhole = value == trunc(value) && abs(value) <= EXACT_INTEGERS;
      out.u8(<u8>(isWhole ? KeyTag.Int : KeyTag.Float));
      out.u64(isWhole ? <u64>(<i64>value) : value == value ? reinterpret<u64>(value) : CANONICAL_NAN);
      return;
    }
    default: {
      const id = load<u32>(cell);
      writeText(out, column.dictionary.pointer(id), column.dictionary.length(id));
    }
  }
}

@inline
function writeText(out: ByteBuffer, text: usize, length: u32): void {
  const at = out.reserve(5 + length);
  store<u8>(at, <u8>KeyTag.Text);
  store<u32>(at, length, 1);
  memory.copy(at + 5, text, length);
  out.length += 5 + length;
}

/** Writes the key that one text is, as `writeKey` does; returns its length. May write 16 bytes behind the head. */
@inline
function writeTextKey(at: usize, texts: Dictionary, id: u32): u32 {
  const length = texts.length(id);
  store<u8>(at, 0);
  store<u8>(at, <u8>KeyTag.Text, 1);
  store<u32>(at, length, 2);
  if (length <= 16) v128.store(at, texts.prefix(id), TEXT_KEY_HEAD);
  else memory.copy(at + TEXT_KEY_HEAD, texts.pointer(id), length);
  return TEXT_KEY_HEAD + length;
}

/** Appends the key that one text is: its length u32, its bytes. */
@inline
export function appendTextKey(out: ByteBuffer, texts: Dictionary, id: u32): void {
  const at = out.reserve(4 + TEXT_KEY_HEAD + max<u32>(texts.length(id), 16));
  const length = writeTextKey(at + 4, texts, id);
  store<u32>(at, length);
  out.length += 4 + length;
}

/** Finds the columns of the plan's slots in a batch; `columns` has room for `countCandidates` addresses. */
export function findKeyColumns(plan: Plan, batch: Batch, columns: usize): void {
  let at = columns;
  for (let s: u32 = 0; s < plan.slotCount; s++) {
    const slot = plan.slot(s);
    for (let c: u32 = 0; c < slot.count; c++) {
      const name = slot.candidate(c);
      const index = batch.indexOf(name.pointer, name.length);
      store<usize>(at, index < 0 ? 0 : changetype<usize>(batch.column(index)));
      at += sizeof<usize>();
    }
  }
}

/** Candidates over all slots. */
export function countCandidates(plan: Plan): u32 {
  let count: u32 = 0;
  for (let s: u32 = 0; s < plan.slotCount; s++) count += plan.slot(s).count;
  return count;
}

/** The column whose text ids can stand for the keys: the plan's only slot has it first, and no row lacks it. Else null. */
export function directColumn(plan: Plan, columns: usize): Column {
  const none = changetype<Column>(0);
  if (plan.slotCount != 1 || plan.slot(0).count == 0) return none;
  const column = load<Column>(columns);
  if (changetype<usize>(column) == 0) return none;
  return column.type == ColumnType.Text && column.nulls == 0 ? column : none;
}
