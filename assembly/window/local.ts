import { Layout, QUANTILE } from "../aggregate/accumulator";
import { keyOf } from "../aggregate/sketch";
import { Batch, Column, ColumnType, FLAG_CLOCK_SKEW } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { countCandidates, findKeyColumns, writeKey } from "./group-key";
import { Plan, WILDCARD_FAMILIES } from "./plan";

/** A group of one batch: its key's local number and its window. Its record stands at the same index in `records`. */
@unmanaged
class LocalGroup {
  start: i64;
  key: u32;
  hash: u32;
}

const GROUP_SIZE: u32 = offsetof<LocalGroup>();
const NO_GROUP: u32 = 0xffffffff;
/** First byte of a partial. */
export const PARTIAL_VERSION: u32 = 1;

/**
 * The local stage: aggregates a batch by (key, window) into a partial, which is small and mergeable. Knows nothing of
 * watermarks. Cost per event: one hash look-up, then one update per field.
 */
@unmanaged
export class Local {
  plan: Plan;
  columns: usize; // i32[candidates]
  keys: Dictionary;
  scratch: ByteBuffer;
  groups: usize; // LocalGroup[groupCapacity]
  records: usize; // [groupCapacity · stride]
  groupCount: u32;
  groupCapacity: u32;
  recordBytes: u32;
  table: usize; // u32[tableMask + 1], group + 1
  tableMask: u32;
  groupOfRow: usize; // u32[rowCapacity]
  rowCapacity: u32;
  out: ByteBuffer;

  static create(plan: Plan): Local {
    const self = changetype<Local>(heap.alloc(offsetof<Local>()));
    self.plan = plan;
    self.columns = heap.alloc((countCandidates(plan) << 2) + 4);
    self.keys = Dictionary.create();
    self.scratch = ByteBuffer.create(256);
    self.groupCapacity = 0;
    self.groups = 0;
    self.records = 0;
    self.recordBytes = 0;
    self.groupCount = 0;
    self.tableMask = 1023;
    self.table = heap.alloc(1024 << 2);
    self.rowCapacity = 0;
    self.groupOfRow = 0;
    self.out = ByteBuffer.create(4096);
    return self;
  }

  dispose(): void {
    this.plan.dispose();
    heap.free(this.columns);
    this.keys.dispose();
    this.scratch.dispose();
    if (this.groups) heap.free(this.groups);
    if (this.records) heap.free(this.records);
    heap.free(this.table);
    if (this.groupOfRow) heap.free(this.groupOfRow);
    this.out.dispose();
    heap.free(changetype<usize>(this));
  }

  /** Aggregates a sealed batch; `out` then holds the partial. */
  aggregate(batch: Batch): void {
    if (this.plan.isWildcard) this.adoptFields(batch);
    this.prepare(batch.rows);
    findKeyColumns(this.plan, batch, this.columns);
    this.group(batch);
    this.clearRecords();
    for (let f: u32 = 0; f < this.plan.fieldCount; f++) this.accumulate(batch, f);
    this.countRows(batch.rows);
    this.write(batch);
  }

  /** A wildcard takes in every numeric column that is no key. */
  private adoptFields(batch: Batch): void {
    const plan = this.plan;
    for (let i: u32 = 0; i < batch.columnCount; i++) {
      const column = batch.column(i);
      if (column.type != ColumnType.Int && column.type != ColumnType.Float) continue;
      if (isKeyField(plan, column) || plan.fieldIndex(column.name, column.nameLength) >= 0) continue;
      plan.addField(column.name, column.nameLength, WILDCARD_FAMILIES);
    }
  }

  private prepare(rows: u32): void {
    this.keys.reset();
    this.groupCount = 0;
    if (rows > this.rowCapacity) {
      if (this.groupOfRow) heap.free(this.groupOfRow);
      this.rowCapacity = rows;
      this.groupOfRow = heap.alloc(<usize>rows << 2);
    }
    let size: u32 = 1024;
    while (size < rows << 1) size <<= 1;
    if (size - 1 > this.tableMask) {
      heap.free(this.table);
      this.table = heap.alloc(<usize>size << 2);
    }
    this.tableMask = size - 1 > this.tableMask ? size - 1 : this.tableMask;
    memory.fill(this.table, 0, <usize>(this.tableMask + 1) << 2);
  }

