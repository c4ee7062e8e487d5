/** Before the first retry, at most. */
const BASE_MS = 1_000;
/** Before any retry, at most. */
const LONGEST_MS = 600_000;

/**
 * How long to wait after `attempts` failures, in ms: exponential backoff with full jitter (M. Brooker, "Exponential
 * Backoff And Jitter", AWS Architecture Blog, 2015). `random` gives numbers of [0, 1).
 */
export function backoffMs(attempts: number, random: () => number): number {
  return random() * Math.min(LONGEST_MS, BASE_MS * 2 ** (attempts - 1));
}
