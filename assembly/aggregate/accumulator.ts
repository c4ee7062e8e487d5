import { addPair, addTo, product, low, quotient, sampleVariance } from "./double-double";
import { Sketch } from "./sketch";

/** What is kept of a field, as a set of families. COUNT is always kept. */
export const SUM: u32 = 1;
export const SQUARES: u32 = 2;
export const EXTREMES: u32 = 4;
export const FIRST: u32 = 8;
export const LAST: u32 = 16;
export const QUANTILE: u32 = 32;

/** The selectable functions; the numbers are those of `workers/core/window.ts`. */
export const enum Fn {
  CountRows = 0,
  Count = 1,
  Sum = 2,
  Avg = 3,
  Min = 4,
  Max = 5,
  Range = 6,
  First = 7,
  Last = 8,
  Variance = 9,
  Stddev = 10,
  Quantile = 11,
}

/**
 * Where the parts of one field's accumulator stand in a group's record. An accumulator that is all zero bytes is
 * empty, so a record is made by filling it with zeros.
 */
@unmanaged
export class Layout {
  families: u32;
  /** f64: values that are not null */
  count: u32;
  /** f64 pair */
  sum: u32;
  /** f64 pair */
  squares: u32;
  /** f64 min, f64 max */
  extremes: u32;
  /** i64 time, f64 value */
  first: u32;
  /** i64 time, f64 value */
  last: u32;
  /** address of a Sketch, or 0 */
  sketch: u32;

  /** Lays the parts out from `offset` on; returns the offset behind them, a multiple of 8. */
  place(families: u32, offset: u32): u32 {
    this.families = families;
    this.count = offset;
    offset += 8;
    this.sum = offset;
    if (families & (SUM | SQUARES)) offset += 16;
    this.squares = offset;
    if (families & SQUARES) offset += 16;
    this.extremes = offset;
    if (families & EXTREMES) offset += 16;
    this.first = offset;
    if (families & FIRST) offset += 16;
    this.last = offset;
    if (families & LAST) offset += 16;
    this.sketch = offset;
    if (families & QUANTILE) offset += 8;
    return offset;
  }

  /** Takes one value in, apart from quantiles. */
  @inline add(record: usize, value: f64, time: i64): void {
    const families = this.families;
    const count = record + this.count;
    const seen = load<f64>(count);
    store<f64>(count, seen + 1);
    if (families & (SUM | SQUARES)) addTo(record + this.sum, value);
    if (families & SQUARES) {
      const square = product(value, value);
      addTo(record + this.squares, square);
      addTo(record + this.squares, low);
    }
    if (families & EXTREMES) {
      const at = record + this.extremes;
      store<f64>(at, seen == 0 ? value : min(load<f64>(at), value));
      store<f64>(at, seen == 0 ? value : max(load<f64>(at, 8), value), 8);
    }
    if (families & FIRST) keepFirst(record + this.first, seen == 0, time, value);
    if (families & LAST) keepLast(record + this.last, seen == 0, time, value);
  }

  /** Merges another record's accumulator of the same families, apart from quantiles. */
  merge(record: usize, other: usize, from: Layout): void {
    const more = load<f64>(other + from.count);
    if (more == 0) return;
    const families = this.families;
    const seen = load<f64>(record + this.count);
    store<f64>(record + this.count, seen + more);
    if (families & (SUM | SQUARES)) addPair(record + this.sum, other + from.sum);
    if (families & SQUARES) addPair(record + this.squares, other + from.squares);
    if (families & EXTREMES) {
      const at = record + this.extremes;
      const low = load<f64>(other + from.extremes);
      const high = load<f64>(other + from.extremes, 8);
      store<f64>(at, seen == 0 ? low : min(load<f64>(at), low));
      store<f64>(at, seen == 0 ? high : max(load<f64>(at, 8), high), 8);
    }
    if (families & FIRST) {
      const at = other + from.first;
      keepFirst(record + this.first, seen == 0, load<i64>(at), load<f64>(at, 8));
    }
    if (families & LAST) {
      const at = other + from.last;
      keepLast(record + this.last, seen == 0, load<i64>(at), load<f64>(at, 8));
    }
  }

  /** The record's sketch, made on first use. */
  @inline sketchOf(record: usize): Sketch {
    const at = record + this.sketch;
    if (load<usize>(at) == 0) store<Sketch>(at, Sketch.create());
    return load<Sketch>(at);
  }

  /** The value of a selected function; NaN stands for null. */
  result(record: usize, fn: Fn, parameter: f64): f64 {
    const count = load<f64>(record + this.count);
    if (fn == Fn.Count) return count;
    if (count == 0) return NaN;
    switch (fn) {
      case Fn.Sum:
        return load<f64>(record + this.sum);
      case Fn.Avg:
        return quotient(load<f64>(record + this.sum), load<f64>(record + this.sum, 8), count);
      case Fn.Min:
        return load<f64>(record + this.extremes);
      case Fn.Max:
        return load<f64>(record + this.extremes, 8);
      case Fn.Range:
        return load<f64>(record + this.extremes, 8) - load<f64>(record + this.extremes);
      case Fn.First:
        return load<f64>(record + this.first, 8);
      case Fn.Last:
        return load<f64>(record + this.last, 8);
      case Fn.Variance:
      case Fn.Stddev: {
        if (count < 2) return NaN;
        const variance = sampleVariance(count, record + this.sum, record + this.squares);
        return fn == Fn.Variance ? variance : sqrt(variance);
      }
      default:
        return load<usize>(record + this.sketch) == 0 ? NaN : this.sketchOf(record).quantile(parameter);
    }
  }
}

export const LAYOUT_SIZE: u32 = offsetof<Layout>();

/** The earliest; among equal times the smallest value, so that the arrival order does not matter. */
@inline
function keepFirst(at: usize, isEmpty: bool, time: i64, value: f64): void {
  const known = load<i64>(at);
  if (isEmpty || time < known || (time == known && value < load<f64>(at, 8))) {
    store<i64>(at, time);
    store<f64>(at, value, 8);
  }
}

/** The latest; among equal times the greatest value. */
@inline
function keepLast(at: usize, isEmpty: bool, time: i64, value: f64): void {
  const known = load<i64>(at);
  if (isEmpty || time > known || (time == known && value > load<f64>(at, 8))) {
    store<i64>(at, time);
    store<f64>(at, value, 8);
  }
}