  /** Numbers every row's group. */
  private group(batch: Batch): void {
    const plan = this.plan;
    const direct = this.directColumn(batch);
    let start: i64 = 0;
    let end: i64 = i64.MIN_VALUE;
    const isGlobal = plan.slotCount == 0;
    if (isGlobal) this.keys.intern(this.scratch.data, 0);
    for (let row: u32 = 0; row < batch.rows; row++) {
      const place = this.groupOfRow + (<usize>row << 2);
      if (load<u8>(batch.flags + row) & FLAG_CLOCK_SKEW) {
        store<u32>(place, NO_GROUP);
        continue;
      }
      const time = load<i64>(batch.times + (<usize>row << 3));
      if (time >= end || time < start) {
        start = plan.startOf(time);
        end = start + plan.sizeUs;
      }
      let key: u32 = 0;
      if (changetype<usize>(direct) != 0) key = load<u32>(direct.cell(row));
      else if (!isGlobal) {
        this.scratch.reset();
        writeKey(this.scratch, plan, batch, this.columns, row);
        key = this.keys.intern(this.scratch.data, this.scratch.length);
      }
      store<u32>(place, this.find(key, start));
    }
  }

  /** The key's column when its text ids can stand for the keys: one slot, text, never null. Else null. */
  private directColumn(batch: Batch): Column {
    const none = changetype<Column>(0);
    if (this.plan.slotCount != 1) return none;
    const index = load<i32>(this.columns);
    if (index < 0) return none;
    const column = batch.column(index);
    return column.type == ColumnType.Text && column.nulls == 0 ? column : none;
  }

  @inline private find(key: u32, start: i64): u32 {
    const hash = hashGroup(key, start);
    let slot = hash & this.tableMask;
    while (true) {
      const stored = load<u32>(this.table + (<usize>slot << 2));
      if (stored == 0) break;
      const group = changetype<LocalGroup>(this.groups + (stored - 1) * GROUP_SIZE);
      if (group.key == key && group.start == start) return stored - 1;
      slot = (slot + 1) & this.tableMask;
    }
    return this.insert(slot, key, start, hash);
  }

  private insert(slot: u32, key: u32, start: i64, hash: u32): u32 {
    const index = this.groupCount++;
    if (index == this.groupCapacity) {
      this.groupCapacity = this.groupCapacity == 0 ? 256 : this.groupCapacity << 1;
      this.groups = this.groups
        ? heap.realloc(this.groups, this.groupCapacity * GROUP_SIZE)
        : heap.alloc(this.groupCapacity * GROUP_SIZE);
    }
    const group = changetype<LocalGroup>(this.groups + index * GROUP_SIZE);
    group.key = key;
    group.start = start;
    group.hash = hash;
    store<u32>(this.table + (<usize>slot << 2), index + 1);
    return index;
  }

  private clearRecords(): void {
    const bytes = this.groupCount * this.plan.stride;
    if (bytes > this.recordBytes) {
      if (this.records) heap.free(this.records);
      this.records = heap.alloc(bytes);
      this.recordBytes = bytes;
    }
    memory.fill(this.records, 0, bytes);
  }

  private countRows(rows: u32): void {
    const stride = this.plan.stride;
    for (let row: u32 = 0; row < rows; row++) {
      const group = load<u32>(this.groupOfRow + (<usize>row << 2));
      if (group == NO_GROUP) continue;
      const at = this.records + group * stride;
      store<f64>(at, load<f64>(at) + 1);
    }
  }

  /** Takes a field's column in, all but its quantiles. Text counts but has no number. */
  private accumulate(batch: Batch, field: u32): void {
    const name = this.plan.fieldName(field);
    const index = batch.indexOf(name.pointer, name.length);
    if (index < 0) return;
    const column = batch.column(index);
    switch (column.type) {
      case ColumnType.Float:
        this.accumulateColumn<f64>(batch, column, this.plan.layout(field));
        return;
      case ColumnType.Int:
        this.accumulateColumn<i64>(batch, column, this.plan.layout(field));
        return;
      case ColumnType.Bool:
        this.accumulateColumn<u8>(batch, column, this.plan.layout(field));
        return;
      case ColumnType.Text:
        this.countTexts(batch.rows, column, this.plan.layout(field));
        return;
      default:
    }
  }

  private accumulateColumn<T>(batch: Batch, column: Column, layout: Layout): void {
    const stride = this.plan.stride;
    for (let row: u32 = 0; row < batch.rows; row++) {
      const group = load<u32>(this.groupOfRow + (<usize>row << 2));
      if (group == NO_GROUP || !column.isValid(row)) continue;
      const value = <f64>load<T>(column.cell(row));
      layout.add(this.records + group * stride, value, load<i64>(batch.times + (<usize>row << 3)));
    }
  }

  private countTexts(rows: u32, column: Column, layout: Layout): void {
    if (layout.families != 0) return;
    for (let row: u32 = 0; row < rows; row++) {
      const group = load<u32>(this.groupOfRow + (<usize>row << 2));
      if (group == NO_GROUP || !column.isValid(row)) continue;
      const at = this.records + group * this.plan.stride + layout.count;
      store<f64>(at, load<f64>(at) + 1);
    }
  }

