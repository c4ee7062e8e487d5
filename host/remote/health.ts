/** What tells whether a node is well, at one moment. Counts only grow. */
export interface HealthSample {
  readonly atMs: number;
  readonly isReady: boolean;
  readonly accepted: number;
  /** Events that could not be read, or did not fit. */
  readonly bad: number;
  readonly stateBytes: number;
  readonly maxStateBytes: number;
  /** When the hub answered last; null: not yet. */
  readonly reachedMs: number | null;
}

export interface HealthLimits {
  readonly watchMs: number;
  readonly reachMs: number;
  /** Of the events that come. */
  readonly maxBadShare: number;
}

/** A node may be busy with the change itself for so long. */
const UNREADY_MS = 10_000;
/** Fewer bad events say nothing. */
const FEWEST_BAD = 10;

export type Verdict =
  | { readonly kind: "watching" }
  | { readonly kind: "good" }
  | { readonly kind: "bad"; readonly reason: string };

/** Watches a node behind a change of its configuration. */
export class HealthWatch {
  readonly #limits: HealthLimits;
  readonly #first: HealthSample;
  /** Of the events before the change, how many were bad: devices that were bad before are not its fault. */
  readonly #shareBefore: number;
  #readyMs: number;

  /** `first`: at the change. `startedWith`: when the node started, or some time before the change. */
  constructor(
    limits: HealthLimits,
    first: HealthSample,
    startedWith: Pick<HealthSample, "accepted" | "bad">,
  ) {
    this.#limits = limits;
    this.#first = first;
    this.#shareBefore = shareOf(first.accepted - startedWith.accepted, first.bad - startedWith.bad);
    this.#readyMs = first.atMs;
  }

  judge(sample: HealthSample): Verdict {
    const { watchMs, reachMs, maxBadShare } = this.#limits;
    const { atMs, isReady, stateBytes, maxStateBytes, reachedMs } = sample;
    const watchedMs = atMs - this.#first.atMs;
    if (isReady) this.#readyMs = atMs;
    const unreadyMs = atMs - this.#readyMs;
    if (unreadyMs > UNREADY_MS) return bad(`the node was not ready for ${Math.round(unreadyMs / 1_000)} s`);
    if (stateBytes > maxStateBytes) return bad("window state is over limits.maxState");
    const wrong = sample.bad - this.#first.bad;
    const share = shareOf(sample.accepted - this.#first.accepted, wrong);
    if (wrong >= FEWEST_BAD && share > Math.max(maxBadShare, this.#shareBefore * 2)) {
      const now = `${Math.round(share * 100)} % of the events since (${wrong})`;
      return bad(`${now} could not be taken, ${Math.round(this.#shareBefore * 100)} % before`);
    }
    const isReached = reachedMs !== null && reachedMs > this.#first.atMs;
    if (!isReached && watchedMs > reachMs)
      return bad(`the hub was not reached for ${Math.round(watchedMs / 1_000)} s`);
    return isReached && isReady && watchedMs >= watchMs ? { kind: "good" } : { kind: "watching" };
  }
}

function shareOf(accepted: number, wrong: number): number {
  const all = accepted + wrong;
  return all === 0 ? 0 : wrong / all;
}

function bad(reason: string): Verdict {
  return { kind: "bad", reason };
}
