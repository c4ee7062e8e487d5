import { Layout, LAYOUT_SIZE, QUANTILE, Fn } from "../aggregate/accumulator";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { ByteCursor, readFrom } from "./cursor";
import { PARTIAL_VERSION } from "./local";
import { Group, GROUP_HEAD, Pane } from "./pane";
import { Plan, RECORD_HEAD } from "./plan";

/** Result kinds as numbers; their names are in `workers/core/window.ts`. */
const ON_TIME: u32 = 0;
const LATE: u32 = 1;
/** First word of a snapshot. */
const SNAPSHOT_VERSION: u32 = 1;
/** Dead keys are let go when they outnumber the living by this many. */
const KEY_SLACK: u32 = 65536;

/**
 * The window stage of a query with tumbling windows: merges partials, and knows watermark, firing, revisions and
 * lateness. Invariant: `panes` is sorted by start; every pane's end + lateness lies behind the last watermark.
 */
@unmanaged
export class Windows {
  plan: Plan;
  keys: Dictionary;
  panes: usize; // Pane[paneCapacity]
  paneCount: u32;
  paneCapacity: u32;
  groupCount: u32;
  out: ByteBuffer;
  late: ByteBuffer;
  lateCount: u32;
  rowCount: u32;
  fieldMap: usize; // u32[fields of a partial] → field here
  partialLayouts: usize; // Layout[fields of a partial]
  keyMap: ByteBuffer; // u32[keys of a partial] → key here
  groupMap: ByteBuffer; // Group[groups of a partial], 0 when refused

  static create(plan: Plan): Windows {
    const self = changetype<Windows>(heap.alloc(offsetof<Windows>()));
    self.plan = plan;
    self.keys = Dictionary.create();
    self.paneCapacity = 16;
    self.panes = heap.alloc(16 * sizeof<usize>());
    self.paneCount = 0;
    self.groupCount = 0;
    self.out = ByteBuffer.create(4096);
    self.late = ByteBuffer.create(256);
    self.lateCount = 0;
    self.rowCount = 0;
    self.fieldMap = heap.alloc(1024 << 2);
    self.partialLayouts = heap.alloc(1024 * LAYOUT_SIZE);
    self.keyMap = ByteBuffer.create(4096);
    self.groupMap = ByteBuffer.create(4096);
    return self;
  }

  dispose(): void {
    this.clear();
    this.plan.dispose();
    this.keys.dispose();
    heap.free(this.panes);
    this.out.dispose();
    this.late.dispose();
    heap.free(this.fieldMap);
    heap.free(this.partialLayouts);
    this.keyMap.dispose();
    this.groupMap.dispose();
    heap.free(changetype<usize>(this));
  }

  @inline pane(index: u32): Pane {
    return load<Pane>(this.panes + <usize>index * sizeof<usize>());
  }

  /** Saturates instead of wrapping around at the end of time. */
  @inline private closesAt(start: i64): i64 {
    const end = start + this.plan.sizeUs;
    const closes = end + this.plan.latenessUs;
    return closes < end ? i64.MAX_VALUE : closes;
  }

