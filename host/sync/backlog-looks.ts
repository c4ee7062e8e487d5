import type { SyncBacklog } from "../../workers/store/sync-operations.ts";
import type { Clock } from "../pipeline/clock.ts";

/** What sinks have not got costs a look at every block that waits: it may take this share of the sync thread's time. */
const LOOK_SHARE = 0.02;

export interface BacklogParts {
  /** Of each sink. */
  readonly look: () => Promise<readonly SyncBacklog[]>;
  readonly clock: Pick<Clock, "monotonicMs">;
}

/**
 * What waits for each sink, for whoever asks. Of much that waits the last look tells for a while, since it is dear. That nothing
 * waits is never told from a look of before: who has just been acknowledged something and asks whether it is delivered would
 * hear that it is.
 */
export class BacklogLooks {
  readonly #parts: BacklogParts;
  #last: readonly SyncBacklog[] = [];
  #goodUntilMs = Number.NEGATIVE_INFINITY;
  #underWay: Promise<readonly SyncBacklog[]> | null = null;

  constructor(parts: BacklogParts) {
    this.#parts = parts;
  }

  async read(): Promise<readonly SyncBacklog[]> {
    if (this.#parts.clock.monotonicMs() < this.#goodUntilMs && somethingWaits(this.#last)) return this.#last;
    if (this.#underWay !== null) {
      // It began before this question.
      const shared = await this.#underWay;
      if (somethingWaits(shared)) return shared;
    }
    this.#underWay ??= this.#look().finally(() => {
      this.#underWay = null;
    });
    return this.#underWay;
  }

  async #look(): Promise<readonly SyncBacklog[]> {
    const { look, clock } = this.#parts;
    const startedMs = clock.monotonicMs();
    this.#last = await look();
    const nowMs = clock.monotonicMs();
    this.#goodUntilMs = nowMs + (nowMs - startedMs) / LOOK_SHARE;
    return this.#last;
  }
}

function somethingWaits(backlogs: readonly SyncBacklog[]): boolean {
  return backlogs.some(({ rows }) => Object.values(rows).some((count) => count > 0));
}
