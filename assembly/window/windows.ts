import { outsideBytes } from "../aggregate/memory";
import { ByteBuffer } from "../memory/bytes";
import { mergeState } from "../state/field-state";
import { KeyTable } from "./key-table";
import { Pane } from "./pane";
import { GROUP_ENTRY_BYTES, PARTIAL_VERSION } from "./partial";
import { Plan } from "./plan";
import { RecordHead } from "./record";
import { closingTime, windowEnd } from "./tumbling";

/** What `merge` gives for bytes that it cannot read. */
export const MERGE_REFUSED: i32 = -1;
const UNKNOWN_KEY: u32 = 0xffffffff;

/** A key as it stands in the partial, and its number once it is known. */
@unmanaged
class PartialKey {
  bytes: usize;
  length: u32;
  number: u32;
}

const PARTIAL_KEY_SIZE: u32 = offsetof<PartialKey>();

/**
 * The window stage of one query: merges partials, and knows which windows are open.
 *
 * Invariant: `panes` is sorted by start, one for each window that has events and is not closed; `keys` counts, for every
 * key, in how many panes it is.
 */
@unmanaged
export class Windows {
  plan: Plan;
  keys: KeyTable;
  panes: usize; // Pane[paneCapacity], addresses
  paneCount: u32;
  paneCapacity: u32;
  groupCount: u32;
  /** The bytes to merge or restore: the host writes them here. */
  input: ByteBuffer;
  out: ByteBuffer;
  /** Groups that the last merge refused: window start i64, key length u32, key bytes. */
  late: ByteBuffer;
  lateRows: u64;
  partialKeys: ByteBuffer; // PartialKey by number
  fieldMap: ByteBuffer; // u32: the plan's field by the partial's
  found: ByteBuffer; // u32: record by group of the window at hand
  /** What the records hold outside themselves. */
  extraBytes: i64;

  static create(plan: Plan): Windows {
    const self = changetype<Windows>(heap.alloc(offsetof<Windows>()));
    self.plan = plan;
    self.keys = KeyTable.create();
    self.paneCapacity = 8;
    self.panes = heap.alloc(8 * sizeof<usize>());
    self.paneCount = 0;
    self.groupCount = 0;
    self.input = ByteBuffer.create(4096);
    self.out = ByteBuffer.create(4096);
    self.late = ByteBuffer.create(256);
    self.lateRows = 0;
    self.partialKeys = ByteBuffer.create(4096);
    self.fieldMap = ByteBuffer.create(256);
    self.found = ByteBuffer.create(4096);
    self.extraBytes = 0;
    return self;
  }

  dispose(): void {
    this.clear();
    this.keys.dispose();
    heap.free(this.panes);
    this.input.dispose();
    this.out.dispose();
    this.late.dispose();
    this.partialKeys.dispose();
    this.fieldMap.dispose();
    this.found.dispose();
    this.plan.dispose();
    heap.free(changetype<usize>(this));
  }

  /** Forgets all windows and keys. */
  clear(): void {
    for (let p: u32 = 0; p < this.paneCount; p++) this.pane(p).dispose(this.plan);
    this.paneCount = 0;
    this.groupCount = 0;
    this.extraBytes = 0;
    this.keys.clear();
  }