  /**
   * The partial: version, stride; fields (families, name); keys; groups (key, window start); records; then for each
   * quantile field the bucket of every value with its group.
   */
  private write(batch: Batch): void {
    const plan = this.plan;
    const out = this.out;
    out.reset();
    out.u32(PARTIAL_VERSION);
    out.u32(plan.stride);
    out.u32(plan.fieldCount);
    for (let f: u32 = 0; f < plan.fieldCount; f++) {
      const name = plan.fieldName(f);
      out.u32(plan.layout(f).families);
      out.u32(name.length);
      out.append(name.pointer, name.length);
    }
    this.writeKeys(batch);
    out.u32(this.groupCount);
    for (let g: u32 = 0; g < this.groupCount; g++) {
      const group = changetype<LocalGroup>(this.groups + g * GROUP_SIZE);
      out.u32(group.key);
      out.u64(group.start);
    }
    out.append(this.records, this.groupCount * plan.stride);
    for (let f: u32 = 0; f < plan.fieldCount; f++) {
      if (plan.layout(f).families & QUANTILE) this.writeBuckets(batch, f);
    }
  }

  private writeKeys(batch: Batch): void {
    const out = this.out;
    const direct = this.directColumn(batch);
    if (changetype<usize>(direct) == 0) {
      out.u32(this.keys.count);
      for (let id: u32 = 0; id < this.keys.count; id++) {
        out.u32(this.keys.length(id));
        out.append(this.keys.pointer(id), this.keys.length(id));
      }
      return;
    }
    // The column's dictionary gives the same bytes as `writeKey` would.
    const dictionary = direct.dictionary;
    out.u32(dictionary.count);
    for (let id: u32 = 0; id < dictionary.count; id++) {
      const length = dictionary.length(id);
      out.u32(length + 6);
      out.u8(0);
      out.u8(5);
      out.u32(length);
      out.append(dictionary.pointer(id), length);
    }
  }

  private writeBuckets(batch: Batch, field: u32): void {
    const out = this.out;
    const at = out.length;
    out.u32(0);
    const name = this.plan.fieldName(field);
    const index = batch.indexOf(name.pointer, name.length);
    if (index < 0) return;
    const column = batch.column(index);
    if (column.type != ColumnType.Float && column.type != ColumnType.Int && column.type != ColumnType.Bool) return;
    let count: u32 = 0;
    for (let row: u32 = 0; row < batch.rows; row++) {
      const group = load<u32>(this.groupOfRow + (<usize>row << 2));
      if (group == NO_GROUP || !column.isValid(row)) continue;
      const cell = column.cell(row);
      const value =
        column.type == ColumnType.Float
          ? load<f64>(cell)
          : column.type == ColumnType.Int
            ? <f64>load<i64>(cell)
            : <f64>load<u8>(cell);
      out.u32(group);
      out.u32(keyOf(value));
      count++;
    }
    store<u32>(out.data + at, count);
  }

  /** Marks the rows of the windows and keys that `wanted` lists: (window start, key length, key bytes) each. */
  maskLate(batch: Batch, wanted: usize, count: u32, mask: usize): void {
    const plan = this.plan;
    const names = Dictionary.create();
    let at = wanted;
    for (let i: u32 = 0; i < count; i++) {
      const length = load<u32>(at, 8);
      this.scratch.reset();
      this.scratch.u64(load<u64>(at));
      this.scratch.append(at + 12, length);
      names.intern(this.scratch.data, this.scratch.length);
      at += 12 + length;
    }
    findKeyColumns(plan, batch, this.columns);
    for (let row: u32 = 0; row < batch.rows; row++) {
      store<u8>(mask + row, 0);
      if (load<u8>(batch.flags + row) & FLAG_CLOCK_SKEW) continue;
      this.scratch.reset();
      this.scratch.u64(plan.startOf(load<i64>(batch.times + (<usize>row << 3))));
      writeKey(this.scratch, plan, batch, this.columns, row);
      if (names.intern(this.scratch.data, this.scratch.length) < count) store<u8>(mask + row, 1);
    }
    names.dispose();
  }
}

function isKeyField(plan: Plan, column: Column): bool {
  for (let s: u32 = 0; s < plan.slotCount; s++) {
    const slot = plan.slot(s);
    for (let c: u32 = 0; c < slot.count; c++) {
      if (slot.candidate(c).equals(column.name, column.nameLength)) return true;
    }
  }
  return false;
}

@inline
export function hashGroup(key: u32, start: i64): u32 {
  const mixed = (<u64>start ^ (<u64>key * 0x9e3779b97f4a7c15)) * 0xe7037ed1a0b428db;
  return <u32>(mixed >> 32) ^ <u32>mixed;
}
