import { Batch, Column, ColumnType } from "../batch/batch";
import { Dictionary, NOT_INTERNED } from "../memory/dictionary";
import { Unit } from "./time";

/** As `extra` of StreamPlan in workers/messages.ts. */
export const enum ExtraPolicy {
  Keep = 0,
  Drop = 1,
  Reject = 2,
}

export const MAX_COLUMNS: u32 = 512;
/** A member with a longer path goes to the extra column as it stands, so that paths cannot multiply a line's size. */
export const MAX_PATH_BYTES: u32 = 512;
export const NOT_A_TIME: u32 = 0xffffffff;
const FIRST_FIELDS: u32 = 16;

/** A path that the plan names, or that has a column. */
@unmanaged
export class Field {
  path: usize;
  pathLength: u32;
  /** 0 until a value is seen. */
  column: usize;
  /** Place among the candidates for the event time, or `NOT_A_TIME`. */
  timeRank: u32;
  isKey: u32;
  /** Null when it is inferred. */
  declaredType: ColumnType;

  @inline hasColumn(): bool {
    return this.column != 0;
  }

  @inline get columnOf(): Column {
    return changetype<Column>(this.column);
  }
}

/** What the parser is told of a stream, and the fields it knows. */
@unmanaged
export class Plan {
  /** Field paths, whose ids index `fields`. */
  names: Dictionary;
  fields: usize;
  fieldCapacity: u32;
  timeCount: u32;
  unit: Unit;
  isTimeDeclared: u32;
  isKeyDeclared: u32;
  /** Fields are declared, so that others are extra. */
  isDeclared: u32;
  extra: ExtraPolicy;
  maxAheadUs: i64;

  static create(): Plan {
    const self = changetype<Plan>(heap.alloc(offsetof<Plan>()));
    self.names = Dictionary.create();
    self.fieldCapacity = FIRST_FIELDS;
    self.fields = heap.alloc(FIRST_FIELDS * sizeof<usize>());
    self.timeCount = 0;
    self.unit = Unit.Auto;
    self.isTimeDeclared = 0;
    self.isKeyDeclared = 0;
    self.isDeclared = 0;
    self.extra = ExtraPolicy.Keep;
    self.maxAheadUs = i64.MAX_VALUE;
    return self;
  }

  @inline field(id: u32): Field {
    return load<Field>(this.fields + <usize>id * sizeof<usize>());
  }

  /** The field of that path, or 0. */
  find(path: usize, length: u32): Field {
    const id = this.names.find(path, length);
    return id == NOT_INTERNED ? changetype<Field>(0) : this.field(id);
  }

  /** The field of that path, new when there is none. */
  add(path: usize, length: u32): Field {
    const known = this.names.count;
    const id = this.names.intern(path, length);
    if (id < known) return this.field(id);
    if (id == this.fieldCapacity) {
      this.fieldCapacity <<= 1;
      this.fields = heap.realloc(this.fields, <usize>this.fieldCapacity * sizeof<usize>());
    }
    const field = changetype<Field>(heap.alloc(offsetof<Field>()));
    field.path = heap.alloc(length + 1);
    memory.copy(field.path, path, length);
    field.pathLength = length;
    field.column = 0;
    field.timeRank = NOT_A_TIME;
    field.isKey = 0;
    field.declaredType = ColumnType.Null;
    store<Field>(this.fields + <usize>id * sizeof<usize>(), field);
    return field;
  }

  /** Whether a value at that path has a column, or gets one when the batch has room. */
  takes(field: Field, pathLength: u32, batch: Batch): bool {
    const mayAdd = !this.isDeclared && batch.columnCount < MAX_COLUMNS;
    if (changetype<usize>(field) == 0) return mayAdd && pathLength <= MAX_PATH_BYTES;
    if (field.hasColumn() || field.isKey || field.declaredType != ColumnType.Null) return true;
    return mayAdd;
  }

  /** Whether an object at that path is looked into for fields, instead of being a value itself. */
  looksInto(path: usize, length: u32): bool {
    if (length > MAX_PATH_BYTES) return false;
    if (!this.isDeclared) {
      const field = this.find(path, length);
      return (
        changetype<usize>(field) == 0 ||
        (field.timeRank == NOT_A_TIME && !(field.isKey && this.isKeyDeclared))
      );
    }
    for (let id: u32 = 0; id < this.names.count; id++) {
      const field = this.field(id);
      const isInner =
        field.pathLength > length &&
        load<u8>(field.path + length) == 0x2e &&
        memory.compare(field.path, path, length) == 0;
      if (isInner) return true;
    }
    return false;
  }

  dispose(): void {
    for (let id: u32 = 0; id < this.names.count; id++) {
      heap.free(this.field(id).path);
      heap.free(changetype<usize>(this.field(id)));
    }
    heap.free(this.fields);
    this.names.dispose();
    heap.free(changetype<usize>(this));
  }
}
