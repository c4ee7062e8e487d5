export interface RetryTimes {
  readonly firstMs: number;
  readonly longestMs: number;
}

/**
 * How long to wait after `failures` of them, in ms: exponential backoff with full jitter (M. Brooker, "Exponential Backoff
 * And Jitter", AWS Architecture Blog, 2015), and no less than the sink asked for. `random` gives numbers of [0, 1).
 */
export function retryDelayMs(
  failures: number,
  { firstMs, longestMs }: RetryTimes,
  retryAfterMs: number,
  random: () => number,
): number {
  const backoff = random() * Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 40));
  // A whole fleet may have been asked to come back at the same moment.
  return Math.max(backoff, retryAfterMs * (1 + random() * RETRY_AFTER_SPREAD));
}

const RETRY_AFTER_SPREAD = 0.25;

/** A period that no two nodes share: up to a quarter longer or shorter. */
export function jittered(periodMs: number, random: () => number): number {
  return periodMs * (0.75 + random() * 0.5);
}

/** As `jittered`, of a limit that must not be passed: up to half of it shorter. */
export function shortened(limitMs: number, random: () => number): number {
  return limitMs * (1 - random() / 2);
}
