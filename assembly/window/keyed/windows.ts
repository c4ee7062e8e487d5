import { outsideBytes } from "../../aggregate/memory";
import { ByteBuffer } from "../../memory/bytes";
import { Capture, NEW_MARK } from "../../state/capture";
import { mergeState } from "../../state/field-state";
import { noteLost, touchGroup } from "../../state/keyed-capture";
import { floorDivide } from "../axis";
import { KeyTable } from "../key-table";
import { PartialKeys } from "../partial-keys";
import { Plan } from "../plan";
import { forgetClocks } from "./clocks";
import { fillWindows } from "./count";
import { dropPassed } from "./events";
import { DueTimes } from "./due-times";
import { disposeFragment, Fragment, fragmentBytes, headOf, Shown } from "./fragment";
import {
  BEFORE_ALL,
  CLOCKED,
  EARLY_DUE,
  fragmentAt,
  freeFragments,
  GROUP_BYTES,
  HELD,
  isOpen,
  KeyedGroup,
  NEVER,
  OPEN,
  removeFragments,
  TOUCHED,
  waitingOf,
} from "./group";
import { mergePartial } from "./merge";
import { RowKind, showFragment, showRow } from "./results";
import { Schedule } from "./schedule";
import { addTime, KeyedKind, KeyedSettings } from "./settings";

/**
 * The window stage of a query whose windows belong to their key: each key has a sorted list of its own. A partial is
 * merged under the clock of the last `fire`.
 *
 * Invariants: a group's fragments are sorted by start and by end; one whose end the clock has not passed is dirty or has been shown early;
 * a group
 * with something to do by the stream's clock stands in `dueTimes` under its `dueUs`. An entry there under another time, or
 * one that finds nothing to do, is out of date and harmless.
 */
@unmanaged
export class KeyedWindows {
  plan: Plan;
  settings: KeyedSettings;
  keys: KeyTable;
  groups: ByteBuffer; // KeyedGroup by key number
  dueTimes: DueTimes;
  /** Open keys by their clock; an entry may have an earlier one. Only while keys have clocks. */
  clocks: Schedule;
  /** Keys to be looked at: their clocks have moved, or they have changed since early results were due. */
  touched: ByteBuffer; // u32: keys
  /** The stream's clocks of the firing before, and of the one at hand. Only for early results. */
  firedUs: i64;
  firingUs: i64;
  fragmentCount: u32;
  openKeys: u32;
  /** Every clock forgotten was at most here: an unknown key starts with it. */
  forgottenUs: i64;
  /** None: the last revision given to an event that was not the first of its time. */
  repeats: u32;
  input: ByteBuffer;
  out: ByteBuffer;
  /** Events of kind none that are to be shown, see events.ts. */
  queued: ByteBuffer;
  /** What the last merge refused: first event i64, last event i64, key length u32, key bytes. */
  late: ByteBuffer;
  lateRows: u64;
  /** Windows that were shown, not only early, and are to be retracted: first i64, end i64, key u32, unused u32. */
  outgrown: ByteBuffer;
  partialKeys: PartialKeys;
  found: ByteBuffer; // u32: key number by group, or row, of the partial
  /** Keeps a look ahead from being optimised away. */
  glanced: u32;
  scratch: ByteBuffer;
  /** What the groups and records hold outside themselves. */
  extraBytes: i64;
  capture: Capture;

  static create(plan: Plan, settings: KeyedSettings): KeyedWindows {
    const self = changetype<KeyedWindows>(heap.alloc(offsetof<KeyedWindows>()));
    self.plan = plan;
    self.settings = settings;
    self.keys = KeyTable.create();
    self.groups = ByteBuffer.create(4096);
    self.dueTimes = DueTimes.create();
    self.clocks = Schedule.create();
    self.touched = ByteBuffer.create(256);
    self.firedUs = BEFORE_ALL;
    self.firingUs = BEFORE_ALL;
    self.fragmentCount = 0;
    self.openKeys = 0;
    self.forgottenUs = BEFORE_ALL;
    self.repeats = 0;
    self.input = ByteBuffer.create(4096);
    self.out = ByteBuffer.create(4096);
    self.queued = ByteBuffer.create(256);
    self.late = ByteBuffer.create(256);
    self.lateRows = 0;
    self.outgrown = ByteBuffer.create(64);
    self.partialKeys = PartialKeys.create(self.keys);
    self.found = ByteBuffer.create(4096);
    self.glanced = 0;
    self.scratch = ByteBuffer.create(1024);
    self.extraBytes = 0;
    self.capture = Capture.create();
    return self;
  }

