/** What is decided is decided from so long a stretch: long enough that one body, or a start's first slow ones, decides nothing. */
const PERIOD_MS = 1_000;
/** Of a period, the part in which a task waited behind another from which on one lane more is wanted. */
const WAITING_SHARE = 0.25;
/** A lane more than needed: what all of them did in a period would have taken one fewer less than this part of it. */
const SPARE_SHARE = 0.3;
/** Periods in a row with a lane more than needed, until it is ended: a start costs some 50 ms of processor time. */
const SPARE_PERIODS = 20;

export type Demand = "more" | "enough" | "fewer";

/**
 * Whether there are as many lanes as there is work, by how long tasks wait for one another: not by how many there are, for at a hundred
 * requests a second several at once are done before the next come.
 *
 * Cost: two reads of the clock a block.
 */
export class LaneDemand {
  #lanes = 0;
  #tasks = 0;
  #notedMs = 0;
  #periodStartMs = 0;
  #waitingMs = 0;
  /** Of all lanes together. */
  #workedMs = 0;
  #sparePeriods = 0;

  /**
   * To be called whenever a task has come or gone, and now and then while there are none.
   *
   * @param tasks under way or waiting for a lane
   * @returns other than "enough" once at the end of a period
   */
  note(nowMs: number, lanes: number, tasks: number): Demand {
    const passedMs = nowMs - this.#notedMs;
    if (this.#tasks > this.#lanes) this.#waitingMs += passedMs;
    this.#workedMs += passedMs * Math.min(this.#tasks, this.#lanes);
    this.#notedMs = nowMs;
    this.#lanes = lanes;
    this.#tasks = tasks;
    const periodMs = nowMs - this.#periodStartMs;
    return periodMs < PERIOD_MS ? "enough" : this.#judge(nowMs, periodMs);
  }

  #judge(nowMs: number, periodMs: number): Demand {
    const isWanted = this.#waitingMs >= periodMs * WAITING_SHARE;
    const isSpare = this.#workedMs < periodMs * (this.#lanes - 1) * SPARE_SHARE;
    this.#periodStartMs = nowMs;
    this.#waitingMs = 0;
    this.#workedMs = 0;
    this.#sparePeriods = isSpare ? this.#sparePeriods + 1 : 0;
    if (isWanted) return "more";
    if (this.#sparePeriods < SPARE_PERIODS) return "enough";
    this.#sparePeriods = 0;
    return "fewer";
  }
}
