import { Column, ColumnType } from "../batch/batch";
import { Groups, Place } from "./groups";

/**
 * What a field was over a group. `first` and `last` are by event time, then by order. Values are i64 while all of the
 * field's columns were of integers, f64 from the first other one on.
 */
@unmanaged
export class State {
  /** 0: none; then nothing else means anything. */
  count: u32;
  /** Into the group's time. */
  firstUs: u32;
  lastUs: u32;
  reserved: u32;
  sum: f64;
  /** What adding rounded off. */
  rest: f64;
  min: u64;
  max: u64;
  first: u64;
  last: u64;
}

/** 64 bytes, a line of the processor's cache. */
const STATE_SHIFT: usize = 6;

/** A numeric field, and what it was over each group. */
@unmanaged
export class Field {
  name: usize;
  nameLength: u32;
  /** 1: all of its columns were of integers. */
  isWhole: u32;
  states: usize;
  capacity: u32;

  static create(name: usize, nameLength: u32): Field {
    const self = changetype<Field>(heap.alloc(offsetof<Field>()));
    self.name = heap.alloc(nameLength + 1);
    memory.copy(self.name, name, nameLength);
    self.nameLength = nameLength;
    self.isWhole = 1;
    self.states = heap.alloc(0);
    self.capacity = 0;
    return self;
  }

  @inline state(group: u32): State {
    return changetype<State>(this.states + (<usize>group << STATE_SHIFT));
  }

  /** Takes the values of rows that have their places. */
  add(column: Column, rows: u32, groups: Groups): void {
    this.makeRoom(groups.count, groups.capacity);
    const isFloat = column.type == ColumnType.Float;
    if (isFloat && this.isWhole) this.widen();
    if (isFloat) this.addFloats(column, rows, groups.places);
    else if (this.isWhole) this.addIntegers(column, rows, groups.places);
    else this.addWidened(column, rows, groups.places);
  }

  /** Makes states of all groups there are. */
  makeRoom(groups: u32, capacity: u32): void {
    if (groups <= this.capacity) return;
    this.states = heap.realloc(this.states, <usize>capacity << STATE_SHIFT);
    memory.fill(
      this.states + (<usize>this.capacity << STATE_SHIFT),
      0,
      <usize>(capacity - this.capacity) << STATE_SHIFT,
    );
    this.capacity = capacity;
  }

  /** What its states take. */
  bytes(): usize {
    return <usize>this.capacity << STATE_SHIFT;
  }

  dispose(): void {
    heap.free(this.name);
    heap.free(this.states);
    heap.free(changetype<usize>(this));
  }

  /** Rounding keeps the order: the least of the rounded is the rounded least. */
  private widen(): void {
    this.isWhole = 0;
    for (let group: u32 = 0; group < this.capacity; group++) {
      const state = this.state(group);
      state.min = rounded(state.min);
      state.max = rounded(state.max);
      state.first = rounded(state.first);
      state.last = rounded(state.last);
    }
  }

  private addIntegers(column: Column, rows: u32, places: usize): void {
    for (let row: u32 = 0; row < rows; row++, places += offsetof<Place>()) {
      if (!column.isValid(row)) continue;
      const place = changetype<Place>(places);
      const state = this.state(place.group);
      const value = load<i64>(column.cell(row));
      if (state.count == 0) begin(state, <f64>value, <u64>value, place.offsetUs);
      else {
        addToSum(state, <f64>value);
        if (value < <i64>state.min) state.min = <u64>value;
        if (value > <i64>state.max) state.max = <u64>value;
        setEnds(state, <u64>value, place.offsetUs);
      }
    }
  }

  private addFloats(column: Column, rows: u32, places: usize): void {
    for (let row: u32 = 0; row < rows; row++, places += offsetof<Place>()) {
      if (!column.isValid(row)) continue;
      const place = changetype<Place>(places);
      addFloat(this.state(place.group), load<f64>(column.cell(row)), place.offsetUs);
    }
  }

  private addWidened(column: Column, rows: u32, places: usize): void {
    for (let row: u32 = 0; row < rows; row++, places += offsetof<Place>()) {
      if (!column.isValid(row)) continue;
      const place = changetype<Place>(places);
      addFloat(this.state(place.group), <f64>load<i64>(column.cell(row)), place.offsetUs);
    }
  }
}

@inline
function addFloat(state: State, value: f64, offsetUs: u32): void {
  if (value != value) return;
  const bits = reinterpret<u64>(value);
  if (state.count == 0) return begin(state, value, bits, offsetUs);
  addToSum(state, value);
  if (value < reinterpret<f64>(state.min)) state.min = bits;
  if (value > reinterpret<f64>(state.max)) state.max = bits;
  setEnds(state, bits, offsetUs);
}

@inline
function begin(state: State, value: f64, bits: u64, offsetUs: u32): void {
  state.count = 1;
  state.firstUs = offsetUs;
  state.lastUs = offsetUs;
  state.sum = value;
  state.rest = 0;
  state.min = bits;
  state.max = bits;
  state.first = bits;
  state.last = bits;
}

/** Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen" (1974). */
@inline
function addToSum(state: State, value: f64): void {
  const before = state.sum;
  const sum = before + value;
  state.rest += abs(before) >= abs(value) ? before - sum + value : value - sum + before;
  state.sum = sum;
  state.count += 1;
}

@inline
function setEnds(state: State, bits: u64, offsetUs: u32): void {
  if (offsetUs < state.firstUs) {
    state.first = bits;
    state.firstUs = offsetUs;
  }
  if (offsetUs >= state.lastUs) {
    state.last = bits;
    state.lastUs = offsetUs;
  }
}

@inline
function rounded(value: u64): u64 {
  return reinterpret<u64>(<f64>(<i64>value));
}
