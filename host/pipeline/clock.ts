/** Where the time comes from; tests bring their own. */
export interface Clock {
  /** Wall clock, µs since the epoch. */
  nowUs(): number;
  /** Monotonic, ms. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  nowUs: () => Date.now() * 1000,
  monotonicMs: () => performance.now(),
};
