/** What the server says of a stream, and of the group's consumer of it, at one time. */
export interface StreamLook {
  /** When the consumer was made: tells it from the one that took its place. */
  readonly created: string;
  /** Whatever the group acknowledges goes from the stream, and nothing there is for others. */
  readonly isWorkQueue: boolean;
  /** The sequence of the oldest message that the group is not done with; null: it is done with all. */
  readonly oldest: number | null;
  readonly messages: number;
  /** Not given out yet, as the server has it. */
  readonly waiting: number;
  /** Given out and not acknowledged, as the server has it. */
  readonly unacknowledged: number;
}

/**
 * `consume-anew`: this hub asks for messages over a new connection. `make-anew`: the group's consumer is deleted and made
 * again, and the server gives out whatever is in the stream.
 */
export type Remedy = "consume-anew" | "make-anew";

/** A message that stands whatever is done, as one that no hub of this release reads, leads to a remedy once in this time. */
const LONGEST_PATIENCE_MS = 3_600_000;

/**
 * Judges whether a stream has come to a stand: its oldest message is the same for `maxWaitMs`, and this hub has not been given
 * it meanwhile. That a message be given out, worked on or refused by another hub cannot be told from that, so a remedy must do no
 * harm where none was needed; each that did not help doubles the time to the next one, which all hubs of a group count alike by
 * the consumers that they see come.
 */
export class StreamWatch {
  readonly #maxWaitMs: number;
  #oldest: number | null = null;
  #created = "";
  #sinceMs = 0;
  #givenAtMs = Number.NEGATIVE_INFINITY;
  #remedies = 0;
  #isConsumedAnew = false;

  /** `maxWaitMs` > 0. */
  constructor(maxWaitMs: number) {
    this.#maxWaitMs = maxWaitMs;
  }

  /** This hub was given the message, or has it in hand still. */
  given(sequence: number, nowMs: number): void {
    this.#givenAtMs = nowMs;
    if (sequence === this.#oldest) this.#sinceMs = nowMs;
  }

  /** The server was away: that is no time in which it could have given anything out. */
  interrupted(nowMs: number): void {
    this.#sinceMs = nowMs;
  }

  /** How long the oldest message has stood, ms. */
  standsForMs(nowMs: number): number {
    return this.#oldest === null ? 0 : nowMs - this.#sinceMs;
  }

  judge(look: StreamLook, nowMs: number): Remedy | null {
    const { oldest, created } = look;
    if (oldest === null || oldest !== this.#oldest) {
      this.#oldest = oldest;
      this.#created = created;
      this.#sinceMs = nowMs;
      this.#remedies = 0;
      this.#isConsumedAnew = false;
      return null;
    }
    if (created !== this.#created) {
      this.#created = created;
      this.#sinceMs = nowMs;
      this.#remedies++;
      return null;
    }
    if (nowMs - this.#sinceMs < this.#patienceMs()) return null;
    this.#sinceMs = nowMs;
    if (!look.isWorkQueue) {
      this.#remedies++;
      return "consume-anew";
    }
    // The server would give something out, and nothing comes: that may be this hub's own line alone.
    const isUnserved = look.waiting > 0 && nowMs - this.#givenAtMs >= this.#maxWaitMs;
    if (isUnserved && !this.#isConsumedAnew) {
      this.#isConsumedAnew = true;
      return "consume-anew";
    }
    return "make-anew";
  }

  #patienceMs(): number {
    const longest = Math.max(this.#maxWaitMs, LONGEST_PATIENCE_MS);
    return Math.min(longest, this.#maxWaitMs * 2 ** Math.min(this.#remedies, 20));
  }
}
