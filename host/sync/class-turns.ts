import type { SyncClass } from "../../workers/store/sync-operations.ts";

type Shared = Extract<SyncClass, "results" | "events">;

/** Of the bytes sent while both wait. Stored events trickle, and never stand still. */
const SHARES: Readonly<Record<Shared, number>> = { results: 8, events: 1 };

/** They go at any time of day, and wait for no company: they are few and small. */
export const URGENT: readonly SyncClass[] = ["alerts", "losses", "attributes"];

export function isUrgent(kind: SyncClass): boolean {
  return URGENT.includes(kind);
}

/**
 * Which class is next: alerts, losses and attributes always; results and stored events by their shares of the line, the one that is
 * behind in front (start-time fair queueing, as between streams).
 */
export class ClassTurns {
  readonly #times: Record<Shared, number> = { results: 0, events: 0 };

  order(isWindowOpen: boolean): readonly SyncClass[] {
    if (!isWindowOpen) return URGENT;
    const { results, events } = this.#times;
    return results <= events ? [...URGENT, "results", "events"] : [...URGENT, "events", "results"];
  }

  sent(kind: SyncClass, bytes: number): void {
    if (kind === "results" || kind === "events") this.#times[kind] += bytes / SHARES[kind];
  }

  /** A class that has nothing to send does not save up for later. */
  idle(kind: SyncClass): void {
    const { results, events } = this.#times;
    if (kind === "results" || kind === "events") this.#times[kind] = Math.max(results, events);
  }
}
