import { sumOf } from "./moments";
import { firstPoint, POINT_BYTES, pointCount, timeAt, valueAt } from "./points";
import { bigAt, sumAdd } from "./sum";

/** A sum that is exact until it is rounded: see `sum.ts`. */
const sum = memory.data(16, 8);
const big = memory.data(4, 4);
const US_PER_SECOND: f64 = 1e6;

export function sumReset(): void {
  memory.fill(sum, 0, 16);
  if (load<u32>(big) != 0) bigAt(big).clear();
}

@inline
export function sumTerm(term: f64): void {
  sumAdd(sum, big, term);
}

export function sumRounded(): f64 {
  return sumOf(sum, big);
}

/**
 * rate: by how much a counter grows a second, from the first to the last point; null where they are of one time.
 *
 * A fall is a reset: the counter began again at 0, and what it shows then is growth (Prometheus's rule; unlike there,
 * nothing is extrapolated to the window's ends). So the growth is last − first + Σ of what stood before each fall, summed
 * up exactly and rounded once.
 *
 * Error: none (2 roundings) up to 4,096 different times. Beyond (see `points.ts`), a reset after which the counter passed
 * within one bucket of time what it had shown before may be missed; then the rate is too small, by that.
 */
export function rateOf(points: usize): f64 {
  const n = pointCount(points);
  if (n < 2) return NaN;
  const first = firstPoint(points);
  const last = first + <usize>(n - 1) * POINT_BYTES;
  const elapsedUs = timeAt(last) - timeAt(first);
  if (elapsedUs == 0) return NaN;
  sumReset();
  sumTerm(valueAt(last));
  sumTerm(-valueAt(first));
  for (let point = first; point < last; point += POINT_BYTES) {
    if (valueAt(point + POINT_BYTES) < valueAt(point)) sumTerm(valueAt(point));
  }
  return sumRounded() / (<f64>elapsedUs / US_PER_SECOND);
}
