import { Batch, Column, ColumnType } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";
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
const EXACT_INTEGERS: f64 = 9007199254740992;

/** Appends the key of a row. `columns` holds, slot by slot, a column index (or -1) for each candidate. */
export function writeKey(out: ByteBuffer, plan: Plan, batch: Batch, columns: usize, row: u32): void {
  let at = columns;
  for (let s: u32 = 0; s < plan.slotCount; s++) {
    const slot = plan.slot(s);
    writeSlot(out, slot, batch, at, row);
    at += slot.count << 2;
  }
}

function writeSlot(out: ByteBuffer, slot: Slot, batch: Batch, columns: usize, row: u32): void {
  for (let c: u32 = 0; c < slot.count; c++) {
    const index = load<i32>(columns + (c << 2));
    if (index < 0) continue;
    const column = batch.column(index);
    if (column.type == ColumnType.Null || !column.isValid(row)) continue;
    out.u8(<u8>c);
    writeValue(out, column, row);
    return;
  }
  out.u8(NO_CANDIDATE);
  out.u8(<u8>KeyTag.Null);
}

@inline
function writeValue(out: ByteBuffer, column: Column, row: u32): void {
  const cell = column.cell(row);
  switch (column.type) {
    case ColumnType.Bool:
      out.u8(load<u8>(cell) ? <u8>KeyTag.True : <u8>KeyTag.False);
      return;
    case ColumnType.Int:
      out.u8(<u8>KeyTag.Int);
      out.u64(load<u64>(cell));
      return;
    case ColumnType.Float: {
      const value = load<f64>(cell);
      const isWhole = value == trunc(value) && abs(value) <= EXACT_INTEGERS;
      out.u8(isWhole ? <u8>KeyTag.Int : <u8>KeyTag.Float);
      out.u64(isWhole ? <u64>(<i64>value) : reinterpret<u64>(value));
      return;
    }
    default: {
      const id = load<u32>(cell);
      const length = column.dictionary.length(id);
      out.u8(<u8>KeyTag.Text);
      out.u32(length);
      out.append(column.dictionary.pointer(id), length);
    }
  }
}

/** Finds the columns of the plan's slots in a batch; `columns` has room for all candidates. */
export function findKeyColumns(plan: Plan, batch: Batch, columns: usize): void {
  let at = columns;
  for (let s: u32 = 0; s < plan.slotCount; s++) {
    const slot = plan.slot(s);
    for (let c: u32 = 0; c < slot.count; c++) {
      const name = slot.candidate(c);
      store<i32>(at, batch.indexOf(name.pointer, name.length));
      at += 4;
    }
  }
}

/** Candidates over all slots. */
export function countCandidates(plan: Plan): u32 {
  let count: u32 = 0;
  for (let s: u32 = 0; s < plan.slotCount; s++) count += plan.slot(s).count;
  return count;
}
