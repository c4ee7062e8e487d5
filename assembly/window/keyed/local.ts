import { Batch, FLAG_CLOCK_SKEW, FLAG_DROPPED } from "../../batch/batch";
import { NOT_INTERNED } from "../../memory/dictionary";
import { countByRow } from "../by-row";
import { UNCOVERED } from "../calendar";
import { NO_GROUP } from "../grouping";
import { Local } from "../local";
import { Plan } from "../plan";
import { FRAGMENT_ENTRY_BYTES, FragmentEntry, GROUP_HEAD_BYTES, KEYED_PARTIAL_VERSION } from "./partial";
import { sortRowsByTime } from "./rows-by-time";
import { writeSessionRows } from "./session-rows";
import { KeyedKind, KeyedSettings } from "./settings";

/**
 * The local stage of keyed windows: cuts each key's events of a batch, in the order of time, into fragments. The plan has
 * one window over all time, so that its groups are the keys.
 */
@unmanaged
export class KeyedLocal {
  settings: KeyedSettings;
  local: Local;
  /** Rows that the calendar was found to cover. */
  coveredRows: u32;

  static create(plan: Plan, settings: KeyedSettings): KeyedLocal {
    const self = changetype<KeyedLocal>(heap.alloc(offsetof<KeyedLocal>()));
    self.settings = settings;
    self.local = Local.create(plan);
    self.coveredRows = 0;
    return self;
  }

  dispose(): void {
    this.local.dispose();
    this.settings.dispose();
    heap.free(changetype<usize>(this));
  }

  /** Aggregates a sealed batch; `local.out` then holds the partial. */
  aggregate(batch: Batch): void {
    const local = this.local;
    const grouping = local.grouping;
    const out = local.out;
    const hasDropped = this.settings.hasClocks != 0 && showDropped(batch);
    local.number(batch);
    out.reset();
    out.u32(KEYED_PARTIAL_VERSION);
    local.writeKnownKeys();
    const isByRow = this.passesRows && countByRow(local);
    out.u32(isByRow ? 1 : 0);
    if (isByRow) {
      writeSessionRows(local, batch);
      local.finish();
      return;
    }
    local.sort(batch);
    out.u32(grouping.groupCount);
    const headsAt = out.length;
    out.reserve(grouping.groupCount * GROUP_HEAD_BYTES);
    out.length += grouping.groupCount * GROUP_HEAD_BYTES;
    for (let g: u32 = 0; g < grouping.groupCount; g++) {
      const group = grouping.group(g);
      const rows = grouping.order.data + (<usize>(group.end - group.rows) << 2);
      this.writeGroup(batch, group.key, rows, group.rows, headsAt + g * GROUP_HEAD_BYTES, hasDropped);
    }
    local.finish();
    if (hasDropped) hideDropped(batch);
  }

  /** Clocks of keys need the greatest time of each, also of what the query's condition drops. */
  private get passesRows(): bool {
    return this.settings.kind == KeyedKind.Session && this.settings.hasClocks == 0;
  }

  private writeGroup(batch: Batch, key: u32, rows: usize, count: u32, headAt: u32, hasDropped: bool): void {
    const times = batch.times;
    sortRowsByTime(rows, count, times);
    const greatestUs = timeAt(times, rows, count - 1);
    if (hasDropped) count = withoutDropped(rows, count, batch.flags);
    const fragments = count == 0 ? 0 : this.writeFragments(batch, rows, count);
    const head = this.local.out.data + headAt;
    store<u32>(head, key);
    store<u32>(head, fragments, 4);
    store<i64>(head, greatestUs, 8);
  }

  /** Writes the fragments of rows in the order of time, and returns how many there are. */
  private writeFragments(batch: Batch, rows: usize, count: u32): u32 {
    const times = batch.times;
    let fragments: u32 = 0;
    let from: u32 = 0;
    let lastUs = timeAt(times, rows, 0);
    let untilUs = this.fragmentEnd(lastUs);
    for (let i: u32 = 1; i <= count; i++) {
      if (i < count) {
        const timeUs = timeAt(times, rows, i);
        if (timeUs < untilUs) {
          if (this.settings.kind == KeyedKind.Session) untilUs = this.fragmentEnd(timeUs);
          lastUs = timeUs;
          continue;
        }
        this.writeFragment(batch, rows, from, i, lastUs);
        lastUs = timeUs;
        untilUs = this.fragmentEnd(timeUs);
      } else {
        this.writeFragment(batch, rows, from, i, lastUs);
      }
      fragments++;
      from = i;
    }
    return fragments;
  }

  /** The time from which on an event no longer belongs to the fragment that has one at `timeUs`. */
  @inline private fragmentEnd(timeUs: i64): i64 {
    const settings = this.settings;
    if (settings.kind == KeyedKind.Session) return timeUs + settings.gapUs;
    if (settings.kind == KeyedKind.Aligned) return settings.alignedStart(timeUs, settings.paneUs) + settings.paneUs;
    if (settings.kind == KeyedKind.Calendar) return settings.axis.sliceStart(settings.axis.sliceOf(timeUs) + 1);
    return i64.MIN_VALUE;
  }