  dispose(): void {
    this.clear();
    this.keys.dispose();
    this.groups.dispose();
    this.dueTimes.dispose();
    this.clocks.dispose();
    this.touched.dispose();
    this.input.dispose();
    this.out.dispose();
    this.queued.dispose();
    this.late.dispose();
    this.outgrown.dispose();
    this.partialKeys.dispose();
    this.found.dispose();
    this.scratch.dispose();
    this.capture.dispose();
    this.plan.dispose();
    this.settings.dispose();
    heap.free(changetype<usize>(this));
  }

  /** Forgets all windows, keys and clocks, and ends a capture. */
  clear(): void {
    this.capture.end(false);
    for (let key: u32 = 0; key < this.groupCount; key++) {
      const group = this.group(key);
      for (let i: u32 = 0; i < group.count; i++) disposeFragment(this.plan, fragmentAt(group, i));
      freeFragments(group);
      if (group.waiting != 0) waitingOf(group).dispose();
    }
    this.groups.reset();
    this.keys.clear();
    this.dueTimes.clear();
    this.clocks.clear();
    this.touched.reset();
    this.queued.reset();
    this.outgrown.reset();
    this.fragmentCount = 0;
    this.openKeys = 0;
    this.forgottenUs = BEFORE_ALL;
    this.firedUs = BEFORE_ALL;
    this.firingUs = BEFORE_ALL;
    this.repeats = 0;
    this.extraBytes = 0;
  }

  @inline get groupCount(): u32 {
    return this.groups.length / GROUP_BYTES;
  }

  @inline group(key: u32): KeyedGroup {
    return changetype<KeyedGroup>(this.groups.data + <usize>key * GROUP_BYTES);
  }

  /** The group of a key that was interned. */
  groupOf(key: u32): KeyedGroup {
    while (this.groupCount <= key) {
      this.groups.reserve(GROUP_BYTES);
      this.groups.length += GROUP_BYTES;
      const group = this.group(this.groupCount - 1);
      memory.fill(changetype<usize>(group), 0, GROUP_BYTES);
      group.dueUs = NEVER;
      group.clockUs = this.forgottenUs;
      group.mark = NEW_MARK;
    }
    return this.group(key);
  }

  /** Gives every key that was interned its group. */
  @inline makeGroups(): void {
    const count = this.keys.dictionary.count;
    if (count > this.groupCount) this.groupOf(count - 1);
  }

  /** How many spans of events were too late: they are listed in `late`. -1 when the partial has another version. */
  merge(watermarkUs: i64): i32 {
    const before = outsideBytes;
    const late = mergePartial(this, watermarkUs);
    this.extraBytes += outsideBytes - before;
    return late;
  }

  /** Brings what is known of a key up to date with its windows and its clock. */
  refresh(group: KeyedGroup, key: u32): void {
    const isOpenNow = isOpen(group);
    if (isOpenNow != ((group.flags & OPEN) != 0)) {
      group.flags ^= OPEN;
      this.openKeys += isOpenNow ? 1 : -1;
    }
    const isHeld = isOpenNow || group.clockUs != this.forgottenUs;
    if (isHeld != ((group.flags & HELD) != 0)) {
      group.flags ^= HELD;
      if (isHeld) this.keys.retain(key);
      else this.keys.release(key);
    }
    if (!isOpenNow) return;
    if (group.waiting != 0) {
      const waiting = waitingOf(group);
      this.remind(group, key, waiting.event(waiting.head).timeUs + 1);
    }
    if (this.settings.hasClocks && !(group.flags & CLOCKED)) {
      group.flags |= CLOCKED;
      this.clocks.push(group.clockUs, key);
    }
  }

  /** Moves a key's clock, never back. */
  advance(group: KeyedGroup, clockUs: i64): void {
    if (clockUs <= group.clockUs) return;
    const beforeUs = max(this.firedUs, group.clockUs);
    if (isOpen(group) && isEarlyPassed(this.plan.earlyUs, beforeUs, max(this.firedUs, clockUs)))
      group.flags |= EARLY_DUE;
    group.clockUs = clockUs;
  }

  /** Has the key looked at with the next firing or, where keys have no clocks, when early results are due. */
  @inline touchKey(group: KeyedGroup, key: u32): void {
    if (group.flags & TOUCHED) return;
    group.flags |= TOUCHED;
    this.touched.u32(key);
  }

  /** The same for all keys with windows. */
  touchAll(): void {
    for (let key: u32 = 0; key < this.groupCount; key++) {
      const group = this.group(key);
      if (isOpen(group)) this.touchKey(group, key);
    }
  }

