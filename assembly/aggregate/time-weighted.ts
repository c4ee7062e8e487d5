import { low, twoProduct } from "./exact";
import { firstPoint, POINT_BYTES, pointCount, timeAt, valueAt } from "./points";
import { sumReset, sumRounded, sumTerm } from "./rate";

const US_PER_SECOND: f64 = 1e6;
/** Beyond it, products with times may leave the doubles. */
const VALUE_LIMIT: f64 = 1e250;

/**
 * integral and twa (time-weighted average) of the curve through the points, from the first to the last: straight lines
 * between them (trapezoid rule), or, with `isStep`, steps that hold each value until the next point's time. Among points
 * of one time the curve comes in at the least and goes on from the greatest.
 *
 * Error: none (2 roundings) up to 4,096 different times: every value is weighted by whole microseconds, and the products
 * are summed up exactly. Beyond (see `points.ts`) it is at most the sum, over buckets of time that have lost points, of
 * width · (greatest − least value).
 *
 * Values beyond ±1e250 give null.
 */
export function integralOf(points: usize, isStep: bool): f64 {
  const n = pointCount(points);
  if (n == 0) return NaN;
  return weigh(points, n, isStep) / (isStep ? US_PER_SECOND : 2 * US_PER_SECOND);
}

/** Over a single instant: the last value with steps, else the middle of the first and the last. */
export function averageOf(points: usize, isStep: bool): f64 {
  const n = pointCount(points);
  if (n == 0) return NaN;
  const first = firstPoint(points);
  const last = first + <usize>(n - 1) * POINT_BYTES;
  const elapsedUs = <f64>(timeAt(last) - timeAt(first));
  if (elapsedUs == 0) return isStep ? valueAt(last) : valueAt(first) / 2 + valueAt(last) / 2;
  return weigh(points, n, isStep) / (isStep ? elapsedUs : 2 * elapsedUs);
}

/** The integral in values · µs, twice of it for straight lines; rounded once. */
function weigh(points: usize, n: u32, isStep: bool): f64 {
  const first = firstPoint(points);
  const last = first + <usize>(n - 1) * POINT_BYTES;
  sumReset();
  for (let point = first; point <= last; point += POINT_BYTES) {
    const value = valueAt(point);
    if (abs(value) > VALUE_LIMIT) return NaN;
    const next = point < last ? timeAt(point + POINT_BYTES) : timeAt(last);
    const from = isStep || point == first ? timeAt(point) : timeAt(point - POINT_BYTES);
    const product = twoProduct(value, <f64>(next - from));
    const rest = low;
    sumTerm(product);
    sumTerm(rest);
  }
  return sumRounded();
}
