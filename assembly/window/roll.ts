import { ByteBuffer } from "../memory/bytes";
import { copyRecord, Cover, mergePane, mergeRecord } from "./cover";
import { NO_RECORD, Pane } from "./pane";
import { PaneList } from "./pane-list";
import { Plan } from "./plan";
import { RecordHead } from "./record";

/** Slices whose suffixes are worked out at once: they bound the work and the memory of a turn. */
const TURN_SLICES: i64 = 32;
/** In `fronts`: an event came late for the key, so that its groups are gathered from the slices until the next turn. */
const STALE: u32 = 1;
const LINK_BYTES: u32 = 8;

/**
 * The groups of windows that follow one another, at a constant number of merges a group: two stacks for each key.
 *
 * A pivot parts the window [at, end) in two. Behind it, `back` has what its slices sum up to. Before it, each record of
 * `details` stands for a slice that has the key and holds what that slice and all later ones before the pivot sum up to; the
 * first of them, in `fronts`, is the key's group up to the pivot, and links lead to the next. So a window that moves on
 * by a slice costs a merge for each record that enters and a step for each that leaves. When the details are used up, the
 * pivot turns to the window's end: what lies beyond the next `TURN_SLICES` comes in few pieces from the cover.
 *
 * Source: the two-stacks algorithm, as in K. Tangwongsan, M. Hirzel, S. Schneider, "Low-latency sliding-window aggregation
 * in worst-case constant time", DEBS 2017, §3; here for many keys at once, with slices of time as elements.
 */
@unmanaged
export class Roll {
  plan: Plan;
  slices: PaneList;
  cover: Cover;
  isValid: u32;
  /** The window at hand is the slices [at, end). */
  at: i64;
  end: i64;
  /** Where details end: from there to the pivot all is in `base`. */
  limit: i64;
  base: Pane;
  back: Pane;
  details: PaneList; // each record is followed by the address of the key's next one
  fronts: ByteBuffer; // u32 by key: address of a record, 0 or STALE
  staleCount: u32;
  /** A record for a group of both sides. */
  sum: usize;
  /** A record for a group gathered from the slices. */
  gathered: Pane;

  static create(plan: Plan, slices: PaneList, cover: Cover): Roll {
    const self = changetype<Roll>(heap.alloc(offsetof<Roll>()));
    self.plan = plan;
    self.slices = slices;
    self.cover = cover;
    self.details = PaneList.create();
    self.fronts = ByteBuffer.create(256);
    self.begin();
    return self;
  }

  private begin(): void {
    const stride = this.plan.stride;
    this.isValid = 0;
    this.staleCount = 0;
    this.base = Pane.create(0, 0, 0, stride);
    this.back = Pane.create(0, 0, 0, stride);
    this.gathered = Pane.create(0, 0, 0, stride);
    this.sum = heap.alloc(stride);
    memory.fill(this.sum, 0, stride);
  }

  /** Forgets everything: after keys were renumbered or records lengthened. */
  forget(): void {
    this.free();
    this.begin();
  }

  private free(): void {
    this.details.clear(this.plan);
    this.base.dispose(this.plan);
    this.back.dispose(this.plan);
    this.gathered.dispose(this.plan);
    this.releaseSum();
    heap.free(this.sum);
  }

  dispose(): void {
    this.free();
    this.details.dispose(this.plan);
    this.fronts.dispose();
    heap.free(changetype<usize>(this));
  }

  /** Whether a change of the slice shows in what is kept here. */
  @inline holds(slice: i64): bool {
    return this.isValid != 0 && slice >= this.at && slice < this.end;
  }

  /** The key's groups are to be gathered from the slices: one that is held here has changed. */
  markStale(key: u32): void {
    this.growFronts(key + 1);
    const place = this.frontOf(key);
    if (load<u32>(place) == STALE) return;
    store<u32>(place, STALE);
    this.staleCount++;
  }

  @inline private frontOf(key: u32): usize {
    return this.fronts.data + (<usize>key << 2);
  }

  private growFronts(keys: u32): void {
    const known = this.fronts.length;
    const wanted = keys << 2;
    if (known >= wanted) return;
    memory.fill(this.fronts.reserve(wanted - known), 0, wanted - known);
    this.fronts.length = wanted;
  }

