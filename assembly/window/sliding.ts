import { ByteBuffer } from "../memory/bytes";
import { saveAll, touch } from "../state/pane-capture";
import { closingTime } from "./axis";
import { Cover } from "./cover";
import { NO_RECORD, Pane } from "./pane";
import { PaneList } from "./pane-list";
import { Plan } from "./plan";
import { RECORD_HEAD, RecordHead } from "./record";
import { Roll } from "./roll";
import { emit, isEarlyDue, Kind, setRowCount, writeHead } from "./trigger";
import { Windows } from "./windows";

/** Keeps nothing of any field: the plan of `notes`, whose records are heads alone. */
const bare = changetype<Plan>(memory.data(offsetof<Plan>(), 8));

/**
 * Windows of several slices. Slices are shared, and a window is put together when it is due.
 *
 * A window's groups are those of its slices. What cannot be told from them stands in `notes`, a pane for a window with a
 * head for each key that had an early result or an event after the window's end: how many results it has given, and
 * whether it waits to give another. A key without a note has given one result when its window has been passed, else none.
 */
@unmanaged
export class Sliding {
  windows: Windows;
  cover: Cover;
  roll: Roll;
  notes: PaneList;
  /** A group of a window that fires again, or early. */
  result: Pane;
  isFiring: u32;
  /** The next window to fire on time. */
  cursor: i64;
  /** The next note to look at. */
  noteAt: u32;

  static create(windows: Windows): Sliding {
    const self = changetype<Sliding>(heap.alloc(offsetof<Sliding>()));
    self.windows = windows;
    self.cover = Cover.create(windows.plan, windows.panes);
    self.roll = Roll.create(windows.plan, windows.panes, self.cover);
    self.notes = PaneList.create();
    self.result = Pane.create(0, 0, 0, windows.plan.stride);
    self.isFiring = 0;
    return self;
  }

  dispose(): void {
    this.clear();
    this.notes.dispose(bare);
    this.result.dispose(this.windows.plan);
    this.roll.dispose();
    this.cover.dispose();
    heap.free(changetype<usize>(this));
  }

  clear(): void {
    this.forgetDerived();
    this.notes.clear(bare);
    this.isFiring = 0;
  }

  /** Forgets what can be made anew. */
  forgetDerived(): void {
    const plan = this.windows.plan;
    this.roll.forget();
    this.cover.clear();
    this.result.dispose(plan);
    this.result = Pane.create(0, 0, 0, plan.stride);
  }

  /** Notes, for the windows of a slice that wait for it, that keys have changed: an entry each, `stride` bytes apart; before the slice has their records. */
  note(slice: i64, entries: usize, count: u32, stride: u32, watermarkUs: i64): void {
    const windows = this.windows;
    const axis = windows.plan.axis;
    const hasEarly = windows.plan.earlyUs != 0;
    const last = axis.lastWindow(slice);
    for (let window = axis.firstWindow(slice); window <= last; window++) {
      const end = axis.windowEnd(window);
      const isPassed = end <= windows.firedUs;
      if (!isPassed && !hasEarly) return;
      if (closingTime(windows.plan, end) <= watermarkUs || this.isNoWindow(window)) continue;
      const note = this.noteOf(window);
      const from = window * axis.step;
      if (isPassed) this.cover.find(from, from + axis.width);
      for (let g: u32 = 0; g < count; g++) {
        const key = windows.keyOfEntry(entries + <usize>g * stride);
        const before = note.count;
        const head = note.head(note.recordOf(key, bare));
        touch(windows, note, head);
        if (note.count != before && isPassed && this.cover.hasKey(key)) head.emitted = 1;
        if (head.isDirty) continue;
        head.isDirty = 1;
        note.dirty++;
      }
    }
  }

  /** Where a zone skipped a day, no window begins on it. */
  private isNoWindow(window: i64): bool {
    const axis = this.windows.plan.axis;
    return axis.isCalendar && axis.windowStart(window) == axis.sliceStart(window * axis.step + 1);
  }

  noteOf(window: i64): Pane {
    const index = this.notes.seek(window);
    if (index < this.notes.count && this.notes.at(index).number == window) return this.notes.at(index);
    const axis = this.windows.plan.axis;
    const note = Pane.create(window, axis.windowStart(window), axis.windowEnd(window), RECORD_HEAD);
    note.id = this.windows.nextPane++;
    note.isNote = 1;
    this.notes.insert(index, note);
    return note;
  }

  /** The record of a key in a note, made when there is none. */
  @inline noteHead(note: Pane, key: u32): u32 {
    return note.recordOf(key, bare);
  }

  /** As `fireNext` of trigger.ts. */
  fireNext(watermarkUs: i64, out: ByteBuffer): bool {
    const windows = this.windows;
    if (!this.isFiring) {
      this.isFiring = 1;
      this.noteAt = 0;
      this.cursor = this.firstUnfired();
    }
    while (this.noteAt < this.notes.count && this.notes.at(this.noteAt).end <= windows.firedUs) {
      const note = this.notes.at(this.noteAt++);
      if (note.dirty == 0) continue;
      this.fireNoted(note, Kind.Late, out);
      return true;
    }
    if (this.fireOnTime(watermarkUs, out)) return true;
    if (!isEarlyDue(windows, watermarkUs)) return false;
    while (this.noteAt < this.notes.count) {
      const note = this.notes.at(this.noteAt++);
      if (note.dirty == 0 || note.end <= watermarkUs) continue;
      this.fireNoted(note, Kind.Early, out);
      return true;
    }
    return false;
  }

