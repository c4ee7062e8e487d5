import { Calendar } from "./calendar";
import { Plan } from "./plan";

/**
 * How a query cuts time. A slice is the smallest stretch that windows share: window n is made of the slices
 * [n · step, n · step + width). A tumbling window is one slice. Sliding windows begin and end at the boundaries of
 * slices only: there is one slice an `every` when it divides the size, and two otherwise, which is never more than
 * slices of the greatest common divisor would be.
 *
 * Source of the two slices: S. Krishnamurthy, C. Wu, M. Franklin, "On-the-fly sharing for streamed aggregation",
 * SIGMOD 2006 (paired windows).
 *
 * Slice and window numbers count from the epoch and are negative before it. The slices of a calendar are looked up.
 */
@unmanaged
export class Axis {
  periodUs: i64;
  offsetUs: i64;
  /** Length of the first of a period's two slices, or 0 when there is one. */
  restUs: i64;
  /** Slices a window. */
  width: i64;
  /** Slices from a window's start to the next one's. */
  step: i64;
  /** Null for slices of a fixed length. */
  calendar: Calendar;

  @inline get isCalendar(): bool {
    return changetype<usize>(this.calendar) != 0;
  }

  /** The number of the slice that holds the time. */
  sliceOf(time: i64): i64 {
    if (this.isCalendar) return this.calendar.number(time);
    const since = time - this.offsetUs;
    const period = floorDivide(since, this.periodUs);
    if (this.restUs == 0) return period;
    return (period << 1) + (since - period * this.periodUs >= this.restUs ? 1 : 0);
  }

  sliceStart(slice: i64): i64 {
    if (this.isCalendar) return this.calendar.start(slice);
    if (this.restUs == 0) return this.offsetUs + slice * this.periodUs;
    return this.offsetUs + (slice >> 1) * this.periodUs + (slice & 1 ? this.restUs : 0);
  }

  @inline windowStart(window: i64): i64 {
    return this.sliceStart(window * this.step);
  }

  @inline windowEnd(window: i64): i64 {
    return this.sliceStart(window * this.step + this.width);
  }

  /** The first window that a slice is in. */
  @inline firstWindow(slice: i64): i64 {
    return -floorDivide(this.width - 1 - slice, this.step);
  }

  /** The last window that a slice is in. */
  @inline lastWindow(slice: i64): i64 {
    return floorDivide(slice, this.step);
  }

  /** Cuts windows of `size` every `every`, both in slices of a calendar or, with null, in µs. */
  place(size: i64, every: i64, offsetUs: i64, calendar: Calendar): void {
    // A division by zero would trap.
    every = max<i64>(every, 1);
    size = max<i64>(size, every);
    const rest = size % every;
    this.periodUs = every;
    this.offsetUs = offsetUs;
    this.restUs = rest;
    this.width = rest == 0 ? size / every : ((size / every) << 1) + 1;
    this.step = rest == 0 ? 1 : 2;
    this.calendar = calendar;
  }
}

@inline
export function floorDivide(a: i64, b: i64): i64 {
  const quotient = a / b;
  return quotient * b > a ? quotient - 1 : quotient;
}

/** The watermark from which on a window that ends there takes no more events. Saturates at the end of time. */
@inline
export function closingTime(plan: Plan, endUs: i64): i64 {
  const closing = endUs + plan.latenessUs;
  return closing < endUs ? i64.MAX_VALUE : closing;
}

/** The watermark from which on no window takes events of the slice. */
@inline
export function sliceClosingTime(plan: Plan, slice: i64): i64 {
  const axis = plan.axis;
  return closingTime(plan, axis.windowEnd(axis.lastWindow(slice)));
}
