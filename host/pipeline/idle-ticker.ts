import type { StreamConfig } from "../config/config.ts";
import type { WindowWorker } from "./window-worker.ts";

/** A source's idleness is looked for this often within its `idle` … */
const LOOKS_WITHIN_IDLE = 4;
/** … but not more or less often than this. */
const SHORTEST_MS = 20;
const LONGEST_MS = 1_000;

export interface TickerParts {
  readonly windows: Pick<WindowWorker, "idleStreams">;
  readonly nowUs: () => number;
  /** Writes a tick to the log and applies it. */
  readonly tick: (stream: string, atUs: number) => Promise<unknown>;
  readonly onFailure: (cause: unknown) => void;
}

/**
 * Lets time go on where nothing arrives: when sources that hold a watermark back have become idle, a tick is written to
 * the log, so that a replay repeats it. None is written that would change nothing.
 */
export class IdleTicker {
  readonly #parts: TickerParts;
  #timer: NodeJS.Timeout | null = null;
  #everyMs = Number.POSITIVE_INFINITY;
  #look: Promise<void> | null = null;

  constructor(parts: TickerParts) {
    this.#parts = parts;
  }

  /** Looks after a stream; those with one watermark for all have no sources to wait for. */
  watch({ watermark: { per, idleUs } }: StreamConfig): void {
    if (per !== "source") return;
    const everyMs = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, idleUs / 1_000 / LOOKS_WITHIN_IDLE));
    if (everyMs >= this.#everyMs) return;
    this.#everyMs = everyMs;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = setInterval(() => {
      this.#look ??= this.#tickIdle()
        .catch(this.#parts.onFailure)
        .finally(() => {
          this.#look = null;
        });
    }, everyMs);
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    await this.#look;
  }

  async #tickIdle(): Promise<void> {
    const { windows, nowUs, tick } = this.#parts;
    const atUs = nowUs();
    for (const stream of await windows.idleStreams(atUs)) await tick(stream, atUs);
  }
}
