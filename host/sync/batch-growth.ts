import type { BatchSize } from "../../workers/store/sync-operations.ts";

/** An attempt that takes longer is too large for the line: what is urgent would wait behind it. */
const SLOW_MS = 4_000;
/** Of a capped line, what a batch may take. */
const SECONDS_OF_LINE = 1;
const FACTOR = 2;
const SMALLEST_BYTES = 4 * 1024;

export interface GrowthSettings {
  readonly first: BatchSize;
  readonly largest: BatchSize;
  /** Bytes a second; null: no cap. */
  readonly bandwidth: number | null;
}

/** How large batches are: small while everything flows, doubled each time one was full, halved when less than half was needed, and when the line is slow. */
export class BatchGrowth {
  readonly #settings: GrowthSettings;
  #factor = 1;

  constructor(settings: GrowthSettings) {
    this.#settings = settings;
  }

  get size(): BatchSize {
    const { first, largest, bandwidth } = this.#settings;
    const line = bandwidth === null ? largest.bytes : Math.max(SMALLEST_BYTES, bandwidth * SECONDS_OF_LINE);
    return {
      rows: Math.max(1, Math.min(largest.rows, Math.round(first.rows * this.#factor))),
      bytes: Math.max(SMALLEST_BYTES, Math.min(largest.bytes, line, Math.round(first.bytes * this.#factor))),
    };
  }

  /** A batch of `used` was made of the size given out last. */
  claimed(isFull: boolean, used: BatchSize): void {
    const { first, largest } = this.#settings;
    const most = Math.max(largest.rows / first.rows, largest.bytes / first.bytes, 1);
    const { rows, bytes } = this.size;
    if (isFull) this.#factor = Math.min(most, this.#factor * FACTOR);
    else if (used.rows * FACTOR < rows && used.bytes * FACTOR < bytes)
      this.#factor = Math.max(1, this.#factor / FACTOR);
  }

  delivered(tookMs: number): void {
    if (tookMs > SLOW_MS) this.#factor = Math.max(1 / 16, this.#factor / FACTOR / FACTOR);
  }
}
