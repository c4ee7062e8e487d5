import { outsideBytes } from "../aggregate/memory";
import { ByteBuffer } from "../memory/bytes";
import { Capture } from "../state/capture";
import { mergeState } from "../state/field-state";
import { abandon, Adoption } from "../state/pane-adopt";
import { saveAll, touch } from "../state/pane-capture";
import { sliceClosingTime } from "./axis";
import { UNCOVERED } from "./calendar";
import { KeyTable } from "./key-table";
import { Pane } from "./pane";
import { PaneList } from "./pane-list";
import { columnEnd, mergeColumnFrom } from "./merge-rows";
import { entryBytes, entryRows, GROUP_ENTRY_BYTES, PANE_HEAD_BYTES, PARTIAL_VERSION, ROW_ENTRY_BYTES } from "./partial";
import { keysEnd, PartialKeys } from "./partial-keys";
import { Plan } from "./plan";
import { RecordHead } from "./record";
import { Sliding } from "./sliding";
import { UNKNOWN_KEY } from "./text-keys";

/** What `merge` gives for bytes that it cannot read. */
export const MERGE_REFUSED: i32 = -1;
/** Rows whose records are found and changed together: few enough that these stay in the nearest cache meanwhile. */
const BLOCK_ROWS: u32 = 128;
/** Pages of a calendar that are kept though no slice may need them any more. */
const MAX_SPARE_PAGES: u32 = 32;

/**
 * The window stage of one query: merges partials, and knows which windows are open.
 *
 * Invariant: `panes` has one for each slice that has events and is in a window that is not closed; `keys` counts, for
 * every key, in how many panes it is.
 */
@unmanaged
export class Windows {
  plan: Plan;
  keys: KeyTable;
  panes: PaneList;
  /** What windows of several slices need; null when a window is a slice. */
  sliding: Sliding;
  /** The watermark that windows were fired under last. */
  firedUs: i64;
  /** The panes before have nothing more to give in the firing at hand; 0 between firings. */
  fireFrom: u32;
  groupCount: u32;
  /** The bytes to merge or restore: the host writes them here. */
  input: ByteBuffer;
  out: ByteBuffer;
  /** Groups that the last merge refused: window start i64, key length u32, key bytes. */
  late: ByteBuffer;
  lateRows: u64;
  /** Where the search for times that the calendar does not cover stands in `input`, and for how many slices it goes on. */
  searchAt: usize;
  searchLeft: u32;
  partialKeys: PartialKeys;
  fieldMap: ByteBuffer; // u32: the plan's field by the partial's
  found: ByteBuffer; // u32: record by group of the window at hand; its address once columns are merged
  /** What was read of records to have them at hand; of no meaning. */
  fetched: u32;
  /** What the records hold outside themselves. */
  extraBytes: i64;
  capture: Capture;
  /** While captures take the place of the state, else null. */
  adopting: Adoption;
  /** The number that the next slice or note gets. */
  nextPane: u32;

  static create(plan: Plan): Windows {
    const self = changetype<Windows>(heap.alloc(offsetof<Windows>()));
    self.plan = plan;
    self.keys = KeyTable.create();
    self.panes = PaneList.create();
    self.firedUs = i64.MIN_VALUE;
    self.fireFrom = 0;
    self.groupCount = 0;
    self.input = ByteBuffer.create(4096);
    self.out = ByteBuffer.create(4096);
    self.late = ByteBuffer.create(256);
    self.lateRows = 0;
    self.searchAt = 0;
    self.searchLeft = 0;
    self.partialKeys = PartialKeys.create(self.keys);
    self.fieldMap = ByteBuffer.create(256);
    self.found = ByteBuffer.create(4096);
    self.fetched = 0;
    self.extraBytes = 0;
    self.capture = Capture.create();
    self.adopting = changetype<Adoption>(0);
    self.nextPane = 1;
    self.sliding = plan.axis.width > 1 ? Sliding.create(self) : changetype<Sliding>(0);
    return self;
  }

