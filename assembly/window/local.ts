import { addRun, addRunTo } from "../aggregate/run";
import { Layout, MORE, OTHERS, QUANTILE, TIMED } from "../aggregate/layout";
import { moreReset } from "../aggregate/more";
import { sketchReset } from "../aggregate/sketch";
import { Batch, Column, ColumnType } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary, NOT_INTERNED } from "../memory/dictionary";
import { MAX_RAW_VALUES, writeRaw, writeState } from "../state/field-state";
import { Grouping, NO_GROUP } from "./grouping";
import { countByRow, writeByRow } from "./by-row";
import { GROUP_ENTRY_BYTES, PARTIAL_VERSION } from "./partial";
import { Plan, WILDCARD_FAMILIES } from "./plan";
import { addTypedRows, typedFamilies } from "./typed-rows";

/** A field's column as numbers: what the loops over rows read. */
@unmanaged
export class Source {
  /** f64 by row, or 0 when the column has no numbers. */
  values: usize;
  /** u8 by row; 0 when every row has a finite number. */
  valid: usize;
  /** u8 by row: rows that count but have no number; 0 when there are none. */
  others: usize;
  /** Memory for what had to be converted, or 0. */
  owned: usize;
  /** The families that take the column's values as they are, see `typed-rows.ts`; and the column. */
  typed: u32;
  column: Column;
  /** Whether every row has a number without a time: `PLAIN`, or `COUNTED` when it is enough to know that; else 0. */
  isPlain: u32;
}

export const PLAIN: u32 = 1;
export const COUNTED: u32 = 2;

const SOURCE_SIZE: u32 = offsetof<Source>();

/**
 * The local stage: aggregates a batch by (window, key) into a partial. Knows nothing of watermarks. Rows are sorted by
 * group; a group's values of a field are then gathered and taken in at once, or, when they are few, passed on as they are.
 */
@unmanaged
export class Local {
  plan: Plan;
  grouping: Grouping;
  sources: ByteBuffer; // Source by field
  values: ByteBuffer; // f64: one group's values of one field
  times: ByteBuffer; // i64: theirs
  record: ByteBuffer;
  out: ByteBuffer;

  static create(plan: Plan): Local {
    const self = changetype<Local>(heap.alloc(offsetof<Local>()));
    self.plan = plan;
    self.grouping = Grouping.create(plan);
    self.sources = ByteBuffer.create(256);
    self.values = ByteBuffer.create(4096);
    self.times = ByteBuffer.create(4096);
    self.record = ByteBuffer.create(1024);
    self.out = ByteBuffer.create(4096);
    self.clearRecord();
    return self;
  }

  dispose(): void {
    for (let f: u32 = 0; f < this.plan.fieldCount; f++) this.plan.layout(f).release(this.record.data);
    this.grouping.dispose();
    this.plan.dispose();
    this.sources.dispose();
    this.values.dispose();
    this.times.dispose();
    this.record.dispose();
    this.out.dispose();
    heap.free(changetype<usize>(this));
  }

  /** Aggregates a sealed batch; `out` then holds the partial. */
  aggregate(batch: Batch): void {
    this.number(batch);
    const isByRow = countByRow(this);
    if (!isByRow) this.sort(batch);
    const out = this.out;
    out.reset();
    out.u32(PARTIAL_VERSION);
    this.writeFields();
    this.writeKnownKeys();
    if (isByRow) writeByRow(this, batch);
    else this.writeWindows(batch);
    this.finish();
  }

  /** Groups a batch's rows and makes its columns ready, until `finish`. */
  number(batch: Batch): void {
    if (this.plan.isWildcard) this.adoptFields(batch);
    this.grouping.number(batch);
    this.prepareSources(batch);
  }

  /** Makes the groups' rows ready for `writeField`. */
  sort(batch: Batch): void {
    this.grouping.sort(batch.rows);
    this.values.reserve(batch.rows << 3);
    this.times.reserve(batch.rows << 3);
  }

  @inline source(field: u32): Source {
    return changetype<Source>(this.sources.data + field * SOURCE_SIZE);
  }

  /** Frees what `number` has converted. */
  finish(): void {
    for (let f: u32 = 0; f < this.plan.fieldCount; f++) {
      const owned = changetype<Source>(this.sources.data + f * SOURCE_SIZE).owned;
      if (owned != 0) heap.free(owned);
    }
  }

