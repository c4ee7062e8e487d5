import { combineField, copyField } from "../aggregate/combine";
import { ByteBuffer } from "../memory/bytes";
import { NO_RECORD, Pane } from "./pane";
import { PaneList } from "./pane-list";
import { Plan } from "./plan";

/** Slices or nodes a node: 2^3 makes few nodes for keys that are seldom there, and few steps to cover a window. */
const FAN_BITS: i64 = 3;
const LEVELS: u32 = 7;

/**
 * Any run of slices as few panes: nodes of 8, 64, 512 … slices, aligned to their length, each made when it is first asked
 * for and kept until one of its slices is dropped. A run of n slices is covered by at most 14·⌈log8 n⌉ panes.
 *
 * Nodes are merges, so a late partial is merged into the nodes of its slice as into the slice itself. They can be made
 * anew at any time and are in no snapshot.
 */
@unmanaged
export class Cover {
  plan: Plan;
  slices: PaneList;
  levels: usize; // PaneList[LEVELS], the first of which is not used
  /** The panes found last. */
  found: ByteBuffer; // Pane addresses

  static create(plan: Plan, slices: PaneList): Cover {
    const self = changetype<Cover>(heap.alloc(offsetof<Cover>()));
    self.plan = plan;
    self.slices = slices;
    self.levels = heap.alloc(LEVELS * sizeof<usize>());
    for (let l: u32 = 0; l < LEVELS; l++) store<PaneList>(self.levels + l * sizeof<usize>(), PaneList.create());
    self.found = ByteBuffer.create(256);
    return self;
  }

  dispose(): void {
    for (let l: u32 = 0; l < LEVELS; l++) this.level(l).dispose(this.plan);
    heap.free(this.levels);
    this.found.dispose();
    heap.free(changetype<usize>(this));
  }

  /** Forgets all nodes: after keys were renumbered or records lengthened. */
  clear(): void {
    for (let l: u32 = 0; l < LEVELS; l++) this.level(l).clear(this.plan);
  }

  @inline private level(index: u32): PaneList {
    return load<PaneList>(this.levels + <usize>index * sizeof<usize>());
  }

  @inline get count(): u32 {
    return this.found.length / <u32>sizeof<usize>();
  }

  @inline at(index: u32): Pane {
    return load<Pane>(this.found.data + <usize>index * sizeof<usize>());
  }

  /** Finds panes that together are the slices [from, to). Only for slices that are complete but for late events. */
  find(from: i64, to: i64): void {
    this.found.reset();
    while (from < to) {
      let level: u32 = 0;
      let length: i64 = 1;
      while (level + 1 < LEVELS && (from & ((length << FAN_BITS) - 1)) == 0 && from + (length << FAN_BITS) <= to) {
        level++;
        length <<= FAN_BITS;
      }
      const pane = this.node(level, from >> (<i64>level * FAN_BITS));
      if (changetype<usize>(pane) != 0) this.push(pane);
      from += length;
    }
  }

  /** As `find`, from the slices alone: for windows that are still filling. */
  findSlices(from: i64, to: i64): void {
    this.found.reset();
    const slices = this.slices;
    for (let i = slices.seek(from); i < slices.count && slices.at(i).number < to; i++) this.push(slices.at(i));
  }

  private push(pane: Pane): void {
    store<Pane>(this.found.reserve(<u32>sizeof<usize>()), pane);
    this.found.length += <u32>sizeof<usize>();
  }

  /** The node, made on first use; of a single slice, the slice itself; of none, null. */
  private node(level: u32, number: i64): Pane {
    if (level == 0) return this.slices.find(number);
    const list = this.level(level);
    const index = list.seek(number);
    if (index < list.count && list.at(index).number == number) return list.at(index);
    const bits = <i64>level * FAN_BITS;
    const slices = this.slices;
    const first = slices.seek(number << bits);
    const end = (number + 1) << bits;
    if (first == slices.count || slices.at(first).number >= end) return changetype<Pane>(0);
    if (first + 1 == slices.count || slices.at(first + 1).number >= end) return slices.at(first);
    const made = Pane.create(number, slices.at(first).start, 0, this.plan.stride, slices.at(first).count);
    for (let child = number << FAN_BITS; child < (number + 1) << FAN_BITS; child++) {
      const part = this.node(level - 1, child);
      if (changetype<usize>(part) != 0) mergePane(this.plan, made, part);
    }
    list.insert(index, made);
    return made;
  }

  /** The node of a level that holds the slice, or null when there is none. */
  nodeOf(level: u32, slice: i64): Pane {
    return this.level(level).find(slice >> (<i64>level * FAN_BITS));
  }

  /** Levels above the slices, for `nodeOf`. */
  @inline get height(): u32 {
    return LEVELS;
  }

  /** Whether any pane found last has the key. */
  hasKey(key: u32): bool {
    for (let i: u32 = 0; i < this.count; i++) if (this.at(i).find(key) != NO_RECORD) return true;
    return false;
  }

  /** Merges what the panes found last have of a key into its record in `into`. */
  gatherKey(key: u32, into: Pane): u32 {
    const index = into.recordOf(key, this.plan);
    for (let i: u32 = 0; i < this.count; i++) {
      const pane = this.at(i);
      const found = pane.find(key);
      if (found != NO_RECORD) mergeRecord(this.plan, into.record(index), pane.record(found));
    }
    return index;
  }

  /** Drops the nodes that have a slice below `slice`. */
  dropBelow(slice: i64): void {
    for (let l: u32 = 1; l < LEVELS; l++) {
      const list = this.level(l);
      let gone: u32 = 0;
      while (gone < list.count && list.at(gone).number << (<i64>l * FAN_BITS) < slice) {
        list.at(gone++).dispose(this.plan);
      }
      list.shift(gone);
    }
  }

  bytes(): f64 {
    let sum: f64 = 0;
    for (let l: u32 = 1; l < LEVELS; l++) sum += this.level(l).bytes();
    return sum;
  }
}

/** Merges every record of a pane. */
export function mergePane(plan: Plan, into: Pane, from: Pane): void {
  for (let i: u32 = 0; i < from.count; i++) {
    const record = from.record(i);
    const index = into.recordOf(from.head(i).key, plan);
    mergeRecord(plan, into.record(index), record);
  }
}

/** Makes a record, which holds nothing outside itself, a copy of another's groups. */
@inline
export function copyRecord(plan: Plan, into: usize, from: usize): void {
  store<u64>(into, load<u64>(from)); // RecordHead.rows
  for (let f: u32 = 0; f < plan.fieldCount; f++) copyField(plan.layout(f), into, from);
}

@inline
export function mergeRecord(plan: Plan, into: usize, from: usize): void {
  const rows = into; // RecordHead.rows is first
  store<u64>(rows, load<u64>(rows) + load<u64>(from));
  for (let f: u32 = 0; f < plan.fieldCount; f++) combineField(plan.layout(f), into, from);
}
