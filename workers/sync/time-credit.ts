/**
 * A share of the time that passes, to be spent on what need not be done. Unspent it does not grow beyond `mostMs`; what was
 * overdrawn is waited for.
 */
export class TimeCredit {
  readonly #share: number;
  readonly #mostMs: number;
  readonly #nowMs: () => number;
  #ms: number;
  #atMs: number;

  /** `nowMs` is monotonic. */
  constructor(share: number, mostMs: number, nowMs: () => number) {
    this.#share = share;
    this.#mostMs = mostMs;
    this.#nowMs = nowMs;
    this.#ms = mostMs;
    this.#atMs = nowMs();
  }

  get isLeft(): boolean {
    const nowMs = this.#nowMs();
    this.#ms = Math.min(this.#mostMs, this.#ms + (nowMs - this.#atMs) * this.#share);
    this.#atMs = nowMs;
    return this.#ms > 0;
  }

  /** Runs it at the credit's expense. */
  spend<T>(run: () => T): T {
    const startedMs = this.#nowMs();
    try {
      return run();
    } finally {
      this.#ms -= this.#nowMs() - startedMs;
    }
  }
}