  /** Moves to the window of the slices [from, to), whose keys are numbered below `keys`. */
  moveTo(from: i64, to: i64, keys: u32): void {
    const canMove = this.isValid != 0 && from >= this.at && from <= this.limit && to >= this.end;
    if (!canMove || this.staleCount > keys >> 2) this.turn(from, to, keys);
    this.growFronts(keys);
    while (this.details.count > 0 && this.details.at(0).number < from) this.evict();
    const slices = this.slices;
    for (let i = slices.seek(this.end); i < slices.count && slices.at(i).number < to; i++) {
      mergePane(this.plan, this.back, slices.at(i));
    }
    this.at = from;
    this.end = to;
  }

  private evict(): void {
    const detail = this.details.at(0);
    for (let i: u32 = 0; i < detail.count; i++) {
      const record = detail.record(i);
      const place = this.frontOf(changetype<RecordHead>(record).key);
      if (load<u32>(place) != STALE) store<u32>(place, this.linkOf(record));
    }
    this.details.shift(1);
    detail.dispose(this.plan);
  }

  @inline private linkOf(record: usize): u32 {
    return load<u32>(record + this.plan.stride);
  }

  private turn(from: i64, to: i64, keys: u32): void {
    const plan = this.plan;
    this.details.clear(plan);
    this.base.empty(plan);
    this.back.empty(plan);
    this.fronts.reset();
    this.growFronts(keys);
    this.staleCount = 0;
    this.isValid = 1;
    this.at = from;
    this.end = to;
    this.limit = min(from + TURN_SLICES, to);
    this.cover.find(this.limit, to);
    for (let i: u32 = 0; i < this.cover.count; i++) mergePane(plan, this.base, this.cover.at(i));
    for (let i: u32 = 0; i < this.base.count; i++) {
      store<u32>(this.frontOf(this.base.head(i).key), <u32>this.base.record(i));
    }
    const slices = this.slices;
    const first = slices.seek(from);
    for (let i = slices.seek(this.limit); i > first; i--) this.addDetail(slices.at(i - 1));
  }

  private addDetail(slice: Pane): void {
    const plan = this.plan;
    const detail = Pane.create(slice.number, 0, 0, plan.stride + LINK_BYTES, slice.count);
    for (let i: u32 = 0; i < slice.count; i++) {
      const key = slice.head(i).key;
      const record = detail.record(detail.recordOf(key, plan));
      const place = this.frontOf(key);
      const next = load<u32>(place);
      if (next != 0) {
        copyRecord(plan, record, next);
        mergeRecord(plan, record, slice.record(i));
      } else copyRecord(plan, record, slice.record(i));
      store<u32>(record + plan.stride, next);
      store<u32>(place, <u32>record);
    }
    this.details.insert(0, detail);
  }

  /**
   * The key's group in the window at hand, or null when it has no event there. Its record lasts until the next call; its
   * `emitted` and `isDirty` mean nothing.
   */
  group(key: u32): RecordHead {
    const front = load<u32>(this.frontOf(key));
    if (front == STALE) return this.gather(key);
    const found = this.back.find(key);
    if (found == NO_RECORD) return changetype<RecordHead>(<usize>front);
    const back = this.back.record(found);
    if (front == 0) return changetype<RecordHead>(back);
    this.releaseSum();
    copyRecord(this.plan, this.sum, front);
    mergeRecord(this.plan, this.sum, back);
    const head = changetype<RecordHead>(this.sum);
    head.key = key;
    return head;
  }

  private releaseSum(): void {
    for (let f: u32 = 0; f < this.plan.fieldCount; f++) this.plan.layout(f).release(this.sum);
  }

  private gather(key: u32): RecordHead {
    this.cover.find(this.at, this.end);
    if (!this.cover.hasKey(key)) return changetype<RecordHead>(0);
    this.gathered.empty(this.plan);
    return this.gathered.head(this.cover.gatherKey(key, this.gathered));
  }

  bytes(): f64 {
    const panes = <f64>this.base.bytes() + <f64>this.back.bytes() + <f64>this.gathered.bytes();
    return panes + this.details.bytes() + <f64>this.fronts.capacity;
  }
}
