import { BigSum } from "./big-sum";
import { low, scaleByPower, twoProduct, twoSum } from "./exact";
import { expansionAdd, expansionAddProduct, expansionReset, expansionRound, expansionTake } from "./expansion";
import { bigAt } from "./sum";

/** Sums of moderate size are used as they stand; others are scaled first, so that nothing over- or underflows. */
const sumScratch = BigSum.create();
const squareScratch = BigSum.create();

/** The sum, rounded once; ±Infinity when it is beyond the doubles. */
export function sumOf(sum: usize, big: usize): f64 {
  if (load<u32>(big) == 0) return load<f64>(sum) + load<f64>(sum, 8);
  return gather(sumScratch, sum, 2, big).round(0);
}

/** The mean of n values, rounded once. */
export function meanOf(n: f64, sum: usize, big: usize): f64 {
  expansionReset();
  if (load<u32>(big) == 0) {
    expansionAdd(load<f64>(sum));
    expansionAdd(load<f64>(sum, 8));
    return divideExpansion(n, 0);
  }
  const all = gather(sumScratch, sum, 2, big);
  const scale = all.leadingExponent();
  for (let i = 0; i < 4; i++) expansionAdd(takeScaled(all, scale));
  return scaleByPower(divideExpansion(n, 0), scale);
}

/**
 * The sample variance of n ≥ 2 values, (n·Σx² − (Σx)²) / (n·(n − 1)), rounded once; only where values differ by more
 * than 2^100 in size may the last bit be off.
 */
export function varianceOf(n: f64, sum: usize, sumBig: usize, squares: usize, squaresBig: usize): f64 {
  let scale: i32 = 0;
  expansionReset();
  if (load<u32>(sumBig) == 0 && load<u32>(squaresBig) == 0) {
    for (let i: usize = 0; i < 24; i += 8) expansionAddProduct(n, load<f64>(squares + i));
    subtractSquare(load<f64>(sum), load<f64>(sum, 8), 0);
  } else {
    // Exact sums can be wider than doubles reach: taken apart after division by a power of two. Their first 212 bits.
    const allSquares = gather(squareScratch, squares, 3, squaresBig);
    const all = gather(sumScratch, sum, 2, sumBig);
    scale = allSquares.leadingExponent() >> 1;
    for (let i = 0; i < 4; i++) expansionAddProduct(n, takeScaled(allSquares, scale << 1));
    const first = takeScaled(all, scale);
    const second = takeScaled(all, scale);
    subtractSquare(first, second, takeScaled(all, scale));
  }
  if (!(expansionRound() > 0)) return 0;
  const divisor = twoProduct(n, n - 1);
  return scaleByPower(divideExpansion(divisor, low), scale << 1);
}

/** Subtracts (a + b + c)² from the expansion. */
function subtractSquare(a: f64, b: f64, c: f64): void {
  expansionAddProduct(-a, a);
  expansionAddProduct(-2 * a, b);
  expansionAddProduct(-b, b);
  if (c == 0) return;
  expansionAddProduct(-2 * a, c);
  expansionAddProduct(-2 * b, c);
  expansionAdd(-c * c);
}

/** The expansion divided by n + m (|m| ≤ ulp(n), n > 0), rounded once. Uses the expansion up. */
function divideExpansion(n: f64, m: f64): f64 {
  const first = expansionTake();
  const second = expansionTake();
  const quotient = first / n;
  const product = twoProduct(quotient, n);
  const rest = first - product - low + second - quotient * m;
  const result = twoSum(quotient, rest / n);
  // Far enough from the middle between two doubles that the estimate's error cannot matter?
  if (result == 0 || result + low * 1.000001 == result) return result;
  expansionAdd(first);
  expansionAdd(second);
  return settle(result, n, m);
}

/** Chooses between an estimated quotient and its neighbour, by exact remainders. */
function settle(quotient: f64, n: f64, m: f64): f64 {
  subtractProduct(quotient, n, m);
  const remainder = expansionRound();
  if (remainder == 0) return quotient;
  const bits = reinterpret<i64>(quotient);
  const neighbour = reinterpret<f64>(remainder > 0 == quotient > 0 ? bits + 1 : bits - 1);
  subtractProduct((neighbour - quotient) * 0.5, n, m);
  const beyond = expansionRound();
  if (beyond == 0) return (bits & 1) == 0 ? quotient : neighbour;
  return beyond > 0 == remainder > 0 ? neighbour : quotient;
}

function subtractProduct(quotient: f64, n: f64, m: f64): void {
  expansionAddProduct(-quotient, n);
  if (m != 0) expansionAddProduct(-quotient, m);
}

function takeScaled(from: BigSum, scale: i32): f64 {
  const rounded = from.round(scale);
  from.addScaled(-rounded, scale);
  return rounded;
}

/** Everything of a sum in one BigSum. */
function gather(into: BigSum, parts: usize, count: usize, big: usize): BigSum {
  if (load<u32>(big) == 0) into.clear();
  else into.copyFrom(bigAt(big));
  for (let i: usize = 0; i < count; i++) into.add(load<f64>(parts + (i << 3)));
  return into;
}
