import { nextSeed } from "../memory/dictionary";
import { Keys } from "./keys";

/** Events of one span of time and key. */
@unmanaged
export class Group {
  /** Where its time begins, µs. */
  fromUs: i64;
  /** Its number among `Keys.known`. */
  key: u32;
  count: u32;
}

/** Where a row is counted: its group, and how far into the group's time it is. */
@unmanaged
export class Place {
  group: u32;
  offsetUs: u32;
}

const GROUP_SHIFT: usize = 4;
const FIRST_GROUPS: u32 = 1024;

/**
 * Numbers groups from 0 on, as they are met. A row is first looked for in the last group of its key, since time mostly
 * goes on; then by open addressing. Invariant: the table's size is a power of two, at least twice `count`.
 */
@unmanaged
export class Groups {
  /** Length of a group's time. */
  spanUs: i64;
  groups: usize;
  capacity: u32;
  count: u32;
  /** u32: a group's number + 1, or 0. */
  table: usize;
  tableMask: u32;
  /** u32 by key: its last group's number + 1, or 0. */
  lastOf: usize;
  keyCapacity: u32;
  /** `Place` a row of the last batch. */
  places: usize;
  rowCapacity: u32;
  /** Odd and unpredictable: times cannot be chosen so that they meet in the table. */
  seedA: u64;
  seedB: u64;

  static create(spanUs: i64): Groups {
    const self = changetype<Groups>(heap.alloc(offsetof<Groups>()));
    self.spanUs = spanUs;
    self.capacity = FIRST_GROUPS;
    self.groups = heap.alloc(<usize>FIRST_GROUPS << GROUP_SHIFT);
    self.count = 0;
    self.table = 0;
    self.tableMask = 0;
    self.lastOf = 0;
    self.keyCapacity = 0;
    self.places = 0;
    self.rowCapacity = 0;
    self.seedA = nextSeed() | 1;
    self.seedB = nextSeed() | 1;
    self.fillTable((FIRST_GROUPS << 1) - 1);
    return self;
  }

  @inline group(index: u32): Group {
    return changetype<Group>(this.groups + (<usize>index << GROUP_SHIFT));
  }

  /** Counts rows whose keys are assigned, and notes their places. `times`: i64 each. */
  add(times: usize, rows: u32, keys: Keys): void {
    this.makeRoom(rows, keys.known.count);
    const spanUs = this.spanUs;
    const lastOf = this.lastOf;
    let fromUs: i64 = 0;
    let untilUs: i64 = 0;
    let place = this.places;
    for (let row: u32 = 0; row < rows; row++) {
      const timeUs = load<i64>(times + (<usize>row << 3));
      if (timeUs < fromUs || timeUs >= untilUs) {
        fromUs = timeUs - remainderOf(timeUs, spanUs);
        untilUs = fromUs + spanUs;
      }
      const key = keys.ofRow(row);
      const last = lastOf + (<usize>key << 2);
      let index = load<u32>(last) - 1;
      if (index == -1 || this.group(index).fromUs != fromUs) {
        index = this.find(fromUs, key);
        store<u32>(last, index + 1);
      }
      const group = this.group(index);
      group.count += 1;
      changetype<Place>(place).group = index;
      changetype<Place>(place).offsetUs = <u32>(timeUs - fromUs);
      place += offsetof<Place>();
    }
  }

  dispose(): void {
    heap.free(this.groups);
    heap.free(this.table);
    if (this.lastOf != 0) heap.free(this.lastOf);
    if (this.places != 0) heap.free(this.places);
    heap.free(changetype<usize>(this));
  }

  private makeRoom(rows: u32, keys: u32): void {
    if (rows > this.rowCapacity) {
      if (this.places != 0) heap.free(this.places);
      this.places = heap.alloc(<usize>rows * offsetof<Place>());
      this.rowCapacity = rows;
    }
    if (keys <= this.keyCapacity) return;
    const before = this.keyCapacity;
    const after = max(keys, before << 1);
    this.lastOf =
      this.lastOf == 0 ? heap.alloc(<usize>after << 2) : heap.realloc(this.lastOf, <usize>after << 2);
    memory.fill(this.lastOf + (<usize>before << 2), 0, <usize>(after - before) << 2);
    this.keyCapacity = after;
  }

  /** The group's number; it is begun when there is none. */
  private find(fromUs: i64, key: u32): u32 {
    let slot = this.slotOf(fromUs, key);
    while (true) {
      const index = load<u32>(this.table + (<usize>slot << 2)) - 1;
      if (index == -1) break;
      const group = this.group(index);
      if (group.key == key && group.fromUs == fromUs) return index;
      slot = (slot + 1) & this.tableMask;
    }
    if (this.count == this.capacity) {
      this.capacity <<= 1;
      this.groups = heap.realloc(this.groups, <usize>this.capacity << GROUP_SHIFT);
    }
    const index = this.count++;
    const group = this.group(index);
    group.fromUs = fromUs;
    group.key = key;
    group.count = 0;
    store<u32>(this.table + (<usize>slot << 2), index + 1);
    if (this.count << 1 > this.tableMask) this.fillTable((this.tableMask << 1) | 1);
    return index;
  }

  private fillTable(mask: u32): void {
    if (this.table != 0) heap.free(this.table);
    const bytes = (<usize>mask + 1) << 2;
    this.table = heap.alloc(bytes);
    memory.fill(this.table, 0, bytes);
    this.tableMask = mask;
    for (let index: u32 = 0; index < this.count; index++) {
      let slot = this.slotOf(this.group(index).fromUs, this.group(index).key);
      while (load<u32>(this.table + (<usize>slot << 2)) != 0) slot = (slot + 1) & mask;
      store<u32>(this.table + (<usize>slot << 2), index + 1);
    }
  }

  @inline private slotOf(fromUs: i64, key: u32): u32 {
    let mixed = <u64>fromUs * this.seedA + <u64>key * this.seedB;
    mixed = (mixed ^ (mixed >> 29)) * this.seedA;
    return <u32>(mixed >> 32) & this.tableMask;
  }
}

/** As of the mathematical division: never below 0. */
@inline
function remainderOf(timeUs: i64, spanUs: i64): i64 {
  const rest = timeUs % spanUs;
  return rest < 0 ? rest + spanUs : rest;
}
