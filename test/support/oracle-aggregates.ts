import type { AggregateName } from "../../workers/messages.ts";
import { ExactSums } from "./exact.ts";

/** The further aggregates the slow way: from all events at once. Values of any type; null where there is none. */

export type OracleValue = boolean | number | bigint | string;
export interface TimedValue {
  readonly timeUs: number;
  readonly value: OracleValue | null;
}

export interface Counted {
  readonly value: OracleValue;
  readonly count: number;
}

export interface TimedNumber {
  readonly timeUs: number;
  readonly value: number;
}

const US_PER_SECOND = 1e6;

/** false, true, numbers, texts by code points. */
export function compareOracleValues(a: OracleValue, b: OracleValue): number {
  const rank = (value: OracleValue): number =>
    typeof value === "boolean" ? 0 : typeof value === "string" ? 2 : 1;
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (typeof a === "string" && typeof b === "string") return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The result of an aggregate as JSON has it; topk, distinct and mode as if nothing were approximate. */
export function aggregatePlainly(
  fn: AggregateName,
  events: readonly TimedValue[],
  { parameter = null, bounds = [] }: { parameter?: number | null; bounds?: readonly number[] } = {},
): unknown {
  const present = events.filter(
    (event): event is { timeUs: number; value: OracleValue } => event.value !== null,
  );
  const bools = present.flatMap(({ value }) => (typeof value === "boolean" ? [value] : []));
  switch (fn) {
    case "any":
      return bools.length === 0 ? null : bools.includes(true);
    case "all":
      return bools.length === 0 ? null : !bools.includes(false);
    case "distinct":
      return countEach(present).length;
    case "topk":
      return countEach(present).slice(0, parameter ?? 0);
    case "mode":
      return countEach(present)[0]?.value ?? null;
    case "min":
    case "max":
    case "first":
    case "last":
      return chosen(fn, asKept(present));
    default:
      return ofPoints(fn, pointsOf(present), parameter !== null, bounds);
  }
}

/** Each value once with how often it is there, the most frequent first, of equally frequent ones the smaller. */
export function countEach(events: readonly { readonly value: OracleValue }[]): Counted[] {
  const counts = new Map<OracleValue, number>();
  for (const { value } of events) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts]
    .map(([value, count]) => ({ value, count }))
    .toSorted((a, b) => b.count - a.count || compareOracleValues(a.value, b.value));
}

/** Bools beside numbers are 0 and 1; alone they stay what they are. */
function asKept(events: readonly { timeUs: number; value: OracleValue }[]): typeof events {
  const hasNumbers = events.some(({ value }) => typeof value === "number" || typeof value === "bigint");
  return events.map(({ timeUs, value }) => ({
    timeUs,
    value: typeof value === "bigint" || (hasNumbers && typeof value === "boolean") ? Number(value) : value,
  }));
}

function chosen(
  fn: "min" | "max" | "first" | "last",
  events: readonly { timeUs: number; value: OracleValue }[],
): OracleValue | null {
  const byValue = events.toSorted((a, b) => compareOracleValues(a.value, b.value));
  const byTime = byValue.toSorted((a, b) => a.timeUs - b.timeUs);
  const order = fn === "min" || fn === "max" ? byValue : byTime;
  return (fn === "min" || fn === "first" ? order[0] : order.at(-1))?.value ?? null;
}

/** By time, of equal times by value. */
function pointsOf(events: readonly { timeUs: number; value: OracleValue }[]): TimedNumber[] {
  return events
    .filter(({ value }) => typeof value !== "string")
    .map(({ timeUs, value }) => ({ timeUs, value: Number(value) }))
    .toSorted((a, b) => a.timeUs - b.timeUs || a.value - b.value);
}

function ofPoints(
  fn: AggregateName,
  points: readonly TimedNumber[],
  isStep: boolean,
  bounds: readonly number[],
): unknown {
  if (fn === "histogram") return { bounds, counts: countBetween(points, bounds) };
  const first = points[0];
  const last = points.at(-1);
  if (first === undefined || last === undefined) return null;
  const elapsedUs = last.timeUs - first.timeUs;
  const steps = isStep ? 1 : 2;
  switch (fn) {
    case "delta":
      return last.value - first.value;
    case "rate":
      return elapsedUs === 0 ? null : growth(points) / (elapsedUs / US_PER_SECOND);
    case "integral":
      return area(points, isStep) / (steps * US_PER_SECOND);
    case "twa":
      if (elapsedUs !== 0) return area(points, isStep) / (steps * elapsedUs);
      return isStep ? last.value : first.value / 2 + last.value / 2;
    default:
      throw new Error(`the oracle has no ${fn}()`);
  }
}

function countBetween(points: readonly TimedNumber[], bounds: readonly number[]): number[] {
  const lower = [Number.NEGATIVE_INFINITY, ...bounds];
  return lower.map(
    (from, index) =>
      points.filter(({ value }) => value >= from && !(value >= (lower[index + 1] ?? Infinity))).length,
  );
}

/** Step by step: a rise counts, after a fall the counter began again at 0. */
function growth(points: readonly TimedNumber[]): number {
  const sums = new ExactSums();
  points.forEach(({ value }, index) => {
    const before = points[index - 1]?.value;
    if (before === undefined) return;
    sums.addWeighted(value, 1n);
    if (value >= before) sums.addWeighted(before, -1n);
  });
  return sums.sum;
}

/** In values · µs, twice of it for straight lines. */
function area(points: readonly TimedNumber[], isStep: boolean): number {
  const sums = new ExactSums();
  points.forEach(({ timeUs, value }, index) => {
    const next = points[index + 1];
    if (next === undefined) return;
    const widthUs = BigInt(next.timeUs - timeUs);
    sums.addWeighted(value, widthUs);
    if (!isStep) sums.addWeighted(next.value, widthUs);
  });
  return sums.sum;
}

/**
 * Points as they are kept when they are of too many times: of each bucket of 2^level µs the first, the last, the least and
 * the greatest, at the lowest level with so few buckets.
 */
export function thinPlainly(
  points: readonly TimedNumber[],
  maxBuckets: number,
): { readonly kept: readonly TimedNumber[] }[] {
  let level = 0;
  const bucketOf = ({ timeUs }: TimedNumber): number => Math.floor(timeUs / 2 ** level);
  while (new Set(points.map(bucketOf)).size > maxBuckets) level++;
  return [...Map.groupBy(points, bucketOf).values()].map((bucket) => {
    const byTime = bucket.toSorted((a, b) => a.timeUs - b.timeUs || a.value - b.value);
    const rising = bucket.toSorted((a, b) => a.value - b.value || a.timeUs - b.timeUs);
    const falling = bucket.toSorted((a, b) => b.value - a.value || a.timeUs - b.timeUs);
    return { kept: [byTime[0]!, byTime.at(-1)!, rising[0]!, falling[0]!] };
  });
}