  dispose(): void {
    this.clear();
    abandon(this);
    if (this.isSliding) this.sliding.dispose();
    this.keys.dispose();
    this.panes.dispose(this.plan);
    this.input.dispose();
    this.out.dispose();
    this.late.dispose();
    this.partialKeys.dispose();
    this.fieldMap.dispose();
    this.found.dispose();
    this.capture.dispose();
    this.plan.dispose();
    heap.free(changetype<usize>(this));
  }

  /** Forgets all windows and keys, and ends a capture. */
  clear(): void {
    this.capture.end(false);
    if (this.isSliding) this.sliding.clear();
    this.panes.clear(this.plan);
    this.firedUs = i64.MIN_VALUE;
    this.fireFrom = 0;
    this.groupCount = 0;
    this.extraBytes = 0;
    this.keys.clear();
  }

  @inline pane(index: u32): Pane {
    return this.panes.at(index);
  }

  @inline get paneCount(): u32 {
    return this.panes.count;
  }

  @inline get isSliding(): bool {
    return changetype<usize>(this.sliding) != 0;
  }

  /**
   * Merges the partial in `input` (see partial.ts) under a watermark. Groups whose window is closed are refused and
   * listed in `late`. Returns how many, or `MERGE_REFUSED` when the partial is of another version.
   */
  merge(watermarkUs: i64): i32 {
    const before = outsideBytes;
    const late = this.mergeInput(watermarkUs);
    this.extraBytes += outsideBytes - before;
    return late;
  }

  private mergeInput(watermarkUs: i64): i32 {
    this.late.reset();
    this.lateRows = 0;
    this.fireFrom = 0;
    let at = this.input.data;
    if (this.input.length < 4 || load<u32>(at) != PARTIAL_VERSION) return MERGE_REFUSED;
    const fieldCount = load<u32>(at, 4);
    at = this.readFields(at + 8, fieldCount);
    at = this.partialKeys.read(at);
    const windowCount = load<u32>(at);
    at += 4;
    const axis = this.plan.axis;
    // Windows that ended before there was any event have been passed.
    if (this.isSliding && this.paneCount == 0) this.firedUs = max(this.firedUs, watermarkUs);
    let lateCount: u32 = 0;
    for (let w: u32 = 0; w < windowCount; w++) {
      const start = load<i64>(at);
      const groupCount = load<u32>(at, 8);
      const stateLength = load<u32>(at, 12);
      const isByRow = load<u32>(at, 16) != 0;
      const groups = at + PANE_HEAD_BYTES;
      const states = groups + <usize>groupCount * entryBytes(isByRow);
      const slice = axis.sliceOf(start);
      if (sliceClosingTime(this.plan, slice) <= watermarkUs) {
        this.refuse(start, groups, groupCount, isByRow);
        lateCount += groupCount;
      } else {
        if (this.isSliding) this.sliding.note(slice, groups, groupCount, entryBytes(isByRow), watermarkUs);
        const pane = this.paneAt(slice, watermarkUs);
        if (isByRow) this.mergeRows(pane, groups, states, groupCount, fieldCount);
        else {
          this.findRecords(pane, groups, groupCount);
          this.mergeStates(pane, states, groupCount, fieldCount);
        }
        if (this.isSliding) this.mergeIntoNodes(slice, groups, states, groupCount, fieldCount, isByRow);
      }
      at = states + stateLength;
    }
    return lateCount;
  }

  private readFields(at: usize, count: u32): usize {
    this.fieldMap.reset();
    for (let f: u32 = 0; f < count; f++) {
      const families = load<u32>(at);
      const length = load<u32>(at, 4);
      this.fieldMap.u32(this.adoptField(at + 8, length, families));
      at += 8 + length;
    }
    return at;
  }

  /** The field's number; a wildcard's new field lengthens every record. */
  adoptField(name: usize, length: u32, families: u32): u32 {
    const known = this.plan.fieldIndex(name, length);
    if (known >= 0) return known;
    const added = this.plan.addField(name, length, families);
    for (let p: u32 = 0; p < this.paneCount; p++) this.pane(p).widen(this.plan, added);
    if (this.isSliding) this.sliding.forgetDerived();
    return added;
  }

