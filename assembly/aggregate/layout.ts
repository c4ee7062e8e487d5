import { meanOf, sumOf, varianceOf } from "./moments";
import { moreDispose, moreResult } from "./more";
import { bucketsQuantile, OPEN_BUCKETS_BYTES, OpenBuckets } from "./open-buckets";
import { sketchDispose } from "./sketch";
import { bigAt } from "./sum";

/** What is kept of a field, as a set of families. The count of its numbers is always kept. */
export const SUM: u32 = 1;
/** Needs SUM. */
export const SQUARES: u32 = 2;
export const EXTREMES: u32 = 4;
export const FIRST: u32 = 8;
export const LAST: u32 = 16;
/** Needs EXTREMES, between which quantiles are kept. */
export const QUANTILE: u32 = 32;
/** How many values are there but no number: for count(text). */
export const OTHERS: u32 = 64;
/** How many values are bools, and how many of these are true. */
export const BOOLS: u32 = 128;
/** Of texts too what FIRST, LAST and EXTREMES keep of numbers. */
export const TEXTS: u32 = 256;
export const DISTINCT: u32 = 512;
/** The most frequent values. */
export const TOP: u32 = 1024;
export const HISTOGRAM: u32 = 2048;
/** Numbers with their times. */
export const POINTS: u32 = 4096;

/** Families that stand in a `More` outside the record, made on first need. */
export const MORE: u32 = BOOLS | TEXTS | DISTINCT | TOP | HISTOGRAM | POINTS;
/** Those of them that numbers go to. */
export const OF_NUMBERS: u32 = DISTINCT | TOP | HISTOGRAM | POINTS;
/** Families that need the times of numbers. */
export const TIMED: u32 = FIRST | LAST | POINTS;

/** The selectable functions; the numbers are those of `workers/core/window-plan.ts`. */
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
  Distinct = 12,
  Topk = 13,
  Histogram = 14,
  Delta = 15,
  Rate = 16,
  Twa = 17,
  Integral = 18,
  Any = 19,
  All = 20,
  Mode = 21,
}

/** Where the parts of one field's accumulator stand in a group's record. */
@unmanaged
export class Layout {
  families: u32;
  /** u64: numbers */
  count: u32;
  /** u64 */
  others: u32;
  /** f64 pair, see `sum.ts` */
  sum: u32;
  /** f64 triple */
  squares: u32;
  /** f64 min, f64 max */
  extremes: u32;
  /** i64 time, f64 value */
  first: u32;
  /** i64 time, f64 value */
  last: u32;
  /** addresses (u32), 0 when there is none */
  sumBig: u32;
  squaresBig: u32;
  more: u32;
  /** `OpenBuckets` */
  sketch: u32;
  /** For TOP: how many values are wanted at most. */
  topSize: u32;
  /** For HISTOGRAM: ascending bounds, f64 each. */
  bounds: usize;
  boundCount: u32;
  /** behind the last part, a multiple of 8 */
  end: u32;

  /** Lays the parts out from `offset` on. */
  place(families: u32, offset: u32): void {
    this.families = families;
    this.topSize = 0;
    this.bounds = 0;
    this.boundCount = 0;
    this.count = offset;
    offset += 8;
    this.others = offset;
    if (families & OTHERS) offset += 8;
    this.sum = offset;
    if (families & SUM) offset += 16;
    this.squares = offset;
    if (families & SQUARES) offset += 24;
    this.extremes = offset;
    if (families & EXTREMES) offset += 16;
    this.first = offset;
    if (families & FIRST) offset += 16;
    this.last = offset;
    if (families & LAST) offset += 16;
    this.sumBig = offset;
    if (families & SUM) offset += 4;
    this.squaresBig = offset;
    if (families & SQUARES) offset += 4;
    this.more = offset;
    if (families & MORE) offset += 4;
    this.sketch = offset;
    if (families & QUANTILE) offset += OPEN_BUCKETS_BYTES;
    this.end = (offset + 7) & ~7;
  }

  /** Makes the accumulator of a fresh record empty. */
  clear(record: usize): void {
    memory.fill(record + this.count, 0, this.end - this.count);
    if (this.families & EXTREMES) {
      store<f64>(record + this.extremes, Infinity);
      store<f64>(record + this.extremes, -Infinity, 8);
    }
    if (this.families & FIRST) {
      store<i64>(record + this.first, i64.MAX_VALUE);
      store<f64>(record + this.first, Infinity, 8);
    }
    if (this.families & LAST) {
      store<i64>(record + this.last, i64.MIN_VALUE);
      store<f64>(record + this.last, -Infinity, 8);
    }
  }

  /** Frees what the record points to. */
  release(record: usize): void {
    if (this.families & SUM) releaseBig(record + this.sumBig);
    if (this.families & SQUARES) releaseBig(record + this.squaresBig);
    if (this.families & MORE) {
      const more: usize = load<u32>(record + this.more);
      if (more != 0) moreDispose(more);
      store<u32>(record + this.more, 0);
    }
    if (!(this.families & QUANTILE)) return;
    const place = changetype<OpenBuckets>(record + this.sketch);
    if (place.sketch != 0) sketchDispose(place.sketch);
    place.sketch = 0;
    place.times = 0;
    place.secondTimes = 0;
  }

  @inline private othersOf(record: usize): u64 {
    return this.families & OTHERS ? load<u64>(record + this.others) : 0;
  }

  /** The value of a selected function; NaN stands for null, and for what is no number as `box.ts` says. */
  result(record: usize, fn: Fn, parameter: f64): f64 {
    const count = load<u64>(record + this.count);
    if (fn == Fn.Count) return <f64>(count + this.othersOf(record));
    if (this.families & MORE) {
      const more: usize = load<u32>(record + this.more);
      if (more != 0 || fn >= Fn.Distinct) return moreResult(this, record, more, fn, parameter);
    }
    return this.numericResult(record, fn, parameter);
  }

  /** The value of a function of numbers alone. */
  numericResult(record: usize, fn: Fn, parameter: f64): f64 {
    const count = load<u64>(record + this.count);
    if (count == 0) return NaN;
    const n = <f64>count;
    const sum = record + this.sum;
    const low = load<f64>(record + this.extremes);
    const high = load<f64>(record + this.extremes, 8);
    switch (fn) {
      case Fn.Sum:
        return sumOf(sum, record + this.sumBig);
      case Fn.Avg:
        return meanOf(n, sum, record + this.sumBig);
      case Fn.Min:
        return low;
      case Fn.Max:
        return high;
      case Fn.Range:
        return high - low;
      case Fn.First:
        return load<f64>(record + this.first, 8);
      case Fn.Last:
        return load<f64>(record + this.last, 8);
      case Fn.Delta:
        // Of equal times the least is first and the greatest last, as for these: exact, rounded once.
        return load<f64>(record + this.last, 8) - load<f64>(record + this.first, 8);
      case Fn.Variance:
      case Fn.Stddev: {
        if (count < 2) return NaN;
        const variance = varianceOf(n, sum, record + this.sumBig, record + this.squares, record + this.squaresBig);
        return fn == Fn.Variance ? variance : sqrt(variance);
      }
      default:
        // Nearer to the truth than the bucket's middle, at both ends.
        return max(low, min(high, bucketsQuantile(changetype<OpenBuckets>(record + this.sketch), parameter, count)));
    }
  }
}

function releaseBig(place: usize): void {
  if (load<u32>(place) == 0) return;
  bigAt(place).dispose();
  store<u32>(place, 0);
}