  /** To be called before rows are asked for. Whether touched keys are to be looked at. */
  beginFiring(watermarkUs: i64): bool {
    const everyUs = this.plan.earlyUs;
    if (everyUs == 0) return this.settings.hasClocks != 0;
    if (watermarkUs > this.firingUs) {
      this.firingUs = watermarkUs;
      if (this.settings.hasClocks && isEarlyPassed(everyUs, this.firedUs, watermarkUs)) this.touchAll();
    }
    return this.settings.hasClocks != 0 || isEarlyPassed(everyUs, this.firedUs, this.firingUs);
  }

  /** Has the key looked at once the stream's clock is there. */
  @inline remind(group: KeyedGroup, key: u32, timeUs: i64): void {
    if (timeUs >= group.dueUs) return;
    group.dueUs = timeUs;
    this.dueTimes.push(timeUs, key);
  }

  /** Merges one written state for each field into a record. */
  @inline mergeStates(record: usize, at: usize): void {
    const plan = this.plan;
    for (let f: u32 = 0; f < plan.fieldCount; f++) at = mergeState(plan.layout(f), record, at);
  }

  /** The end of a window; of a count the last event, so far. */
  @inline endOf(fragment: Fragment): i64 {
    const settings = this.settings;
    if (settings.kind == KeyedKind.Session) return addTime(fragment.lastUs, settings.gapUs);
    if (settings.kind != KeyedKind.Aligned) return fragment.lastUs;
    return addTime(fragment.firstUs, settings.sizeUs);
  }

  /** The clock from which on the window takes no more events. */
  @inline closingOf(fragment: Fragment): i64 {
    return addTime(this.endOf(fragment), this.plan.latenessUs);
  }

  /**
   * Whether no window of a key that was due has ended by its clock, as most have grown since: then it is looked at again when the
   * first does. What a checkpoint has of the key stays as it was.
   */
  @inline waits(key: u32, watermarkUs: i64): bool {
    const group = this.group(key);
    if (group.count == 0 || group.waiting != 0 || this.plan.earlyUs != 0) return false;
    const endUs = this.endOf(fragmentAt(group, 0));
    if (endUs <= max(watermarkUs, group.clockUs)) return false;
    this.remind(group, key, endUs);
    return true;
  }

  /** Shows what a key's clock lets go, and drops its closed windows. */
  look(key: u32, watermarkUs: i64): void {
    const group = this.group(key);
    touchGroup(this, group, key);
    const clockUs = max(watermarkUs, group.clockUs);
    const kind = this.settings.kind;
    if (kind == KeyedKind.Count) this.lookAtCounts(group, key, clockUs);
    else if (kind == KeyedKind.Each) dropPassed(group, clockUs);
    else this.lookAtWindows(group, key, clockUs);
    group.flags &= ~EARLY_DUE;
    this.refresh(group, key);
  }

  /** Shows windows that are still filling, from number `from` on, where they have changed since their last row. */
  private lookEarly(group: KeyedGroup, key: u32, from: u32): void {
    for (let i = from; i < group.count; i++) {
      const fragment = fragmentAt(group, i);
      if (headOf(fragment).isDirty) showFragment(this, fragment, key, this.endOf(fragment), RowKind.Early);
    }
  }

  private lookAtCounts(group: KeyedGroup, key: u32, clockUs: i64): void {
    fillWindows(this, group, key, clockUs);
    if (group.count == 0 || !headOf(fragmentAt(group, 0)).isDirty) return;
    const isDue = (group.flags & EARLY_DUE) != 0 || this.passesEarly(group, clockUs);
    if (isDue) this.lookEarly(group, key, 0);
    // Without a clock of its own the key is looked at again when early results are due; else whenever its clock moves.
    else if (!this.settings.hasClocks) this.touchKey(group, key);
  }

  /** Whether a key's clock, on its way from the firing before, passes a multiple of `early`. */
  @inline private passesEarly(group: KeyedGroup, clockUs: i64): bool {
    return isEarlyPassed(this.plan.earlyUs, max(this.firedUs, group.clockUs), clockUs);
  }

  private lookAtWindows(group: KeyedGroup, key: u32, clockUs: i64): void {
    let closed: u32 = 0;
    let nextUs = NEVER;
    for (let i: u32 = 0; i < group.count; i++) {
      const fragment = fragmentAt(group, i);
      const endUs = this.endOf(fragment);
      if (endUs > clockUs) {
        nextUs = min(nextUs, endUs);
        if (group.flags & EARLY_DUE || this.passesEarly(group, clockUs)) this.lookEarly(group, key, i);
        break;
      }
      if (headOf(fragment).isDirty || fragment.isEarly)
        showFragment(this, fragment, key, endUs, fragment.isLate ? RowKind.Late : RowKind.OnTime);
      const closingUs = addTime(endUs, this.plan.latenessUs);
      if (closingUs <= clockUs) {
        closed++;
        if (this.settings.namesClosed) showRow(this, fragment.firstUs, endUs, key, 0, RowKind.Closed, 0);
      } else nextUs = min(nextUs, closingUs);
    }
    for (let i: u32 = 0; i < closed; i++) disposeFragment(this.plan, fragmentAt(group, i));
    if (closed != 0) removeFragments(group, 0, closed);
    this.fragmentCount -= closed;
    this.remind(group, key, nextUs);
  }

