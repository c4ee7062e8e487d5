/** Lets `perSecond` through a second, and as many at once after a pause. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #nowMs: () => number;
  #tokens: number;
  #atMs: number;

  constructor(perSecond: number, nowMs: () => number) {
    this.#perSecond = perSecond;
    this.#nowMs = nowMs;
    this.#tokens = perSecond;
    this.#atMs = nowMs();
  }

  /** Takes one. @returns 0, or the ms until there is one. */
  take(): number {
    const nowMs = this.#nowMs();
    this.#tokens = Math.min(this.#perSecond, this.#tokens + ((nowMs - this.#atMs) / 1_000) * this.#perSecond);
    this.#atMs = nowMs;
    if (this.#tokens < 1) return ((1 - this.#tokens) / this.#perSecond) * 1_000;
    this.#tokens--;
    return 0;
  }
}
