import { MillraceError } from "../errors.ts";

/**
 * A hybrid logical clock's time (Kulkarni, Demirbas, Madappa, Avva, Leone: "Logical Physical Clocks", OPODIS 2014): `ms` is
 * the greatest physical time that was seen, ms since the epoch, and `counter` tells apart what happened within it.
 */
export interface HybridTime {
  readonly ms: number;
  /** 0 to 2^31 - 1. */
  readonly counter: number;
}

export const NO_TIME: HybridTime = { ms: 0, counter: 0 };

const MAX_COUNTER = 2 ** 31 - 1;
/** 275760-09-13: what a `Date` holds. */
const MAX_MS = 8.64e15;

/** Below 0: `a` is the earlier one. */
export function compareTimes(a: HybridTime, b: HybridTime): number {
  return a.ms - b.ms || a.counter - b.counter;
}

/**
 * The time of something that happens now, at physical time `nowMs`, after everything up to `last`. It is later than `last`
 * whatever the physical clock did, and equal to that clock as soon as that is ahead again.
 */
export function tick(last: HybridTime, nowMs: number): HybridTime {
  const physical = Math.max(0, Math.floor(nowMs));
  if (physical > last.ms) return { ms: physical, counter: 0 };
  if (last.counter < MAX_COUNTER) return { ms: last.ms, counter: last.counter + 1 };
  return { ms: last.ms + 1, counter: 0 };
}

/** Having heard of `other`, what happens from here on is later than it. */
export function later(last: HybridTime, other: HybridTime): HybridTime {
  return compareTimes(last, other) < 0 ? other : last;
}

/** `1767225600000-3`: its texts are not in its order. */
export function formatHybridTime({ ms, counter }: HybridTime): string {
  return `${ms}-${counter}`;
}

/** @throws MillraceError E_HYBRID_TIME */
export function readHybridTime(ms: unknown, counter: unknown): HybridTime {
  if (isWhole(ms, MAX_MS) && isWhole(counter, MAX_COUNTER)) return { ms, counter };
  throw new MillraceError("E_HYBRID_TIME", `${String(ms)}-${String(counter)} is no time of a hybrid clock`);
}

function isWhole(value: unknown, most: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most;
}
