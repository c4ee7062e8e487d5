/** A batch is suspected when a line as bad as this one would have failed it so often once in a billion times. */
const CHANCE = 1e-9;
/** First attempts that are remembered, about: the line of an hour ago says nothing. */
const MEMORY = 200;

/**
 * How bad a line is, told by first attempts of batches alone: one that is itself at fault has but one of them, however often it is tried
 * again. Shares are estimated by Laplace's rule of succession.
 */
export class LineQuality {
  #tried = 0;
  #failed = 0;

  firstAttempt(outcome: "came-through" | "failed"): void {
    this.#tried++;
    if (outcome === "failed") this.#failed++;
    if (this.#tried < MEMORY) return;
    this.#tried /= 2;
    this.#failed /= 2;
  }

  /** Share of attempts that fail whatever they carry, in (0, 1). */
  get failureShare(): number {
    return (this.#failed + 1) / (this.#tried + 2);
  }

  /** So many failures while others went through, and no fewer than `least`, say that the batch is at fault and not the line. */
  failuresThatTell(least: number): number {
    return Math.max(least, Math.ceil(Math.log(CHANCE) / Math.log(this.failureShare)));
  }
}