  /** The first window that has events and whose end is after what has been fired; i64.MAX_VALUE when there is none. */
  private firstUnfired(): i64 {
    const windows = this.windows;
    const axis = windows.plan.axis;
    const slices = windows.panes;
    for (let i: u32 = 0; i < slices.count; i++) {
      const slice = slices.at(i).number;
      const last = axis.lastWindow(slice);
      if (axis.windowEnd(last) <= windows.firedUs) continue;
      // Ends ascend with the numbers.
      let from = axis.firstWindow(slice);
      let to = last;
      while (from < to) {
        const middle = from + ((to - from) >> 1);
        if (axis.windowEnd(middle) <= windows.firedUs) from = middle + 1;
        else to = middle;
      }
      return from;
    }
    return i64.MAX_VALUE;
  }

  /** The first window from `window` on that has events; i64.MAX_VALUE when there is none. */
  private nextFilled(window: i64): i64 {
    if (window == i64.MAX_VALUE) return window;
    const axis = this.windows.plan.axis;
    const slices = this.windows.panes;
    const index = slices.seek(window * axis.step);
    if (index == slices.count) return i64.MAX_VALUE;
    const first = axis.firstWindow(slices.at(index).number);
    return first > window ? first : window;
  }

  private fireOnTime(watermarkUs: i64, out: ByteBuffer): bool {
    const plan = this.windows.plan;
    const axis = plan.axis;
    let window = this.nextFilled(this.cursor);
    while (window != i64.MAX_VALUE && this.isNoWindow(window)) window = this.nextFilled(window + 1);
    if (window == i64.MAX_VALUE) return false;
    const end = axis.windowEnd(window);
    if (end > watermarkUs) return false;
    this.cursor = window + 1;
    const from = window * axis.step;
    const keys = this.windows.keys.dictionary.count;
    const roll = this.roll;
    roll.moveTo(from, from + axis.width, keys);
    const note = this.notes.find(window);
    const isNoted = changetype<usize>(note) != 0;
    writeHead(out, axis.windowStart(window), end, Kind.OnTime, 0);
    let rows: u32 = 0;
    for (let key: u32 = 0; key < keys; key++) {
      const head = roll.group(key);
      if (changetype<usize>(head) == 0) continue;
      const noted = isNoted ? note.find(key) : NO_RECORD;
      head.emitted = noted == NO_RECORD ? 0 : this.countNoted(note, note.head(noted));
      emit(plan, head, out);
      rows++;
    }
    setRowCount(out, rows);
    if (isNoted) this.settle(note);
    return true;
  }

  private countNoted(note: Pane, noted: RecordHead): u32 {
    touch(this.windows, note, noted);
    return noted.emitted++;
  }

  /** All groups of the window have just given their results. */
  private settle(note: Pane): void {
    for (let i: u32 = 0; i < note.count; i++) {
      const noted = note.head(i);
      if (!noted.isDirty) continue;
      touch(this.windows, note, noted);
      noted.isDirty = 0;
    }
    note.dirty = 0;
  }

  /** The groups of a window that have changed since their last result. */
  private fireNoted(note: Pane, kind: Kind, out: ByteBuffer): void {
    const plan = this.windows.plan;
    const axis = plan.axis;
    const result = this.result;
    result.empty(plan);
    const from = note.number * axis.step;
    if (kind == Kind.Late) this.cover.find(from, from + axis.width);
    else this.cover.findSlices(from, from + axis.width);
    writeHead(out, note.start, note.end, kind, note.dirty);
    for (let i: u32 = 0; i < note.count; i++) {
      const noted = note.head(i);
      if (!noted.isDirty) continue;
      touch(this.windows, note, noted);
      const head = result.head(this.cover.gatherKey(noted.key, result));
      head.emitted = noted.emitted++;
      noted.isDirty = 0;
      emit(plan, head, out);
    }
    note.dirty = 0;
  }

  /** Ends a round of firing: drops the notes of closed windows, and the nodes of slices below `slice`; or of all slices. */
  dropClosed(watermarkUs: i64, slice: i64, isLast: bool): void {
    const notes = this.notes;
    let closed: u32 = 0;
    while (closed < notes.count && closingTime(this.windows.plan, notes.at(closed).end) <= watermarkUs) {
      saveAll(this.windows, notes.at(closed));
      notes.at(closed++).dispose(bare);
    }
    notes.shift(closed);
    this.cover.dropBelow(slice);
    // Nothing is left that it could be rolled from, nor a reason to keep what it holds.
    if (isLast && this.roll.isValid) this.forgetDerived();
    this.isFiring = 0;
  }

  bytes(): f64 {
    return this.cover.bytes() + this.roll.bytes() + this.notes.bytes() + <f64>this.result.bytes();
  }
}