  /** A wildcard takes in every numeric column that is no key. */
  private adoptFields(batch: Batch): void {
    const plan = this.plan;
    const known = plan.fieldCount;
    for (let i: u32 = 0; i < batch.columnCount; i++) {
      const column = batch.column(i);
      if (column.type != ColumnType.Int && column.type != ColumnType.Float) continue;
      if (plan.fieldIndex(column.name, column.nameLength) >= 0 || plan.isKey(column)) continue;
      plan.addField(column.name, column.nameLength, WILDCARD_FAMILIES);
    }
    if (plan.fieldCount != known) this.clearRecord();
  }

  /** Makes the scratch record an empty one, after the plan has got fields. */
  private clearRecord(): void {
    const plan = this.plan;
    this.record.reserve(plan.stride);
    for (let f: u32 = 0; f < plan.fieldCount; f++) plan.layout(f).clear(this.record.data);
  }

  private writeFields(): void {
    const plan = this.plan;
    const out = this.out;
    out.u32(plan.fieldCount);
    for (let f: u32 = 0; f < plan.fieldCount; f++) {
      const name = plan.field(f).name;
      out.u32(plan.layout(f).families);
      out.u32(name.length);
      out.append(name.pointer, name.length);
    }
  }

  /** The keys, with their texts where these stay what they are from batch to batch. */
  writeKnownKeys(): void {
    const out = this.out;
    const grouping = this.grouping;
    const isKept = grouping.isListed != 0 && grouping.listed.kept != 0;
    const count = grouping.keyCount;
    out.u64(isKept ? grouping.listed.identity : 0);
    out.u32(count);
    const lengthAt = out.length;
    out.u32(0);
    if (isKept) out.append(grouping.texts.data, count << 2);
    const keysAt = out.length;
    for (let key: u32 = 0; key < count; key++) grouping.writeKey(out, key);
    store<u32>(out.data + lengthAt, out.length - keysAt);
  }

  /** Groups were numbered as they appeared: those of one window are found by going over all when there are several. */
  private writeWindows(batch: Batch): void {
    const out = this.out;
    const grouping = this.grouping;
    const count = grouping.panes.count;
    out.u32(count);
    if (count == 0) return;
    const members = this.sortByPane();
    let from: u32 = 0;
    for (let pane: u32 = 0; pane < count; pane++) {
      let to = from;
      while (to < grouping.groupCount && grouping.group(load<u32>(members + (to << 2))).pane == pane) to++;
      out.u64(grouping.paneStart(pane));
      out.u32(to - from);
      const lengthAt = out.length;
      out.u32(0);
      out.u32(0);
      let entry = out.reserve((to - from) * GROUP_ENTRY_BYTES);
      out.length += (to - from) * GROUP_ENTRY_BYTES;
      for (let i = from; i < to; i++, entry += GROUP_ENTRY_BYTES) {
        const group = grouping.group(load<u32>(members + (i << 2)));
        store<u32>(entry, group.key);
        store<u32>(entry, group.rows, 4);
      }
      const statesAt = out.length;
      for (let i = from; i < to; i++) {
        const group = grouping.group(load<u32>(members + (i << 2)));
        const rows = grouping.order.data + (<usize>(group.end - group.rows) << 2);
        for (let f: u32 = 0; f < this.plan.fieldCount; f++) this.writeField(batch, f, rows, group.rows);
      }
      store<u32>(out.data + lengthAt, out.length - statesAt);
      from = to;
    }
  }

  /** Group numbers by window (a counting sort): u32 each. The row numbers' buffer `groupOfRow` is free by now. */
  private sortByPane(): usize {
    const grouping = this.grouping;
    const count = grouping.groupCount;
    const panes = grouping.panes.count;
    const members = grouping.groupOfRow.data;
    if (panes == 1) {
      for (let g: u32 = 0; g < count; g++) store<u32>(members + (g << 2), g);
      return members;
    }
    const ends = this.values.reserve(panes << 2);
    memory.fill(ends, 0, panes << 2);
    for (let g: u32 = 0; g < count; g++) {
      const place = ends + (grouping.group(g).pane << 2);
      store<u32>(place, load<u32>(place) + 1);
    }
    let sum: u32 = 0;
    for (let pane: u32 = 0; pane < panes; pane++) {
      const place = ends + (pane << 2);
      const members = load<u32>(place);
      store<u32>(place, sum);
      sum += members;
    }
    for (let g: u32 = 0; g < count; g++) {
      const place = ends + (grouping.group(g).pane << 2);
      const at = load<u32>(place);
      store<u32>(members + (at << 2), g);
      store<u32>(place, at + 1);
    }
    return members;
  }

