import { Fn, Layout, LAYOUT_SIZE, EXTREMES, SUM } from "../aggregate/accumulator";
import { readFrom } from "./cursor";

/** A name in linear memory. */
@unmanaged
export class Name {
  pointer: usize;
  length: u32;

  @inline equals(pointer: usize, length: u32): bool {
    return this.length == length && memory.compare(this.pointer, pointer, length) == 0;
  }
}

/** One group-by slot: the first of its candidate fields that is not null gives the key's part. */
@unmanaged
export class Slot {
  candidates: usize; // Name[count]
  count: u32;

  @inline candidate(index: u32): Name {
    return changetype<Name>(this.candidates + index * NAME_SIZE);
  }
}

/** One selected value. */
@unmanaged
export class Selection {
  fn: Fn;
  field: u32;
  parameter: f64;
}

const NAME_SIZE: u32 = offsetof<Name>();
const SLOT_SIZE: u32 = offsetof<Slot>();
const SELECTION_SIZE: u32 = offsetof<Selection>();
/** Bytes of a record before its fields: f64 rows. */
export const RECORD_HEAD: u32 = 8;
const MAX_FIELDS: u32 = 1024;

/**
 * A query as the engine runs it. Both ends have one: the local aggregator and the windows. With `isWildcard` the
 * fields are those that turn up, and each selects avg, min and max.
 */
@unmanaged
export class Plan {
  sizeUs: i64;
  offsetUs: i64;
  latenessUs: i64;
  isWildcard: u32;
  slots: usize; // Slot[slotCount]
  slotCount: u32;
  fieldNames: usize; // Name[MAX_FIELDS]
  layouts: usize; // Layout[MAX_FIELDS]
  fieldCount: u32;
  selections: usize; // Selection[selectionCount]
  selectionCount: u32;
  /** Bytes of a group's record. */
  stride: u32;

  @inline slot(index: u32): Slot {
    return changetype<Slot>(this.slots + index * SLOT_SIZE);
  }

  @inline fieldName(index: u32): Name {
    return changetype<Name>(this.fieldNames + index * NAME_SIZE);
  }

  @inline layout(index: u32): Layout {
    return changetype<Layout>(this.layouts + index * LAYOUT_SIZE);
  }

  @inline selection(index: u32): Selection {
    return changetype<Selection>(this.selections + index * SELECTION_SIZE);
  }

  /** The start of the window of an event time: floor, for times before the epoch too. */
  @inline startOf(time: i64): i64 {
    const since = time - this.offsetUs;
    let rest = since % this.sizeUs;
    if (rest < 0) rest += this.sizeUs;
    return time - rest;
  }

  fieldIndex(pointer: usize, length: u32): i32 {
    for (let i: u32 = 0; i < this.fieldCount; i++) if (this.fieldName(i).equals(pointer, length)) return i;
    return -1;
  }

  /** Adds a field behind the others; its accumulator lengthens the record. -1 when there are too many. */
  addField(pointer: usize, length: u32, families: u32): i32 {
    if (this.fieldCount == MAX_FIELDS) return -1;
    const index = this.fieldCount++;
    const name = this.fieldName(index);
    name.pointer = heap.alloc(length + 1);
    name.length = length;
    memory.copy(name.pointer, pointer, length);
    this.stride = this.layout(index).place(families, this.stride);
    return index;
  }

  /** For a wildcard: count first, then avg, min and max of each field. */
  wildcardSelections(): u32 {
    return 1 + this.fieldCount * 3;
  }

  dispose(): void {
    for (let i: u32 = 0; i < this.fieldCount; i++) heap.free(this.fieldName(i).pointer);
    for (let i: u32 = 0; i < this.slotCount; i++) {
      const slot = this.slot(i);
      for (let c: u32 = 0; c < slot.count; c++) heap.free(slot.candidate(c).pointer);
      heap.free(slot.candidates);
    }
    heap.free(this.slots);
    heap.free(this.fieldNames);
    heap.free(this.layouts);
    heap.free(this.selections);
    heap.free(changetype<usize>(this));
  }
}

export const WILDCARD_FAMILIES: u32 = SUM | EXTREMES;

/** Reads a plan as `workers/core/window.ts` writes it. */
export function readPlan(at: usize): Plan {
  const cursor = readFrom(at);
  const plan = changetype<Plan>(heap.alloc(offsetof<Plan>()));
  plan.sizeUs = cursor.i64();
  plan.offsetUs = cursor.i64();
  plan.latenessUs = cursor.i64();
  plan.isWildcard = cursor.u32();
  plan.slotCount = cursor.u32();
  plan.slots = heap.alloc(plan.slotCount * SLOT_SIZE + 1);
  for (let i: u32 = 0; i < plan.slotCount; i++) {
    const slot = plan.slot(i);
    slot.count = cursor.u32();
    slot.candidates = heap.alloc(slot.count * NAME_SIZE + 1);
    for (let c: u32 = 0; c < slot.count; c++) {
      const length = cursor.u32();
      const name = slot.candidate(c);
      name.pointer = heap.alloc(length + 1);
      name.length = length;
      memory.copy(name.pointer, cursor.take(length), length);
    }
  }
  plan.fieldNames = heap.alloc(MAX_FIELDS * NAME_SIZE);
  plan.layouts = heap.alloc(MAX_FIELDS * LAYOUT_SIZE);
  plan.fieldCount = 0;
  plan.stride = RECORD_HEAD;
  const fields = cursor.u32();
  for (let i: u32 = 0; i < fields; i++) {
    const families = cursor.u32();
    const length = cursor.u32();
    plan.addField(cursor.take(length), length, families);
  }
  plan.selectionCount = cursor.u32();
  plan.selections = heap.alloc(plan.selectionCount * SELECTION_SIZE + 1);
  for (let i: u32 = 0; i < plan.selectionCount; i++) {
    const selection = plan.selection(i);
    selection.fn = <Fn>cursor.u32();
    selection.field = cursor.u32();
    selection.parameter = cursor.f64();
  }
  return plan;
}