  /**
   * Merges a partial under a watermark. Groups whose window is closed are refused and listed in `late`:
   * (window start i64, key length u32, key bytes). @returns false when the partial has another version.
   */
  merge(partial: usize, watermark: i64): bool {
    this.late.reset();
    this.lateCount = 0;
    if (load<u32>(partial) != PARTIAL_VERSION) return false;
    const cursor = readFrom(partial + 4);
    const stride = cursor.u32();
    const fields = cursor.u32();
    let offset = RECORD_HEAD;
    for (let f: u32 = 0; f < fields; f++) {
      const families = cursor.u32();
      const length = cursor.u32();
      const name = cursor.take(length);
      offset = this.partialLayout(f).place(families, offset);
      store<u32>(this.fieldMap + (f << 2), this.adoptField(name, length, families));
    }
    const keyCount = cursor.u32();
    this.keyMap.reset();
    this.keyMap.reserve(keyCount << 3);
    for (let k: u32 = 0; k < keyCount; k++) {
      const length = cursor.u32();
      // The key's bytes are interned on first use: a partial may list keys that no group of it has.
      store<usize>(this.keyMap.data + (k << 3), cursor.take(length));
      store<u32>(this.keyMap.data + (k << 3), length, 4);
    }
    const groupCount = cursor.u32();
    const groups = cursor.take(groupCount * 12);
    const records = cursor.take(groupCount * stride);
    this.groupMap.reset();
    this.groupMap.reserve(groupCount * sizeof<usize>());
    let pane = changetype<Pane>(0);
    for (let g: u32 = 0; g < groupCount; g++) {
      const at = groups + g * 12;
      const start = load<i64>(at, 4);
      const key = this.keyMap.data + (load<u32>(at) << 3);
      const place = this.groupMap.data + g * sizeof<usize>();
      if (this.closesAt(start) <= watermark) {
        store<usize>(place, 0);
        this.listLate(start, load<usize>(key), load<u32>(key, 4));
        continue;
      }
      if (changetype<usize>(pane) == 0 || pane.start != start) pane = this.paneAt(start);
      const group = this.groupAt(pane, load<usize>(key), load<u32>(key, 4));
      store<Group>(place, group);
      this.mergeRecord(group, records + g * stride, fields);
      if (pane.isFired && !group.isDirty) {
        group.isDirty = 1;
        pane.dirty++;
      }
    }
    this.mergeBuckets(cursor.at, fields);
    return true;
  }

  @inline private partialLayout(index: u32): Layout {
    return changetype<Layout>(this.partialLayouts + index * LAYOUT_SIZE);
  }

  private adoptField(name: usize, length: u32, families: u32): u32 {
    const known = this.plan.fieldIndex(name, length);
    if (known >= 0) return known;
    const added = this.plan.addField(name, length, families);
    if (added < 0) return 0xffffffff;
    this.widenRecords();
    return added;
  }

  /** The record became longer: every group moves. Happens once for each new field of a wildcard. */
  private widenRecords(): void {
    const size = GROUP_HEAD + this.plan.stride;
    for (let p: u32 = 0; p < this.paneCount; p++) {
      const pane = this.pane(p);
      for (let i: u32 = 0; i < pane.count; i++) {
        const old = changetype<usize>(pane.group(i));
        const moved = heap.alloc(size);
        const last = this.plan.layout(this.plan.fieldCount - 1);
        const oldSize = GROUP_HEAD + last.count;
        memory.copy(moved, old, oldSize);
        memory.fill(moved + oldSize, 0, size - oldSize);
        heap.free(old);
        store<usize>(pane.groups + <usize>i * sizeof<usize>(), moved);
      }
    }
  }

  private mergeRecord(group: Group, from: usize, fields: u32): void {
    const record = group.record();
    store<f64>(record, load<f64>(record) + load<f64>(from));
    for (let f: u32 = 0; f < fields; f++) {
      const field = load<u32>(this.fieldMap + (f << 2));
      if (field != 0xffffffff) this.plan.layout(field).merge(record, from, this.partialLayout(f));
    }
  }

  private mergeBuckets(at: usize, fields: u32): void {
    for (let f: u32 = 0; f < fields; f++) {
      if (!(this.partialLayout(f).families & QUANTILE)) continue;
      const count = load<u32>(at);
      at += 4;
      const layout = this.plan.layout(load<u32>(this.fieldMap + (f << 2)));
      for (let i: u32 = 0; i < count; i++) {
        const group = load<Group>(this.groupMap.data + load<u32>(at) * sizeof<usize>());
        if (changetype<usize>(group) != 0) layout.sketchOf(group.record()).add(load<i32>(at, 4), 1);
        at += 8;
      }
    }
  }

  private listLate(start: i64, key: usize, length: u32): void {
    this.late.u64(start);
    this.late.u32(length);
    this.late.append(key, length);
    this.lateCount++;
  }

