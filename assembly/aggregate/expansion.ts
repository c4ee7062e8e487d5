import { low, twoProduct, twoSum } from "./exact";

/** Parts the expansion can hold; its users add at most 24 numbers. */
const CAPACITY: u32 = 48;

const parts = memory.data(48 * 8, 8);
let count: u32 = 0;

/**
 * One exact sum of a few doubles, held as parts that do not overlap, smallest first.
 *
 * Source: J. R. Shewchuk, "Adaptive precision floating-point arithmetic and fast robust geometric predicates" (1997),
 * grow-expansion with zeros left out. Module state: used from start to end by one caller at a time.
 */
export function expansionReset(): void {
  count = 0;
}

/** Adds x exactly. */
export function expansionAdd(x: f64): void {
  let kept: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    x = twoSum(x, load<f64>(parts + (i << 3)));
    if (low != 0) store<f64>(parts + (kept++ << 3), low);
  }
  if (x != 0 && kept < CAPACITY) store<f64>(parts + (kept++ << 3), x);
  count = kept;
}

/** Adds a · b exactly. */
export function expansionAddProduct(a: f64, b: f64): void {
  const product = twoProduct(a, b);
  const rest = low;
  expansionAdd(product);
  expansionAdd(rest);
}

/** The nearest double to the sum, ties to even (the last step of Python's `math.fsum`). */
export function expansionRound(): f64 {
  if (count == 0) return 0;
  let i = count - 1;
  let sum = load<f64>(parts + (i << 3));
  let rest: f64 = 0;
  while (i > 0) {
    i--;
    sum = twoSum(sum, load<f64>(parts + (i << 3)));
    rest = low;
    if (rest != 0) break;
  }
  // A tie so far is decided by the sign of what is below.
  if (i > 0 && rest != 0 && rest < 0 == load<f64>(parts + ((i - 1) << 3)) < 0) {
    const doubled = rest * 2;
    const up = sum + doubled;
    if (up - sum == doubled) sum = up;
  }
  return sum;
}

/** Takes the nearest double out of the sum: called again and again it gives the sum's only such decomposition. */
export function expansionTake(): f64 {
  const rounded = expansionRound();
  if (rounded != 0) expansionAdd(-rounded);
  return rounded;
}
