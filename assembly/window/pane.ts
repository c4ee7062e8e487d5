import { hashGroup } from "./local";

/** One key of one window. Its record (`Plan.stride` bytes) follows the head. */
@unmanaged
export class Group {
  key: u32;
  /** Last revision given out, -1 before the first. */
  revision: i32;
  /** 1 while it waits for a late revision. */
  isDirty: u32;
  reserved: u32;

  @inline record(): usize {
    return changetype<usize>(this) + GROUP_HEAD;
  }
}

export const GROUP_HEAD: u32 = offsetof<Group>();

/**
 * One window and its groups by key: the unit that fires and is dropped. Invariant: the table holds index + 1 of
 * `groups` (0 is free), its size is a power of two and at least twice `count`.
 */
@unmanaged
export class Pane {
  start: i64;
  isFired: u32;
  count: u32;
  capacity: u32;
  tableMask: u32;
  groups: usize; // Group[capacity], addresses
  table: usize; // u32[tableMask + 1]
  dirty: u32;

  static create(start: i64): Pane {
    const self = changetype<Pane>(heap.alloc(offsetof<Pane>()));
    self.start = start;
    self.isFired = 0;
    self.count = 0;
    self.dirty = 0;
    self.capacity = 4;
    self.groups = heap.alloc(4 * sizeof<usize>());
    self.tableMask = 15;
    self.table = heap.alloc(16 << 2);
    memory.fill(self.table, 0, 16 << 2);
    return self;
  }

  /** Frees the pane; its groups are the caller's. */
  dispose(): void {
    heap.free(this.groups);
    heap.free(this.table);
    heap.free(changetype<usize>(this));
  }

  @inline group(index: u32): Group {
    return load<Group>(this.groups + <usize>index * sizeof<usize>());
  }

  /** The group of that key, or null. */
  find(key: u32): Group {
    let slot = hashGroup(key, 0) & this.tableMask;
    while (true) {
      const stored = load<u32>(this.table + (<usize>slot << 2));
      if (stored == 0) return changetype<Group>(0);
      const group = this.group(stored - 1);
      if (group.key == key) return group;
      slot = (slot + 1) & this.tableMask;
    }
  }

  /** Adds a group whose key is not there yet. */
  add(group: Group): void {
    if (this.count == this.capacity) {
      this.capacity <<= 1;
      this.groups = heap.realloc(this.groups, <usize>this.capacity * sizeof<usize>());
    }
    store<Group>(this.groups + <usize>this.count * sizeof<usize>(), group);
    this.count++;
    if (this.count << 1 > this.tableMask) this.rehash();
    else this.place(this.count - 1);
  }

  private place(index: u32): void {
    let slot = hashGroup(this.group(index).key, 0) & this.tableMask;
    while (load<u32>(this.table + (<usize>slot << 2)) != 0) slot = (slot + 1) & this.tableMask;
    store<u32>(this.table + (<usize>slot << 2), index + 1);
  }

  private rehash(): void {
    const size = (this.tableMask + 1) << 1;
    heap.free(this.table);
    this.table = heap.alloc(<usize>size << 2);
    memory.fill(this.table, 0, <usize>size << 2);
    this.tableMask = size - 1;
    for (let i: u32 = 0; i < this.count; i++) this.place(i);
  }
}