  /** Writes the state of a field over some rows: their numbers, u32 each, stand at `rows`. */
  writeField(batch: Batch, field: u32, rows: usize, rowCount: u32): void {
    const layout = this.plan.layout(field);
    const source = changetype<Source>(this.sources.data + field * SOURCE_SIZE);
    if (source.isPlain == PLAIN && rowCount <= MAX_RAW_VALUES) {
      writeFew(this.out, source.values, rows, rowCount);
      return;
    }
    const values = this.values.data;
    const times = this.times.data;
    let n: u32 = 0;
    if (source.values != 0) {
      n = gather(source, rows, rowCount, values);
      if (layout.families & TIMED) gatherTimes(source, batch.times, rows, rowCount, times);
    }
    const others = source.others != 0 ? countOthers(source.others, rows, rowCount) : 0;
    const typed = source.typed;
    if ((others | typed) == 0 && (n == 0 || (n <= MAX_RAW_VALUES && layout.families & ~OTHERS))) {
      writeRaw(this.out, layout, values, times, n);
      return;
    }
    const record = this.record.data;
    if (typed == 0) addRun(layout, record, values, times, n);
    else {
      addRunTo(layout.families & ~typed, layout, record, values, times, n);
      addTypedRows(layout, record, source.column, batch.times, rows, rowCount);
    }
    if (layout.families & OTHERS) store<u64>(record + layout.others, others);
    writeState(this.out, layout, record);
    this.emptyField(layout, record);
  }

  /** Empties the scratch record's field; the memory of what stands outside it is kept. */
  private emptyField(layout: Layout, record: usize): void {
    const more = layout.families & MORE ? load<u32>(record + layout.more) : 0;
    if (layout.families & MORE) store<u32>(record + layout.more, 0);
    const sketch = layout.families & QUANTILE ? load<u32>(record + layout.sketch) : 0;
    if (layout.families & QUANTILE) store<u32>(record + layout.sketch, 0);
    layout.release(record);
    layout.clear(record);
    if (more != 0) {
      moreReset(more);
      store<u32>(record + layout.more, more);
    }
    if (sketch == 0) return;
    sketchReset(sketch);
    store<u32>(record + layout.sketch, sketch);
  }

  /** Makes every field's column numbers: floats as they stand when all are finite, else a converted copy. */
  private prepareSources(batch: Batch): void {
    const plan = this.plan;
    this.sources.reserve(plan.fieldCount * SOURCE_SIZE);
    for (let f: u32 = 0; f < plan.fieldCount; f++) {
      const source = changetype<Source>(this.sources.data + f * SOURCE_SIZE);
      source.values = 0;
      source.valid = 0;
      source.others = 0;
      source.owned = 0;
      source.typed = 0;
      source.isPlain = 0;
      const column = plan.field(f).columnOf(batch);
      if (changetype<usize>(column) == 0) continue;
      source.column = column;
      if (plan.layout(f).families & MORE) source.typed = typedFamilies(plan.layout(f), column, batch.rows);
      const families = plan.layout(f).families;
      this.prepareSource(source, column, batch.rows, (families & OTHERS) != 0);
      const isWhole = source.values != 0 && (source.valid | source.others) == 0;
      if (isWhole && (source.typed | (families & TIMED)) == 0) source.isPlain = families & ~OTHERS ? PLAIN : COUNTED;
    }
  }

  private prepareSource(source: Source, column: Column, rows: u32, countsOthers: bool): void {
    switch (column.type) {
      case ColumnType.Int:
        this.convert<i64>(source, column, rows);
        break;
      case ColumnType.Bool:
        this.convert<u8>(source, column, rows);
        break;
      case ColumnType.Float:
        this.convertFloats(source, column, rows, countsOthers);
        return;
      case ColumnType.Text:
        if (countsOthers) source.others = column.valid;
        return;
      default:
        return;
    }
    if (column.nulls != 0) source.valid = column.valid;
  }

  private convert<T>(source: Source, column: Column, rows: u32): void {
    const at = heap.alloc((<usize>rows << 3) + 1);
    source.owned = at;
    const cells = column.cells;
    for (let row: u32 = 0; row < rows; row++) {
      store<f64>(at + (<usize>row << 3), <f64>load<T>(cells + (<usize>row << 3)));
    }
    source.values = at;
  }