  /** The number of the key of a partial's group. */
  @inline keyOfEntry(entry: usize): u32 {
    return this.partialKeys.numberOf(load<u32>(entry));
  }

  private refuse(start: i64, groups: usize, count: u32, isByRow: bool): void {
    for (let g: u32 = 0; g < count; g++) {
      const entry = groups + <usize>g * entryBytes(isByRow);
      const key = this.partialKeys.placeOf(load<u32>(entry));
      this.late.u64(start);
      this.late.append(key, 4 + load<u32>(key));
      this.lateRows += entryRows(entry, isByRow);
    }
  }

  /** Finds or makes every group's record; first all of them, so that their cache misses overlap. */
  private findRecords(pane: Pane, groups: usize, count: u32): void {
    this.found.reset();
    const found = this.found.reserve(count << 2);
    const known = pane.count;
    const changed = this.capture.changed;
    const isNoting = !this.isSliding && (pane.isPassed != 0 || this.plan.earlyUs != 0);
    for (let g: u32 = 0; g < count; g++) {
      const entry = groups + g * GROUP_ENTRY_BYTES;
      const key = this.keyOfEntry(entry);
      const before = pane.count;
      const index = pane.recordOf(key, this.plan);
      if (pane.count != before) this.keys.retain(key);
      const head = pane.head(index);
      if (head.mark != changed) touch(this, pane, head);
      head.rows += load<u32>(entry, 4);
      if (isNoting && !head.isDirty) {
        head.isDirty = 1;
        pane.dirty++;
      }
      store<u32>(found + (g << 2), index);
    }
    this.groupCount += pane.count - known;
  }

  private mergeRows(pane: Pane, groups: usize, columns: usize, count: u32, fieldCount: u32): void {
    for (let from: u32 = 0; from < count; from += BLOCK_ROWS) {
      const rows = min(count - from, BLOCK_ROWS);
      this.findRows(pane, groups + <usize>from * ROW_ENTRY_BYTES, rows);
      this.mergeColumns(columns, from, rows, count, fieldCount);
    }
  }

  /**
   * Finds or makes the records of rows and counts these in them; their addresses are in `found`. Both ends of a record are
   * read here, so that those of a block come from memory all at once.
   */
  private findRows(pane: Pane, entries: usize, count: u32): void {
    this.found.reset();
    const found = this.found.reserve(count << 2);
    const numbers = this.partialKeys.numbers.data;
    const known = pane.count;
    const changed = this.capture.changed;
    const isNoting = !this.isSliding && (pane.isPassed != 0 || this.plan.earlyUs != 0);
    const last = <usize>pane.stride - 4;
    let fetched: u32 = 0;
    for (let i: u32 = 0; i < count; i++) {
      const entry = load<u32>(entries + <usize>i * ROW_ENTRY_BYTES);
      let key = load<u32>(numbers + (<usize>entry << 2));
      if (key == UNKNOWN_KEY) key = this.partialKeys.find(entry);
      let record = pane.guess(key);
      if (record == 0 || changetype<RecordHead>(record).key != key) record = this.makeRow(pane, key, found, i);
      const head = changetype<RecordHead>(record);
      fetched ^= load<u32>(record + last);
      if (head.mark != changed) touch(this, pane, head);
      head.rows++;
      if (isNoting && !head.isDirty) {
        head.isDirty = 1;
        pane.dirty++;
      }
      store<u32>(found + (<usize>i << 2), <u32>record);
    }
    this.fetched = fetched;
    this.groupCount += pane.count - known;
  }

