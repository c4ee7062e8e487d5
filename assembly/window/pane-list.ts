import { Pane } from "./pane";
import { Plan } from "./plan";

/** Panes in ascending order of their numbers. Look-up O(log n); insertion moves what is behind. */
@unmanaged
export class PaneList {
  items: usize; // Pane[capacity], addresses
  count: u32;
  capacity: u32;

  static create(): PaneList {
    const self = changetype<PaneList>(heap.alloc(offsetof<PaneList>()));
    self.capacity = 8;
    self.items = heap.alloc(8 * sizeof<usize>());
    self.count = 0;
    return self;
  }

  /** Frees the list, and with `clear` its panes. */
  dispose(plan: Plan): void {
    this.clear(plan);
    heap.free(this.items);
    heap.free(changetype<usize>(this));
  }

  clear(plan: Plan): void {
    for (let i: u32 = 0; i < this.count; i++) this.at(i).dispose(plan);
    this.count = 0;
  }

  @inline at(index: u32): Pane {
    return load<Pane>(this.items + <usize>index * sizeof<usize>());
  }

  /** Where the first pane is whose number is not below `number`. */
  seek(number: i64): u32 {
    let from: u32 = 0;
    let to = this.count;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.at(middle).number < number) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  /** The pane of that number, or null. */
  @inline find(number: i64): Pane {
    const index = this.seek(number);
    if (index == this.count) return changetype<Pane>(0);
    const pane = this.at(index);
    return pane.number == number ? pane : changetype<Pane>(0);
  }

  insert(index: u32, pane: Pane): void {
    if (this.count == this.capacity) {
      this.capacity <<= 1;
      this.items = heap.realloc(this.items, <usize>this.capacity * sizeof<usize>());
    }
    const place = this.items + <usize>index * sizeof<usize>();
    memory.copy(place + sizeof<usize>(), place, <usize>(this.count - index) * sizeof<usize>());
    store<Pane>(place, pane);
    this.count++;
  }

  /** Takes the first `count` panes out, without freeing them. */
  shift(count: u32): void {
    if (count == 0) return;
    this.count -= count;
    memory.copy(this.items, this.items + <usize>count * sizeof<usize>(), <usize>this.count * sizeof<usize>());
  }

  bytes(): f64 {
    let sum: f64 = <f64>this.capacity * <f64>sizeof<usize>();
    for (let i: u32 = 0; i < this.count; i++) sum += <f64>this.at(i).bytes();
    return sum;
  }
}