  /** Infinities and NaNs are no numbers to aggregate; −0 becomes 0. Neither comes from JSON. */
  private convertFloats(source: Source, column: Column, rows: u32, countsOthers: bool): void {
    const cells = column.cells;
    source.values = cells;
    if (column.nulls != 0) source.valid = column.valid;
    let isOdd = f64x2.splat(0);
    const end = cells + (<usize>(rows & ~1) << 3);
    for (let at = cells; at < end; at += 16) {
      const x = v128.load(at);
      isOdd = v128.or(isOdd, v128.or(f64x2.ne(f64x2.sub(x, x), f64x2.splat(0)), i64x2.eq(x, f64x2.splat(-0.0))));
    }
    const last = rows & 1 ? load<f64>(end) : 0;
    if (!v128.any_true(isOdd) && last - last == 0 && reinterpret<u64>(last) != 0x8000000000000000) return;
    const values = heap.alloc(<usize>rows * 10);
    const valid = values + (<usize>rows << 3);
    const others = valid + rows;
    source.owned = values;
    for (let row: u32 = 0; row < rows; row++) {
      const x = load<f64>(cells + (<usize>row << 3)) + 0;
      const isThere = load<u8>(column.valid + row) != 0;
      store<f64>(values + (<usize>row << 3), x);
      store<u8>(valid + row, isThere && x - x == 0 ? 1 : 0);
      store<u8>(others + row, isThere && x - x != 0 ? 1 : 0);
    }
    source.values = values;
    source.valid = valid;
    if (countsOthers) source.others = others;
  }

  /** Marks the rows of the windows and keys that `wanted` lists, see `Windows.merge`: u8 by row at `mask`. */
  maskLate(batch: Batch, wanted: usize, length: u32, mask: usize): void {
    const grouping = this.grouping;
    const names = Dictionary.create();
    const name = grouping.scratch;
    const end = wanted + length;
    for (let at = wanted; at + 12 <= end; ) {
      const keyLength = load<u32>(at, 8);
      if (<usize>keyLength > end - at - 12) break;
      name.reset();
      name.append(at, 12 + keyLength);
      names.intern(name.data, name.length);
      at += 12 + keyLength;
    }
    grouping.number(batch);
    memory.fill(mask, 0, batch.rows);
    for (let row: u32 = 0; row < batch.rows; row++) {
      const g = load<u32>(grouping.groupOfRow.data + (<usize>row << 2));
      if (g == NO_GROUP) continue;
      const group = grouping.group(g);
      // Asked once a group; `end` keeps the answer.
      if (group.rows != 0) {
        group.rows = 0;
        name.reset();
        name.u64(grouping.paneStart(group.pane));
        grouping.writeKey(name, group.key);
        group.end = names.find(name.data, name.length) == NOT_INTERNED ? 0 : 1;
      }
      store<u8>(mask + row, <u8>group.end);
    }
    names.dispose();
  }
}

/** As `writeRaw`, straight from the column. */
@inline
function writeFew(out: ByteBuffer, values: usize, rows: usize, rowCount: u32): void {
  const at = out.reserve(1 + (rowCount << 3));
  store<u8>(at, <u8>rowCount);
  for (let i: u32 = 0; i < rowCount; i++) {
    const row = load<u32>(rows + (<usize>i << 2));
    store<f64>(at + (<usize>i << 3), load<f64>(values + (<usize>row << 3)), 1);
  }
  out.length += 1 + (rowCount << 3);
}

/** Copies the rows' numbers to `to`, without those that are missing; returns how many there are. */
@inline
function gather(source: Source, rows: usize, rowCount: u32, to: usize): u32 {
  const values = source.values;
  const valid = source.valid;
  if (valid == 0) {
    for (let i: u32 = 0; i < rowCount; i++) {
      const row = load<u32>(rows + (<usize>i << 2));
      store<f64>(to + (<usize>i << 3), load<f64>(values + (<usize>row << 3)));
    }
    return rowCount;
  }
  let n: u32 = 0;
  for (let i: u32 = 0; i < rowCount; i++) {
    const row = load<u32>(rows + (<usize>i << 2));
    store<f64>(to + (<usize>n << 3), load<f64>(values + (<usize>row << 3)));
    n += load<u8>(valid + row) != 0 ? 1 : 0;
  }
  return n;
}

function gatherTimes(source: Source, from: usize, rows: usize, rowCount: u32, to: usize): void {
  let n: u32 = 0;
  for (let i: u32 = 0; i < rowCount; i++) {
    const row = load<u32>(rows + (<usize>i << 2));
    store<i64>(to + (<usize>n << 3), load<i64>(from + (<usize>row << 3)));
    n += source.valid == 0 || load<u8>(source.valid + row) != 0 ? 1 : 0;
  }
}

function countOthers(others: usize, rows: usize, rowCount: u32): u64 {
  let n: u64 = 0;
  for (let i: u32 = 0; i < rowCount; i++) n += load<u8>(others + load<u32>(rows + (<usize>i << 2))) != 0 ? 1 : 0;
  return n;
}