  /** Forgets clocks beyond the limit, and the numbers of keys that are not in use. */
  tidy(): void {
    this.firedUs = this.firingUs;
    if (this.settings.hasClocks) forgetClocks(this);
    // A capture finds its keys by their numbers.
    if (this.keys.isMostlyDead() && !this.capture.isOn) this.renumberKeys();
  }

  renumberKeys(): void {
    const old = this.groups;
    const oldCount = this.groupCount;
    noteLost(this);
    const numbers = this.keys.compact();
    const groups = ByteBuffer.create(max<u32>(this.keys.live * GROUP_BYTES, GROUP_BYTES));
    groups.length = this.keys.live * GROUP_BYTES;
    this.groups = groups;
    for (let key: u32 = 0; key < oldCount; key++) {
      const group = changetype<KeyedGroup>(old.data + <usize>key * GROUP_BYTES);
      if (!(group.flags & HELD)) continue;
      const to = load<u32>(numbers + (<usize>key << 2));
      memory.copy(changetype<usize>(this.group(to)), changetype<usize>(group), GROUP_BYTES);
    }
    heap.free(numbers);
    old.dispose();
    this.reschedule();
  }

  /** Makes both schedules anew. */
  reschedule(): void {
    this.dueTimes.clear();
    this.clocks.clear();
    this.touched.reset();
    for (let key: u32 = 0; key < this.groupCount; key++) {
      const group = this.group(key);
      group.flags &= ~(CLOCKED | TOUCHED);
      group.dueUs = NEVER;
      if (this.settings.kind != KeyedKind.Count) {
        for (let i: u32 = 0; i < group.count; i++) {
          const fragment = fragmentAt(group, i);
          const isDue = headOf(fragment).isDirty || fragment.isEarly;
          this.remind(group, key, isDue ? this.endOf(fragment) : this.closingOf(fragment));
        }
      }
      this.refresh(group, key);
    }
    if (this.plan.earlyUs != 0) this.touchAll();
  }

  noteOutgrown(startUs: i64, endUs: i64, key: u32): void {
    this.outgrown.u64(startUs);
    this.outgrown.u64(endUs);
    this.outgrown.u64(key);
  }

  /** Notes all that are to be retracted: after a restore nobody knows whether they had been told of. */
  noteAllOutgrown(): void {
    this.outgrown.reset();
    for (let key: u32 = 0; key < this.groupCount; key++) {
      const group = this.group(key);
      for (let i: u32 = 0; i < group.count; i++) {
        for (let at = fragmentAt(group, i).shown; at != 0; at = changetype<Shown>(at).next) {
          const shown = changetype<Shown>(at);
          if (!shown.isEarly) this.noteOutgrown(shown.startUs, shown.endUs, key);
        }
      }
    }
  }

  /** The greatest time that a clock must reach for all that is open to be shown, or the least i64. */
  lastEnd(): i64 {
    let lastUs = BEFORE_ALL;
    const kind = this.settings.kind;
    for (let key: u32 = 0; key < this.groupCount; key++) {
      const group = this.group(key);
      if (group.waiting != 0) {
        const waiting = waitingOf(group);
        lastUs = max(lastUs, waiting.event(waiting.end - 1).timeUs + 1);
      }
      if (group.count == 0 || kind == KeyedKind.Count) continue;
      lastUs = max(lastUs, this.endOf(fragmentAt(group, group.count - 1)));
    }
    return lastUs;
  }

  /** Bytes of memory that the state takes. */
  bytes(): f64 {
    const lists = <f64>this.groups.capacity + this.dueTimes.bytes() + <f64>this.clocks.entries.capacity;
    const fragments = <f64>this.fragmentCount * <f64>fragmentBytes(this.plan);
    return this.keys.bytes() + this.partialKeys.bytes() + <f64>this.extraBytes + this.capture.bytes() + lists + fragments;
  }
}

/** Whether a clock that goes from `beforeUs` to `nowUs` passes a multiple of `everyUs`; 0: there are no early results. */
function isEarlyPassed(everyUs: i64, beforeUs: i64, nowUs: i64): bool {
  if (everyUs == 0 || nowUs <= beforeUs) return false;
  return floorDivide(nowUs, everyUs) > floorDivide(beforeUs, everyUs);
}
