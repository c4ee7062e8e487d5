import { setTimeout } from "node:timers/promises";

type Sleep = (ms: number, signal: AbortSignal) => Promise<unknown>;

/** What may be sent at once after a pause, in seconds of the rate. */
const BURST_SECONDS = 0.25;

/**
 * Lets so many bytes a second through, whoever sends them: a token bucket in which a sender goes into debt and waits until
 * it is paid, so that portions of any size keep the rate. First come, first served.
 */
export class ByteBucket {
  readonly #perSecond: number;
  readonly #nowMs: () => number;
  readonly #sleep: Sleep;
  #tokens: number;
  #atMs: number;

  constructor(
    bytesPerSecond: number,
    nowMs: () => number,
    sleep: Sleep = (ms, signal) => setTimeout(ms, undefined, { signal }),
  ) {
    this.#sleep = sleep;
    this.#perSecond = bytesPerSecond;
    this.#nowMs = nowMs;
    this.#tokens = bytesPerSecond * BURST_SECONDS;
    this.#atMs = nowMs();
  }

  /** A portion that keeps several senders moving: what the line takes in a tenth of a second. */
  get portionBytes(): number {
    return Math.max(512, Math.min(64 * 1024, Math.floor(this.#perSecond / 10)));
  }

  /** Resolves when the bytes may be sent. Rejects when the signal aborts. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    const nowMs = this.#nowMs();
    const most = this.#perSecond * BURST_SECONDS;
    this.#tokens = Math.min(most, this.#tokens + ((nowMs - this.#atMs) / 1_000) * this.#perSecond) - bytes;
    this.#atMs = nowMs;
    if (this.#tokens < 0) await this.#sleep((-this.#tokens / this.#perSecond) * 1_000, signal);
  }
}