  /** The record of a key that is new, or not where one looks first. Those found so far may have moved with it. */
  private makeRow(pane: Pane, key: u32, found: usize, count: u32): usize {
    const before = pane.count;
    const first = pane.record(0);
    const index = pane.recordOf(key, this.plan);
    if (pane.count != before) this.keys.retain(key);
    const moved = <u32>(pane.record(0) - first);
    if (moved != 0) {
      for (let i: u32 = 0; i < count; i++) {
        const place = found + (<usize>i << 2);
        store<u32>(place, load<u32>(place) + moved);
      }
    }
    return pane.record(index);
  }

  /** Takes in `rows` of `count` rows, from number `from` on, whose records are found. */
  private mergeColumns(at: usize, from: u32, rows: u32, count: u32, fieldCount: u32): void {
    const map = this.fieldMap.data;
    const found = this.found.data;
    for (let f: u32 = 0; f < fieldCount; f++) {
      mergeColumnFrom(this.plan.layout(load<u32>(map + (f << 2))), found, 0, from, rows, at);
      at = columnEnd(at, count);
    }
  }

  /** Makes the numbers of records in `found` addresses. */
  private placeRecords(pane: Pane, count: u32): void {
    const found = this.found.data;
    for (let i: u32 = 0; i < count; i++) {
      const place = found + (<usize>i << 2);
      store<u32>(place, <u32>pane.record(load<u32>(place)));
    }
  }

  private mergeStates(pane: Pane, at: usize, groupCount: u32, fieldCount: u32): void {
    const map = this.fieldMap.data;
    const found = this.found.data;
    for (let g: u32 = 0; g < groupCount; g++) {
      const record = pane.record(load<u32>(found + (g << 2)));
      for (let f: u32 = 0; f < fieldCount; f++) {
        at = mergeState(this.plan.layout(load<u32>(map + (f << 2))), record, at);
      }
    }
  }

  /** Tells what has been made of the slice too: nodes take the groups in, the roll works them out again. */
  private mergeIntoNodes(
    slice: i64,
    groups: usize,
    states: usize,
    count: u32,
    fieldCount: u32,
    isByRow: bool,
  ): void {
    const cover = this.sliding.cover;
    const roll = this.sliding.roll;
    const stride = entryBytes(isByRow);
    if (roll.holds(slice)) {
      for (let g: u32 = 0; g < count; g++) roll.markStale(this.keyOfEntry(groups + <usize>g * stride));
    }
    this.found.reset();
    this.found.reserve(count << 2);
    for (let level: u32 = 1; level < cover.height; level++) {
      const node = cover.nodeOf(level, slice);
      if (changetype<usize>(node) == 0) continue;
      for (let g: u32 = 0; g < count; g++) {
        const entry = groups + <usize>g * stride;
        const index = node.recordOf(this.keyOfEntry(entry), this.plan);
        node.head(index).rows += entryRows(entry, isByRow);
        store<u32>(this.found.data + (g << 2), index);
      }
      if (isByRow) this.placeRecords(node, count);
      if (isByRow) this.mergeColumns(states, 0, count, count, fieldCount);
      else this.mergeStates(node, states, count, fieldCount);
    }
  }

  /** The pane of a slice; a new one is late from the start when the watermark has passed its end. */
  paneAt(slice: i64, watermarkUs: i64): Pane {
    const index = this.panes.seek(slice);
    if (index < this.paneCount && this.pane(index).number == slice) return this.pane(index);
    const axis = this.plan.axis;
    const pane = Pane.create(slice, axis.sliceStart(slice), axis.sliceStart(slice + 1), this.plan.stride);
    pane.id = this.nextPane++;
    if (pane.end <= watermarkUs) pane.isPassed = 1;
    this.panes.insert(index, pane);
    return pane;
  }

  /** Drops the windows that the watermark has closed, and forgets keys that are in no window. */
  dropClosed(watermarkUs: i64): void {
    const before = outsideBytes;
    this.firedUs = max(this.firedUs, watermarkUs);
    this.fireFrom = 0;
    const closed = this.dropClosedSlices(watermarkUs);
    // A capture finds its keys by their numbers.
    if (closed != 0 && this.keys.isMostlyDead() && !this.capture.isOn) this.renumberKeys();
    this.extraBytes += outsideBytes - before;
  }

