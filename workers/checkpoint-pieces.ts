import { type Frame, framesOf } from "./checkpoint-frames.ts";
import type { StateCapture } from "./core/capture.ts";
import { releaseBytes } from "./move.ts";

/** How long a thread is held for pieces at once, in ms; the last piece may go beyond by what it takes, about 4 ms. */
const STEP_MS = 5;

/** Some pieces of a checkpoint. */
export interface CheckpointStep {
  readonly frames: readonly Frame[];
  readonly isDone: boolean;
  /** Bytes that wait to be told since their records have changed. */
  readonly savedBytes: number;
  /** How long the thread was held. */
  readonly heldMs: number;
}

export interface CapturedPart {
  /** The query's number in the head. */
  readonly part: number;
  readonly capture: StateCapture;
}

/** A checkpoint that is being told, piece by piece, as of the moment when its captures began. */
export class CheckpointPieces {
  #pack: (() => Uint8Array) | null;
  readonly #parts: readonly CapturedPart[];
  #at = 0;

  /** `pack`: makes the head of what was taken when the captures began; called once, in a step of its own. */
  constructor(pack: () => Uint8Array, parts: readonly CapturedPart[]) {
    this.#pack = pack;
    this.#parts = parts;
  }

  /** As many pieces as take about `STEP_MS`. */
  next(): CheckpointStep {
    const startedMs = performance.now();
    const frames: Frame[] = [];
    if (this.#pack !== null) {
      frames.push(...framesOf("head", 0, this.#pack()));
      this.#pack = null;
      return { frames, isDone: false, savedBytes: 0, heldMs: performance.now() - startedMs };
    }
    for (;;) {
      const current = this.#parts[this.#at];
      const heldMs = performance.now() - startedMs;
      if (current === undefined) return { frames, isDone: true, savedBytes: 0, heldMs };
      if (heldMs > STEP_MS) return { frames, isDone: false, savedBytes: this.#savedBytes(), heldMs };
      const piece = current.capture.next();
      if (piece === null) {
        current.capture.end("kept");
        this.#at++;
      } else if (piece !== "looking") {
        frames.push(...framesOf("records", current.part, piece));
        releaseBytes(piece);
      }
    }
  }

  #savedBytes(): number {
    return this.#parts.slice(this.#at).reduce((sum, { capture }) => sum + capture.savedBytes(), 0);
  }

  /** Gives up what has not been told: the next checkpoint must be whole. */
  drop(): void {
    for (const { capture } of this.#parts.slice(this.#at)) capture.end("dropped");
  }
}