  @inline pane(index: u32): Pane {
    return load<Pane>(this.panes + <usize>index * sizeof<usize>());
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
    let at = this.input.data;
    if (this.input.length < 4 || load<u32>(at) != PARTIAL_VERSION) return MERGE_REFUSED;
    const fieldCount = load<u32>(at, 4);
    at = this.readFields(at + 8, fieldCount);
    at = this.readKeys(at);
    const windowCount = load<u32>(at);
    at += 4;
    let lateCount: u32 = 0;
    for (let w: u32 = 0; w < windowCount; w++) {
      const start = load<i64>(at);
      const groupCount = load<u32>(at, 8);
      const stateLength = load<u32>(at, 12);
      const groups = at + 16;
      const states = groups + <usize>groupCount * GROUP_ENTRY_BYTES;
      if (closingTime(this.plan, start) <= watermarkUs) {
        this.refuse(start, groups, groupCount);
        lateCount += groupCount;
      } else {
        const pane = this.paneAt(start, watermarkUs);
        this.findRecords(pane, groups, groupCount);
        this.mergeStates(pane, states, groupCount, fieldCount);
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
    return added;
  }

  private readKeys(at: usize): usize {
    const count = load<u32>(at);
    at += 4;
    this.partialKeys.reset();
    this.partialKeys.reserve(count * PARTIAL_KEY_SIZE);
    for (let k: u32 = 0; k < count; k++) {
      const key = this.partialKey(k);
      key.length = load<u32>(at);
      key.bytes = at + 4;
      key.number = UNKNOWN_KEY;
      at += 4 + key.length;
    }
    return at;
  }

  @inline private partialKey(index: u32): PartialKey {
    return changetype<PartialKey>(this.partialKeys.data + index * PARTIAL_KEY_SIZE);
  }

  private refuse(start: i64, groups: usize, count: u32): void {
    for (let g: u32 = 0; g < count; g++) {
      const entry = groups + g * GROUP_ENTRY_BYTES;
      const key = this.partialKey(load<u32>(entry));
      this.late.u64(start);
      this.late.u32(key.length);
      this.late.append(key.bytes, key.length);
      this.lateRows += load<u32>(entry, 4);
    }
  }

  /** Finds or makes every group's record; first all of them, so that their cache misses overlap. */
  private findRecords(pane: Pane, groups: usize, count: u32): void {
    this.found.reset();
    this.found.reserve(count << 2);
    const known = pane.count;
    for (let g: u32 = 0; g < count; g++) {
      const entry = groups + g * GROUP_ENTRY_BYTES;
      const key = this.partialKey(load<u32>(entry));
      if (key.number == UNKNOWN_KEY) key.number = this.keys.intern(key.bytes, key.length);
      const before = pane.count;
      const index = pane.recordOf(key.number, this.plan);
      if (pane.count != before) this.keys.retain(key.number);
      const head = pane.head(index);
      head.rows += load<u32>(entry, 4);
      if (pane.isPassed && !head.isDirty) {
        head.isDirty = 1;
        pane.dirty++;
      }
      store<u32>(this.found.data + (g << 2), index);
    }
    this.groupCount += pane.count - known;
  }

  private mergeStates(pane: Pane, at: usize, groupCount: u32, fieldCount: u32): void {
    const map = this.fieldMap.data;
    for (let g: u32 = 0; g < groupCount; g++) {
      const record = pane.record(load<u32>(this.found.data + (g << 2)));
      for (let f: u32 = 0; f < fieldCount; f++) {
        at = mergeState(this.plan.layout(load<u32>(map + (f << 2))), record, at);
      }
    }
  }

  /** The number of the first pane that starts at or after `start`. */
  private findPane(start: i64): u32 {
    let from: u32 = 0;
    let to = this.paneCount;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.pane(middle).start < start) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  /** The pane that starts there; a new one is late from the start when the watermark has passed its end. */
  paneAt(start: i64, watermarkUs: i64): Pane {
    const index = this.findPane(start);
    if (index < this.paneCount && this.pane(index).start == start) return this.pane(index);
    if (this.paneCount == this.paneCapacity) {
      this.paneCapacity <<= 1;
      this.panes = heap.realloc(this.panes, <usize>this.paneCapacity * sizeof<usize>());
    }
    const place = this.panes + <usize>index * sizeof<usize>();
    memory.copy(place + sizeof<usize>(), place, <usize>(this.paneCount - index) * sizeof<usize>());
    const pane = Pane.create(start, this.plan.stride);
    if (windowEnd(this.plan, start) <= watermarkUs) pane.isPassed = 1;
    store<Pane>(place, pane);
    this.paneCount++;
    return pane;
  }

  /** Drops the windows that the watermark has closed, and forgets keys that are in no window. */
  dropClosed(watermarkUs: i64): void {
    let closed: u32 = 0;
    while (closed < this.paneCount && closingTime(this.plan, this.pane(closed).start) <= watermarkUs) closed++;
    if (closed == 0) return;
    const before = outsideBytes;
    for (let p: u32 = 0; p < closed; p++) {
      const pane = this.pane(p);
      for (let i: u32 = 0; i < pane.count; i++) this.keys.release(pane.head(i).key);
      this.groupCount -= pane.count;
      pane.dispose(this.plan);
    }
    this.extraBytes += outsideBytes - before;
    this.paneCount -= closed;
    memory.copy(this.panes, this.panes + <usize>closed * sizeof<usize>(), <usize>this.paneCount * sizeof<usize>());
    if (this.keys.isMostlyDead()) this.renumberKeys();
  }

  private renumberKeys(): void {
    const numbers = this.keys.compact();
    for (let p: u32 = 0; p < this.paneCount; p++) {
      const pane = this.pane(p);
      for (let i: u32 = 0; i < pane.count; i++) {
        const head: RecordHead = pane.head(i);
        head.key = load<u32>(numbers + (<usize>head.key << 2));
      }
      pane.rehash(pane.tableMask + 1);
    }
    heap.free(numbers);
  }

  /** End of the last open window, or i64.MIN_VALUE when none is open. */
  lastEnd(): i64 {
    return this.paneCount == 0 ? i64.MIN_VALUE : windowEnd(this.plan, this.pane(this.paneCount - 1).start);
  }

  /** Bytes of memory that the state takes. */
  bytes(): f64 {
    let sum: f64 = this.keys.bytes() + <f64>this.extraBytes;
    for (let p: u32 = 0; p < this.paneCount; p++) sum += this.pane(p).bytes();
    return sum;
  }
}
