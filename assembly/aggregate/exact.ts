/**
 * Error-free transformations of doubles: each gives a rounded result and, in `low`, exactly what rounding cut off.
 *
 * Sources: D. E. Knuth, TAOCP vol. 2, §4.2.2 (twoSum); T. J. Dekker, "A floating-point technique for extending the
 * available precision", Numer. Math. 18 (1971) (twoProduct; WASM has no fused multiply-add).
 */

/** What the last operation cut off: AssemblyScript returns one value. */
export let low: f64 = 0;

const SPLITTER: f64 = 134217729; // 2^27 + 1

/** a + b. Exact for all finite numbers whose sum does not overflow. */
@inline
export function twoSum(a: f64, b: f64): f64 {
  const sum = a + b;
  const back = sum - a;
  low = a - (sum - back) + (b - back);
  return sum;
}

/** a · b. Exact while |a|, |b| < 2^900 and the product's last bit is no smaller than 2^-1074. */
@inline
export function twoProduct(a: f64, b: f64): f64 {
  const product = a * b;
  let t = SPLITTER * a;
  const aHigh = t - (t - a);
  const aLow = a - aHigh;
  t = SPLITTER * b;
  const bHigh = t - (t - b);
  const bLow = b - bHigh;
  low = aLow * bLow - (product - aHigh * bHigh - aLow * bHigh - aHigh * bLow);
  return product;
}

/** m · 2^k, rounded once unless the result is subnormal and inexact. */
export function scaleByPower(m: f64, k: i32): f64 {
  while (k > 1023) {
    m *= 8.98846567431158e307; // 2^1023
    k -= 1023;
  }
  while (k < -1022) {
    m *= 2.2250738585072014e-308; // 2^-1022
    k += 1022;
  }
  return m * reinterpret<f64>(<u64>(k + 1023) << 52);
}
