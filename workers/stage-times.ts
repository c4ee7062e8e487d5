/** What a lane took for one batch, in ns by the clock. */
export interface LaneTimes {
  readonly parseNs: number;
  /** Filters, derived fields, partial aggregates, what the clocks need. */
  readonly applyNs: number;
  readonly encodeNs: number;
  readonly compressNs: number;
}

/** What the window thread took since it was last asked, in ns by the clock. */
export interface WindowTimes {
  /** Partials merged, by key. */
  readonly mergeNs: number;
  /** All else that it did: watermarks, windows that fire, their rows, alerts. */
  readonly emitNs: number;
}

/** Tells merging from all else that is done in one stretch. Two readings of the clock for each block merged. */
export class MergeWatch {
  #startedMs = 0;
  #mergedMs = 0;

  begin(): void {
    this.#startedMs = performance.now();
    this.#mergedMs = 0;
  }

  merging(work: () => void): void {
    const startedMs = performance.now();
    work();
    this.#mergedMs += performance.now() - startedMs;
  }

  end(): WindowTimes {
    const elsewhereMs = performance.now() - this.#startedMs - this.#mergedMs;
    return { mergeNs: this.#mergedMs * 1e6, emitNs: Math.max(0, elsewhereMs) * 1e6 };
  }
}
