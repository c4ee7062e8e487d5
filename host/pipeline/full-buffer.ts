import type { Clock } from "./clock.ts";
import type { IngestRefusal } from "./engine.ts";

/** After a batch that found no room, others are refused for so long without a look; then one is tried. */
const PAUSE_MS = 1_000;

/** Remembers that the store had no room for events, so that bodies are refused before they are read. */
export class FullBuffer {
  readonly #clock: Clock;
  #last: { readonly untilMs: number; readonly refusal: IngestRefusal } | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What senders are answered at the moment; null: they may try. */
  get refusal(): IngestRefusal | null {
    return this.#last !== null && this.#clock.monotonicMs() < this.#last.untilMs ? this.#last.refusal : null;
  }

  /** A batch found no room: the answer for its sender. */
  refuse(detail: string): IngestRefusal {
    const refusal = { kind: "buffer-full", retryAfterSeconds: Math.ceil(PAUSE_MS / 1_000), detail } as const;
    this.#last = { untilMs: this.#clock.monotonicMs() + PAUSE_MS, refusal };
    return refusal;
  }
}
