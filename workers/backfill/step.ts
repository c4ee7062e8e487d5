import { type Portion, RESULT_PORTION } from "../core/portion.ts";
import type { ResultRow, StoredBlock } from "../messages.ts";
import { packResults } from "../result-rows.ts";

/** What one slice of the work gave. */
export interface BackfillStep {
  /** As `result-rows.ts` packs them. */
  readonly rows: string;
  /** Events of the second part that belong to windows closed before, by block. */
  readonly late: readonly LatePart[];
  readonly blocks: number;
  readonly events: number;
  /** Events of blocks that cannot be read. */
  readonly unreadable: number;
  readonly isDone: boolean;
}

export interface LatePart {
  readonly seq: number;
  readonly arrivalUs: number;
  readonly block: StoredBlock;
  readonly rows: Uint8Array;
}

/** Events in a slice: about 50 ms. */
const STEP_EVENTS = 200_000;
/** Results in a slice: those of several portions. */
const STEP_RESULTS: Portion = { rows: RESULT_PORTION.rows * 8, chars: RESULT_PORTION.chars * 8 };

/** Gathers what a slice gives. */
export class StepOutput {
  readonly #texts: string[] = [];
  readonly #late: LatePart[] = [];
  #rows = 0;
  #chars = 0;
  blocks = 0;
  events = 0;
  unreadable = 0;

  addRows(rows: readonly ResultRow[]): void {
    if (rows.length === 0) return;
    const text = packResults(rows);
    this.#texts.push(text);
    this.#rows += rows.length;
    this.#chars += text.length;
  }

  addLate(part: LatePart): void {
    this.#late.push(part);
  }

  get isFull(): boolean {
    return this.events >= STEP_EVENTS || this.#rows >= STEP_RESULTS.rows || this.#chars >= STEP_RESULTS.chars;
  }

  /** All so far; what comes is the next slice. */
  take(isDone: boolean): BackfillStep {
    const { blocks, events, unreadable } = this;
    this.blocks = 0;
    this.events = 0;
    this.unreadable = 0;
    this.#rows = 0;
    this.#chars = 0;
    const rows = this.#texts.splice(0).join("\n");
    return { rows, late: this.#late.splice(0), blocks, events, unreadable, isDone };
  }
}

/** Goes on with the work until a slice is full, or it is through. */
export function nextStep(work: Generator<void>, output: StepOutput): BackfillStep {
  const { done } = work.next();
  return output.take(done === true);
}
