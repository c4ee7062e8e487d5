import { Batch, Column, ColumnType } from "../batch/batch";
import { Groups } from "./groups";
import { Keys } from "./keys";
import { Field } from "./statistics";

/** What states may take: each field has one for each group, also where few events have the field. */
const MOST_STATE_BYTES: usize = 32 << 20;

/**
 * Aggregates events by spans of event time and key: how many there were, and of each numeric field count, sum, least,
 * greatest, first and last. Everything else of them goes. Batches come one after the other, in the order of their events.
 * Cost: a pass over the times, one over the keys and one over each numeric column. Memory: the groups, 64 bytes a field.
 */
@unmanaged
export class Downsampler {
  keys: Keys;
  groups: Groups;
  /** `Field` each, in the order in which they were met. */
  fields: usize;
  fieldCount: u32;
  fieldCapacity: u32;

  static create(keyFields: usize, length: u32, keyFieldCount: u32, spanUs: i64): Downsampler {
    const self = changetype<Downsampler>(heap.alloc(offsetof<Downsampler>()));
    self.keys = Keys.create(keyFields, length, keyFieldCount);
    self.groups = Groups.create(spanUs);
    self.fieldCapacity = 16;
    self.fields = heap.alloc(16 * sizeof<usize>());
    self.fieldCount = 0;
    return self;
  }

  @inline field(index: u32): Field {
    return load<Field>(this.fields + <usize>index * sizeof<usize>());
  }

  add(batch: Batch): void {
    batch.seal();
    this.keys.assign(batch);
    this.groups.add(batch.times, batch.rows, this.keys);
    let hint: u32 = 0;
    for (let i: u32 = 0; i < batch.columnCount; i++) {
      const column = batch.column(i);
      if (column.type != ColumnType.Int && column.type != ColumnType.Float) continue;
      if (this.keys.isField(column)) continue;
      this.fieldOf(column, hint++).add(column, batch.rows, this.groups);
    }
  }

  /** Whether what was taken in is as much as should be: more would take too much memory. */
  isFull(): bool {
    let bytes: usize = 0;
    for (let i: u32 = 0; i < this.fieldCount; i++) bytes += this.field(i).bytes();
    return bytes >= MOST_STATE_BYTES;
  }

  dispose(): void {
    for (let i: u32 = 0; i < this.fieldCount; i++) this.field(i).dispose();
    heap.free(this.fields);
    this.groups.dispose();
    this.keys.dispose();
    heap.free(changetype<usize>(this));
  }

  /** Batches mostly have the same columns in the same order. */
  private fieldOf(column: Column, hint: u32): Field {
    if (hint < this.fieldCount && isOf(this.field(hint), column)) return this.field(hint);
    for (let i: u32 = 0; i < this.fieldCount; i++) if (isOf(this.field(i), column)) return this.field(i);
    if (this.fieldCount == this.fieldCapacity) {
      this.fieldCapacity <<= 1;
      this.fields = heap.realloc(this.fields, <usize>this.fieldCapacity * sizeof<usize>());
    }
    const field = Field.create(column.name, column.nameLength);
    store<Field>(this.fields + <usize>this.fieldCount * sizeof<usize>(), field);
    this.fieldCount += 1;
    return field;
  }
}

function isOf(field: Field, column: Column): bool {
  return field.nameLength == column.nameLength && memory.compare(field.name, column.name, field.nameLength) == 0;
}