  /** The pane that starts there; made when it is new. Panes are few, so a binary search and a move will do. */
  private paneAt(start: i64): Pane {
    let from: u32 = 0;
    let to = this.paneCount;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.pane(middle).start < start) from = middle + 1;
      else to = middle;
    }
    if (from < this.paneCount && this.pane(from).start == start) return this.pane(from);
    if (this.paneCount == this.paneCapacity) {
      this.paneCapacity <<= 1;
      this.panes = heap.realloc(this.panes, <usize>this.paneCapacity * sizeof<usize>());
    }
    const place = this.panes + <usize>from * sizeof<usize>();
    memory.copy(place + sizeof<usize>(), place, <usize>(this.paneCount - from) * sizeof<usize>());
    const pane = Pane.create(start);
    store<Pane>(place, pane);
    this.paneCount++;
    return pane;
  }

  private groupAt(pane: Pane, keyBytes: usize, keyLength: u32): Group {
    const key = this.keys.intern(keyBytes, keyLength);
    const known = pane.find(key);
    if (changetype<usize>(known) != 0) return known;
    const group = changetype<Group>(heap.alloc(GROUP_HEAD + this.plan.stride));
    group.key = key;
    group.revision = -1;
    group.isDirty = 0;
    memory.fill(group.record(), 0, this.plan.stride);
    pane.add(group);
    this.groupCount++;
    return group;
  }

  /**
   * Writes to `out` what a watermark lets go: windows that it passed for the first time, revisions of fired ones.
   * Then drops the windows that are closed.
   */
  fire(watermark: i64): void {
    this.out.reset();
    this.rowCount = 0;
    let closed: u32 = 0;
    for (let p: u32 = 0; p < this.paneCount; p++) {
      const pane = this.pane(p);
      if (pane.start + this.plan.sizeUs > watermark) break;
      if (!pane.isFired) this.firePane(pane);
      else if (pane.dirty) this.revisePane(pane);
      if (this.closesAt(pane.start) <= watermark) closed = p + 1;
    }
    if (closed > 0) this.drop(closed);
  }

  private firePane(pane: Pane): void {
    pane.isFired = 1;
    for (let i: u32 = 0; i < pane.count; i++) this.emit(pane, pane.group(i), ON_TIME);
  }

  private revisePane(pane: Pane): void {
    pane.dirty = 0;
    for (let i: u32 = 0; i < pane.count; i++) {
      const group = pane.group(i);
      if (group.isDirty) this.emit(pane, group, LATE);
    }
  }

  /** A row: key u32, revision u32, kind u32, values u32, start i64, end i64, then f64 values, NaN for null. */
  private emit(pane: Pane, group: Group, kind: u32): void {
    group.revision++;
    group.isDirty = 0;
    const out = this.out;
    const plan = this.plan;
    const record = group.record();
    out.u32(group.key);
    out.u32(group.revision);
    out.u32(kind);
    out.u32(plan.isWildcard ? plan.wildcardSelections() : plan.selectionCount);
    out.u64(pane.start);
    out.u64(pane.start + plan.sizeUs);
    if (plan.isWildcard) {
      out.f64(load<f64>(record));
      for (let f: u32 = 0; f < plan.fieldCount; f++) {
        out.f64(plan.layout(f).result(record, Fn.Avg, 0));
        out.f64(plan.layout(f).result(record, Fn.Min, 0));
        out.f64(plan.layout(f).result(record, Fn.Max, 0));
      }
    } else {
      for (let s: u32 = 0; s < plan.selectionCount; s++) {
        const selected = plan.selection(s);
        const fn = selected.fn;
        const layout = plan.layout(selected.field);
        out.f64(fn == Fn.CountRows ? load<f64>(record) : layout.result(record, fn, selected.parameter));
      }
    }
    this.rowCount++;
  }

  private drop(count: u32): void {
    for (let p: u32 = 0; p < count; p++) this.freePane(this.pane(p));
    this.paneCount -= count;
    memory.copy(this.panes, this.panes + <usize>count * sizeof<usize>(), <usize>this.paneCount * sizeof<usize>());
  }

  /** Whether keys of closed windows outnumber those in use; a snapshot and restore lets them go. */
  @inline hasDeadKeys(): bool {
    return this.keys.count > (this.groupCount << 1) + KEY_SLACK;
  }

  private freePane(pane: Pane): void {
    for (let i: u32 = 0; i < pane.count; i++) this.freeGroup(pane.group(i));
    this.groupCount -= pane.count;
    pane.dispose();
  }

  private freeGroup(group: Group): void {
    for (let f: u32 = 0; f < this.plan.fieldCount; f++) {
      const layout = this.plan.layout(f);
      if (!(layout.families & QUANTILE)) continue;
      if (load<usize>(group.record() + layout.sketch) != 0) layout.sketchOf(group.record()).dispose();
    }
    heap.free(changetype<usize>(group));
  }

  /** Empties the state. */
  clear(): void {
    for (let p: u32 = 0; p < this.paneCount; p++) this.freePane(this.pane(p));
    this.paneCount = 0;
    this.keys.reset();
  }

  /** Writes the whole state to `out`: fields, then panes with their groups, keys and sketches. */
  snapshot(): void {
    const out = this.out;
    const plan = this.plan;
    out.reset();
    out.u32(SNAPSHOT_VERSION);
    out.u32(plan.fieldCount);
    for (let f: u32 = 0; f < plan.fieldCount; f++) {
      out.u32(plan.layout(f).families);
      out.u32(plan.fieldName(f).length);
      out.append(plan.fieldName(f).pointer, plan.fieldName(f).length);
    }
    out.u32(this.paneCount);
    for (let p: u32 = 0; p < this.paneCount; p++) {
      const pane = this.pane(p);
      out.u64(pane.start);
      out.u32(pane.isFired);
      out.u32(pane.count);
      for (let i: u32 = 0; i < pane.count; i++) this.saveGroup(pane.group(i));
    }
  }

  private saveGroup(group: Group): void {
    const out = this.out;
    const length = this.keys.length(group.key);
    out.u32(length);
    out.append(this.keys.pointer(group.key), length);
    out.u32(group.revision);
    out.append(group.record(), this.plan.stride);
    for (let f: u32 = 0; f < this.plan.fieldCount; f++) {
      const layout = this.plan.layout(f);
      if (!(layout.families & QUANTILE)) continue;
      if (load<usize>(group.record() + layout.sketch) == 0) {
        out.u32(0);
        continue;
      }
      const sketch = layout.sketchOf(group.record());
      out.u32(sketch.count);
      for (let b: u32 = 0; b < sketch.count; b++) {
        out.u32(sketch.keyAt(b));
        out.u32(sketch.countAt(b));
      }
    }
  }

  /** Puts a snapshot in the place of the state. @returns false when it has another version. */
  restore(at: usize): bool {
    if (load<u32>(at) != SNAPSHOT_VERSION) return false;
    this.clear();
    const cursor = readFrom(at + 4);
    const fields = cursor.u32();
    for (let f: u32 = 0; f < fields; f++) {
      const families = cursor.u32();
      const length = cursor.u32();
      this.adoptField(cursor.take(length), length, families);
    }
    const panes = cursor.u32();
    for (let p: u32 = 0; p < panes; p++) {
      const pane = this.paneAt(cursor.i64());
      pane.isFired = cursor.u32();
      const groups = cursor.u32();
      for (let g: u32 = 0; g < groups; g++) this.loadGroup(pane, cursor);
    }
    return true;
  }

  private loadGroup(pane: Pane, cursor: ByteCursor): void {
    const length = cursor.u32();
    const group = this.groupAt(pane, cursor.take(length), length);
    group.revision = cursor.u32();
    memory.copy(group.record(), cursor.take(this.plan.stride), this.plan.stride);
    for (let f: u32 = 0; f < this.plan.fieldCount; f++) {
      const layout = this.plan.layout(f);
      if (!(layout.families & QUANTILE)) continue;
      store<usize>(group.record() + layout.sketch, 0);
      const buckets = cursor.u32();
      for (let b: u32 = 0; b < buckets; b++) {
        const key = cursor.u32();
        layout.sketchOf(group.record()).add(key, cursor.u32());
      }
    }
  }
}
