import { CircuitState, ConsecutiveBreaker, circuitBreaker, handleWhenResult } from "cockatiel";
import type { Delivery } from "./sink.ts";

export type BreakerState = "closed" | "open" | "half-open";

/**
 * Keeps a sink that cannot be reached from being tried by every batch: open after so many failures in a row, and half-open
 * some time later, when one batch tells whether it closes. What a sink refuses is no failure of the sink.
 */
export class CircuitBreaker {
  readonly #policy: ReturnType<typeof circuitBreaker>;
  readonly #openMs: number;
  readonly #nowMs: () => number;
  #openedAtMs = Number.NEGATIVE_INFINITY;
  /** Times that it opened. */
  opened = 0;

  constructor(failures: number, openMs: number, nowMs: () => number) {
    this.#openMs = openMs;
    this.#nowMs = nowMs;
    const isFailure = (result: unknown): boolean => (result as Delivery).kind === "unreachable";
    this.#policy = circuitBreaker(handleWhenResult(isFailure), {
      // When it is due is decided here, by the monotonic clock; the policy lets through what comes then.
      halfOpenAfter: 0,
      breaker: new ConsecutiveBreaker(failures),
    });
    this.#policy.onBreak(() => {
      this.#openedAtMs = this.#nowMs();
      this.opened++;
    });
  }

  get state(): BreakerState {
    switch (this.#policy.state) {
      case CircuitState.Closed:
        return "closed";
      case CircuitState.HalfOpen:
        return "half-open";
      default:
        return "open";
    }
  }

  /** How many attempts may begin now, of `most`: 0 while open, 1 when it is time to try. */
  room(most: number): number {
    if (this.state === "closed") return most;
    if (this.state === "half-open") return 0;
    return this.#nowMs() - this.#openedAtMs >= this.#openMs ? 1 : 0;
  }

  run(attempt: () => Promise<Delivery>): Promise<Delivery> {
    return this.#policy.execute(attempt);
  }

  /** The sink was seen to be there: tries go on at once. */
  close(): void {
    if (this.state === "open") this.#policy.isolate().dispose();
  }
}
