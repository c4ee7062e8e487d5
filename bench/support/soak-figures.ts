import type { SentBody } from "./open-loop-client.ts";

/** One value at a time, ms. */
export type Point = readonly [atMs: number, value: number];

/** A stretch of time within which every body that was due waited too long for its acknowledgement. */
export interface Stall {
  readonly fromMs: number;
  /** The longest wait in it, ms. */
  readonly longestMs: number;
  readonly bodies: number;
}

const MS_PER_HOUR = 3_600_000;

/**
 * How fast a value grows, by hour: the slope of the straight line through the points by least squares. NaN for fewer than two
 * moments.
 */
export function slopePerHour(points: readonly Point[]): number {
  const meanMs = mean(points.map(([atMs]) => atMs));
  const meanValue = mean(points.map(([, value]) => value));
  let products = 0;
  let squares = 0;
  for (const [atMs, value] of points) {
    products += (atMs - meanMs) * (value - meanValue);
    squares += (atMs - meanMs) ** 2;
  }
  return squares === 0 ? Number.NaN : (products / squares) * MS_PER_HOUR;
}

/** Waits beyond `limitMs`, those of bodies that were due one after the other as one. */
export function stallsOf(sent: readonly SentBody[], limitMs: number): Stall[] {
  const stalls: { fromMs: number; longestMs: number; bodies: number }[] = [];
  let isStalled = false;
  for (const [dueMs, ackMs] of sent.toSorted(([a], [b]) => a - b)) {
    const waitedMs = ackMs - dueMs;
    const wasStalled = isStalled;
    isStalled = waitedMs > limitMs;
    if (!isStalled) continue;
    if (!wasStalled) stalls.push({ fromMs: dueMs, longestMs: 0, bodies: 0 });
    const stall = stalls.at(-1)!;
    stall.longestMs = Math.max(stall.longestMs, waitedMs);
    stall.bodies++;
  }
  return stalls;
}

/** The greatest value; NaN when there is none. Arrays of an hour are too long for the arguments of `Math.max`. */
export function greatest(values: readonly number[]): number {
  return values.reduce((most, value) => (value > most ? value : most), values[0] ?? Number.NaN);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
