import { ByteCursor } from "../state/cursor";
import { EXTREMES, Fn, Layout, SUM } from "../aggregate/layout";
import { Batch, Column } from "../batch/batch";
import { readFrom } from "../state/cursor";
import { Axis } from "./axis";
import { Calendar } from "./calendar";
import { RECORD_HEAD } from "./record";

/** A name in linear memory. */
@unmanaged
export class Name {
  pointer: usize;
  length: u32;

  @inline equals(pointer: usize, length: u32): bool {
    return this.length == length && memory.compare(this.pointer, pointer, length) == 0;
  }

  set(pointer: usize, length: u32): void {
    this.pointer = heap.alloc(length + 1);
    this.length = length;
    memory.copy(this.pointer, pointer, length);
  }

  /** Below, equal to or above 0 as bytes compare. */
  compare(other: Name): i32 {
    const common = min(this.length, other.length);
    const order = memory.compare(this.pointer, other.pointer, common);
    return order != 0 ? order : <i32>this.length - <i32>other.length;
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

/** One field that is aggregated. */
@unmanaged
export class Field {
  /** Tells it from others; more than the column's name where aggregates of one column have different parameters. */
  name: Name;
  /** The name of its column. */
  column: Name;
  layout: Layout;
  /** Where the batch before had its column: likely there again. */
  columnHint: u32;

  /** The field's column in a batch, or null. */
  columnOf(batch: Batch): Column {
    const name = this.column;
    if (this.columnHint < batch.columnCount) {
      const column = batch.column(this.columnHint);
      if (name.equals(column.name, column.nameLength)) return column;
    }
    const index = batch.indexOf(name.pointer, name.length);
    if (index < 0) return changetype<Column>(0);
    this.columnHint = index;
    return batch.column(index);
  }
}

/** One selected value. `field` is a number into the plan's fields. */
@unmanaged
export class Selection {
  fn: Fn;
  field: u32;
  /** A quantile's q, in [0, 1]; how many of topk; 1 for steps in twa and integral. */
  parameter: f64;
}

const NAME_SIZE: u32 = offsetof<Name>();
const SLOT_SIZE: u32 = offsetof<Slot>();
const SELECTION_SIZE: u32 = offsetof<Selection>();
const FIRST_FIELD_CAPACITY: u32 = 8;
/** The greatest k of topk: memory grows with it. */
const MAX_TOP_SIZE: u32 = 100;
/** What "*" keeps of each field. */
export const WILDCARD_FAMILIES: u32 = SUM | EXTREMES;

/**
 * A query as the core runs it. Both stages have one: the local aggregator and the windows. With `isWildcard` the
 * fields are those that turn up, and each selects avg, min and max.
 */
@unmanaged
export class Plan {
  sizeUs: i64;
  offsetUs: i64;
  latenessUs: i64;
  /** How time is cut into slices and windows. */
  axis: Axis;
  /** Early results come when the watermark passes a multiple of this; 0: there are none. */
  earlyUs: i64;
  isWildcard: u32;
  slots: usize; // Slot[slotCount]
  slotCount: u32;
  fields: usize; // Field[fieldCapacity], addresses
  fieldCount: u32;
  fieldCapacity: u32;
  selections: usize; // Selection[selectionCount]
  selectionCount: u32;
  /** Bytes of a group's record. */
  stride: u32;

  @inline slot(index: u32): Slot {
    return changetype<Slot>(this.slots + index * SLOT_SIZE);
  }

  @inline field(index: u32): Field {
    return load<Field>(this.fields + <usize>index * sizeof<usize>());
  }

  @inline layout(index: u32): Layout {
    return this.field(index).layout;
  }

  @inline selection(index: u32): Selection {
    return changetype<Selection>(this.selections + index * SELECTION_SIZE);
  }

  fieldIndex(pointer: usize, length: u32): i32 {
    for (let i: u32 = 0; i < this.fieldCount; i++) if (this.field(i).name.equals(pointer, length)) return i;
    return -1;
  }

  /** Adds a field behind the others, which lengthens the record; returns its number. */
  addField(pointer: usize, length: u32, families: u32): u32 {
    if (this.fieldCount == this.fieldCapacity) {
      this.fieldCapacity <<= 1;
      this.fields = heap.realloc(this.fields, <usize>this.fieldCapacity * sizeof<usize>());
    }
    const index = this.fieldCount++;
    const field = changetype<Field>(heap.alloc(offsetof<Field>()));
    field.name = changetype<Name>(heap.alloc(NAME_SIZE));
    field.name.set(pointer, length);
    field.column = field.name;
    field.layout = changetype<Layout>(heap.alloc(offsetof<Layout>()));
    field.layout.place(families, this.stride);
    field.columnHint = 0;
    store<Field>(this.fields + <usize>index * sizeof<usize>(), field);
    this.stride = field.layout.end;
    return index;
  }

  /** Whether a column takes part in the key. */
  isKey(column: Column): bool {
    for (let s: u32 = 0; s < this.slotCount; s++) {
      const slot = this.slot(s);
      for (let c: u32 = 0; c < slot.count; c++) {
        if (slot.candidate(c).equals(column.name, column.nameLength)) return true;
      }
    }
    return false;
  }

  dispose(): void {
    for (let i: u32 = 0; i < this.fieldCount; i++) {
      const field = this.field(i);
      if (field.layout.bounds != 0) heap.free(field.layout.bounds);
      if (field.column != field.name) {
        heap.free(field.column.pointer);
        heap.free(changetype<usize>(field.column));
      }
      heap.free(field.name.pointer);
      heap.free(changetype<usize>(field.name));
      heap.free(changetype<usize>(field.layout));
      heap.free(changetype<usize>(field));
    }
    for (let i: u32 = 0; i < this.slotCount; i++) {
      const slot = this.slot(i);
      for (let c: u32 = 0; c < slot.count; c++) heap.free(slot.candidate(c).pointer);
      heap.free(slot.candidates);
    }
    if (this.axis.isCalendar) this.axis.calendar.dispose();
    heap.free(changetype<usize>(this.axis));
    heap.free(this.slots);
    heap.free(this.fields);
    heap.free(this.selections);
    heap.free(changetype<usize>(this));
  }
}

/** A field's column, when that is not its name; how many topk wants; the bounds of a histogram. */
function readParameters(field: Field, cursor: ByteCursor): void {
  const length = cursor.u32();
  if (length != 0) {
    field.column = changetype<Name>(heap.alloc(NAME_SIZE));
    field.column.set(cursor.take(length), length);
  }
  const layout = field.layout;
  layout.topSize = min(cursor.u32(), MAX_TOP_SIZE);
  layout.boundCount = cursor.u32();
  if (layout.boundCount == 0) return;
  const bytes = layout.boundCount << 3;
  layout.bounds = heap.alloc(bytes);
  memory.copy(layout.bounds, cursor.take(bytes), bytes);
}

/** Reads a plan as `workers/core/window-plan.ts` writes it. */
export function readPlan(at: usize): Plan {
  const cursor = readFrom(at);
  const plan = changetype<Plan>(heap.alloc(offsetof<Plan>()));
  // A division by zero would trap.
  plan.sizeUs = max<i64>(cursor.i64(), 1);
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
      slot.candidate(c).set(cursor.take(length), length);
    }
  }
  plan.fieldCapacity = FIRST_FIELD_CAPACITY;
  plan.fields = heap.alloc(FIRST_FIELD_CAPACITY * sizeof<usize>());
  plan.fieldCount = 0;
  plan.stride = RECORD_HEAD;
  const fields = cursor.u32();
  for (let i: u32 = 0; i < fields; i++) {
    const families = cursor.u32();
    const length = cursor.u32();
    readParameters(plan.field(plan.addField(cursor.take(length), length, families)), cursor);
  }
  plan.selectionCount = cursor.u32();
  plan.selections = heap.alloc(plan.selectionCount * SELECTION_SIZE + 1);
  for (let i: u32 = 0; i < plan.selectionCount; i++) {
    const selection = plan.selection(i);
    selection.fn = <Fn>cursor.u32();
    selection.field = cursor.u32();
    const parameter = cursor.f64();
    const limit: f64 = selection.fn == Fn.Topk ? MAX_TOP_SIZE : 1;
    selection.parameter = parameter >= 0 ? min<f64>(parameter, limit) : 0;
  }
  const every = cursor.i64();
  plan.earlyUs = max<i64>(cursor.i64(), 0);
  const calendar = cursor.u32() ? Calendar.create() : changetype<Calendar>(0);
  plan.axis = changetype<Axis>(heap.alloc(offsetof<Axis>()));
  plan.axis.place(plan.sizeUs, every, plan.offsetUs, calendar);
  return plan;
}