  /** A time of the batch that the calendar must cover before it is aggregated, or `UNCOVERED`. Dropped events need none. */
  missingTime(batch: Batch, isFirst: bool): i64 {
    const calendar = this.settings.calendar;
    if (changetype<usize>(calendar) == 0) return UNCOVERED;
    if (isFirst) this.coveredRows = 0;
    for (; this.coveredRows < batch.rows; this.coveredRows++) {
      const row = this.coveredRows;
      if (load<u8>(batch.flags + row) & FLAG_CLOCK_SKEW) continue;
      const timeUs = load<i64>(batch.times + (<usize>row << 3));
      if (!calendar.covers(timeUs)) return timeUs;
    }
    return UNCOVERED;
  }

  private writeFragment(batch: Batch, rows: usize, from: u32, to: u32, lastUs: i64): void {
    const local = this.local;
    const out = local.out;
    const at = out.length;
    out.reserve(FRAGMENT_ENTRY_BYTES);
    out.length += FRAGMENT_ENTRY_BYTES;
    const first = rows + (<usize>from << 2);
    for (let f: u32 = 0; f < local.plan.fieldCount; f++) local.writeField(batch, f, first, to - from);
    const entry = changetype<FragmentEntry>(out.data + at);
    entry.firstUs = timeAt(batch.times, rows, from);
    entry.lastUs = lastUs;
    entry.rows = to - from;
    entry.stateLength = out.length - at - FRAGMENT_ENTRY_BYTES;
  }

  /** Marks the rows of the keys and spans of time that `wanted` lists, see `KeyedWindows.refuse`: u8 by row at `mask`. */
  maskLate(batch: Batch, wanted: usize, length: u32, mask: usize): void {
    const grouping = this.local.grouping;
    grouping.findsKeys = 1;
    grouping.number(batch);
    grouping.findsKeys = 0;
    grouping.sort(batch.rows);
    memory.fill(mask, 0, batch.rows);
    // Without windows, the groups' numbers are not always those of their keys.
    const groupOfKey = heap.alloc((<usize>grouping.keys.count << 2) + 1);
    memory.fill(groupOfKey, 0xff, <usize>grouping.keys.count << 2);
    for (let g: u32 = 0; g < grouping.groupCount; g++) {
      store<u32>(groupOfKey + (<usize>grouping.group(g).key << 2), g);
    }
    const end = wanted + length;
    for (let at = wanted; at + 20 <= end; ) {
      const keyLength = load<u32>(at, 16);
      if (<usize>keyLength > end - at - 20) break;
      const key = grouping.keys.find(at + 20, keyLength);
      const g = key == NOT_INTERNED ? NO_GROUP : load<u32>(groupOfKey + (<usize>key << 2));
      if (g != NO_GROUP) this.markSpan(batch, g, load<i64>(at), load<i64>(at, 8), mask);
      at += 20 + keyLength;
    }
    heap.free(groupOfKey);
  }

  private markSpan(batch: Batch, g: u32, firstUs: i64, lastUs: i64, mask: usize): void {
    const grouping = this.local.grouping;
    const group = grouping.group(g);
    const rows = grouping.order.data + (<usize>(group.end - group.rows) << 2);
    for (let i: u32 = 0; i < group.rows; i++) {
      const timeUs = timeAt(batch.times, rows, i);
      if (timeUs >= firstUs && timeUs <= lastUs) store<u8>(mask + load<u32>(rows + (<usize>i << 2)), 1);
    }
  }
}

/** Events that the query's condition drops move their key's clock: makes them seen. Returns whether there are any. */
function showDropped(batch: Batch): bool {
  let dropped: u8 = 0;
  for (let row: usize = 0; row < <usize>batch.rows; row++) {
    const flags = load<u8>(batch.flags + row);
    if (!(flags & FLAG_DROPPED)) continue;
    store<u8>(batch.flags + row, flags & ~FLAG_CLOCK_SKEW);
    dropped = 1;
  }
  return dropped != 0;
}

/** Undoes `showDropped`. */
function hideDropped(batch: Batch): void {
  for (let row: usize = 0; row < <usize>batch.rows; row++) {
    const flags = load<u8>(batch.flags + row);
    if (flags & FLAG_DROPPED) store<u8>(batch.flags + row, flags | FLAG_CLOCK_SKEW);
  }
}

/** Leaves out the rows that are dropped; returns how many are left. */
function withoutDropped(rows: usize, count: u32, flags: usize): u32 {
  let left: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const row = load<u32>(rows + (<usize>i << 2));
    if (load<u8>(flags + row) & FLAG_DROPPED) continue;
    store<u32>(rows + (<usize>left << 2), row);
    left++;
  }
  return left;
}

@inline
function timeAt(times: usize, rows: usize, index: u32): i64 {
  return load<i64>(times + (<usize>load<u32>(rows + (<usize>index << 2)) << 3));
}
