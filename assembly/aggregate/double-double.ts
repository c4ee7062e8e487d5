/**
 * Sums of doubles kept as an unevaluated pair hi + lo of about 106 bits, so that the rounded result does not depend on
 * the order of the additions.
 *
 * Sources: D. E. Knuth, TAOCP vol. 2, §4.2.2 (TwoSum); T. J. Dekker, "A floating-point technique for extending the
 * available precision", Numer. Math. 18 (1971) (splitting, TwoProduct, double-length arithmetic).
 */

/** The low half of the last product or quotient: AssemblyScript returns one value. */
export let low: f64 = 0;

const SPLITTER: f64 = 134217729; // 2^27 + 1

/** Adds `x` to the pair at `at` (hi, then lo). An infinite sum stays infinite. */
@inline
export function addTo(at: usize, x: f64): void {
  const hi = load<f64>(at);
  const sum = hi + x;
  const back = sum - hi;
  const error = hi - (sum - back) + (x - back);
  const lo = load<f64>(at, 8) + error;
  const top = sum + lo;
  store<f64>(at, top);
  store<f64>(at, lo - (top - sum), 8);
}

/** Adds the pair at `from` to the pair at `at`. */
@inline
export function addPair(at: usize, from: usize): void {
  const lo = load<f64>(from, 8);
  addTo(at, load<f64>(from));
  addTo(at, lo);
}

/** a · b as the returned high half and `low`. Exact while nothing overflows. */
@inline
export function product(a: f64, b: f64): f64 {
  const high = a * b;
  let t = SPLITTER * a;
  const aHigh = t - (t - a);
  const aLow = a - aHigh;
  t = SPLITTER * b;
  const bHigh = t - (t - b);
  const bLow = b - bHigh;
  low = aLow * bLow - (high - aHigh * bHigh - aLow * bHigh - aHigh * bLow);
  return high;
}

/** The pair (hi, lo) divided by n, as one double. */
export function quotient(hi: f64, lo: f64, n: f64): f64 {
  const first = hi / n;
  if (!isFinite(first)) return first;
  const back = product(first, n);
  const rest = hi - back - low + lo;
  return first + rest / n;
}

/** Sample variance from n, Σx and Σx² in double-double: (Σx² − (Σx)²/n) / (n − 1). Needs n ≥ 2. */
export function sampleVariance(n: f64, sum: usize, squares: usize): f64 {
  const hi = load<f64>(sum);
  const lo = load<f64>(sum, 8);
  // mean = Σx / n as a pair
  const mean = hi / n;
  const back = product(mean, n);
  const meanLow = (hi - back - low + lo) / n;
  // Σx · mean as a pair; the smallest cross term is beyond 106 bits
  const square = product(hi, mean);
  const squareLow = low + (hi * meanLow + lo * mean);
  const top = load<f64>(squares) - square;
  const bottom = load<f64>(squares, 8) - squareLow;
  const deviation = top + bottom;
  return deviation > 0 ? deviation / (n - 1) : deviation == deviation ? 0 : deviation;
}