  /** Returns how many slices there were that no open window has. */
  private dropClosedSlices(watermarkUs: i64): u32 {
    let closed: u32 = 0;
    while (closed < this.paneCount && sliceClosingTime(this.plan, this.pane(closed).number) <= watermarkUs) closed++;
    if (this.isSliding) {
      const end = closed == 0 ? i64.MIN_VALUE : this.pane(closed - 1).number + 1;
      this.sliding.dropClosed(watermarkUs, end, closed == this.paneCount);
    }
    if (closed == 0) return 0;
    for (let p: u32 = 0; p < closed; p++) {
      const pane = this.pane(p);
      saveAll(this, pane);
      for (let i: u32 = 0; i < pane.count; i++) this.keys.release(pane.head(i).key);
      this.groupCount -= pane.count;
      pane.dispose(this.plan);
    }
    this.panes.shift(closed);
    if (this.plan.axis.isCalendar) this.trimCalendar();
    return closed;
  }

  private renumberKeys(): void {
    const numbers = this.keys.compact();
    renumber(this.panes, numbers);
    if (this.isSliding) {
      renumber(this.sliding.notes, numbers);
      this.sliding.forgetDerived();
    }
    heap.free(numbers);
  }

  /** Keeps the pages of the calendar that open slices are in. */
  private trimCalendar(): void {
    const count = this.paneCount;
    if (count == 0 || this.plan.axis.calendar.count < MAX_SPARE_PAGES) return;
    this.plan.axis.calendar.trim(this.pane(0).start, this.pane(count - 1).end);
  }

  /** End of the last open window, or i64.MIN_VALUE when none is open. */
  lastEnd(): i64 {
    const axis = this.plan.axis;
    return this.paneCount == 0
      ? i64.MIN_VALUE
      : axis.windowEnd(axis.lastWindow(this.pane(this.paneCount - 1).number));
  }

  /**
   * The start of a slice in `input` that no page of the calendar covers, or `UNCOVERED` when there is none. Goes on where it was
   * but for the first call for an input.
   */
  missingTime(isFirst: bool): i64 {
    if (isFirst) this.beginSearch();
    for (; this.searchLeft > 0; this.searchLeft--) {
      const at = this.searchAt;
      if (!this.plan.axis.calendar.covers(load<i64>(at))) return load<i64>(at);
      const entries = <usize>load<u32>(at, 8) * entryBytes(load<u32>(at, 16) != 0);
      this.searchAt = at + PANE_HEAD_BYTES + entries + load<u32>(at, 12);
    }
    return UNCOVERED;
  }

  private beginSearch(): void {
    this.searchLeft = 0;
    if (!this.plan.axis.isCalendar) return;
    let at = this.input.data;
    if (this.input.length < 4 || load<u32>(at) != PARTIAL_VERSION) return;
    const fields = load<u32>(at, 4);
    at += 8;
    for (let f: u32 = 0; f < fields; f++) at += 8 + load<u32>(at, 4);
    at = keysEnd(at);
    this.searchLeft = load<u32>(at);
    this.searchAt = at + 4;
  }

  /** Bytes of memory that the state takes. */
  bytes(): f64 {
    let sum: f64 = this.keys.bytes() + <f64>this.extraBytes + this.capture.bytes() + this.partialKeys.bytes();
    sum += this.panes.bytes();
    if (this.isSliding) sum += this.sliding.bytes();
    return sum;
  }
}

/** Gives the panes' records the new numbers of their keys. */
function renumber(panes: PaneList, numbers: usize): void {
  for (let p: u32 = 0; p < panes.count; p++) {
    const pane = panes.at(p);
    for (let i: u32 = 0; i < pane.count; i++) {
      const head: RecordHead = pane.head(i);
      head.key = load<u32>(numbers + (<usize>head.key << 2));
    }
    pane.rehash(pane.tableMask + 1);
  }
}
