import type { StreamSum } from "../sync/audit-sums.ts";
import type { RowsKind, StreamTotals } from "../sync/batch.ts";

/** What the sync of a node asks of its store, and is answered. Times are µs since the epoch. */

/** Alerts and losses go first, results next, and stored events fill what is left of the line. */
export type SyncClass = "events" | RowsKind;

export interface SyncSetup {
  /** Names of the sinks that everything goes to; none: sync is off. */
  readonly sinks: readonly string[];
  /** Of streams: 0 is most important. */
  readonly priorities: Readonly<Record<string, number>>;
  readonly defaultPriority: number;
  /** Batches that are parked at most, of all sinks, and their bytes as stored. Default: no limit. */
  readonly maxParked?: ParkedLimits;
}

export interface ParkedLimits {
  readonly batches: number;
  readonly bytes: number;
}

/** A batch that is to be sent, or is being sent: what it holds does not change until it is settled. */
export interface ClaimedBatch {
  readonly id: number;
  readonly sink: string;
  readonly class: SyncClass;
  /** Items, events or rows, and bytes as stored. */
  readonly items: number;
  readonly rows: number;
  readonly bytes: number;
  /** Times that sending it failed while others went through. */
  readonly strikes: number;
  readonly nextAtUs: number;
  /** The last failure. */
  readonly reason: string | null;
  /** It was to be parked, and there is no room: it is sent again, though not at once. */
  readonly isHeld?: true;
}

export interface BatchSize {
  /** Events or rows. */
  readonly rows: number;
  readonly bytes: number;
}

export interface ClaimTask {
  readonly sink: string;
  readonly class: SyncClass;
  /** At most. */
  readonly size: BatchSize;
  /** So much need not wait. */
  readonly enough: BatchSize;
  /** Less is sent when its oldest is at least as old as this. */
  readonly olderThanUs: number;
}

export type ClaimAnswer =
  | { readonly kind: "claimed"; readonly batch: ClaimedBatch; readonly isFull: boolean }
  /** There is not enough yet. */
  | { readonly kind: "waiting"; readonly oldestUs: number }
  | { readonly kind: "nothing" };

/** What a sink has come to, and what it would take next. */
export interface SyncStep {
  readonly outcomes: readonly SyncOutcome[];
  /** In the order in which they are looked for: the first that there is enough for is claimed, and none behind it is looked for. */
  readonly claims: readonly ClaimTask[];
  /** Whether the outcomes are written though nothing is claimed: a transaction of their own for them. */
  readonly mustSettle: boolean;
}

export interface SyncAdvance {
  /** Of the claims that were looked for; only the last may be claimed. */
  readonly answers: readonly ClaimAnswer[];
  /** Whether the outcomes were written. */
  readonly isSettled: boolean;
  /** Batches that come of a split, or are held. */
  readonly resumed: readonly ClaimedBatch[];
}

export type SyncOutcome =
  /** `sums`: of the events that were in it. */
  | { readonly kind: "delivered"; readonly batch: number; readonly sums?: readonly StreamSum[] }
  | {
      readonly kind: "failed";
      readonly batch: number;
      readonly strikes: number;
      readonly nextAtUs: number;
      readonly reason: string;
    }
  /** Into two halves, as one of its items cannot be delivered. */
  | { readonly kind: "split"; readonly batch: number; readonly reason: string }
  | { readonly kind: "parked"; readonly batch: number; readonly reason: string; readonly atUs: number };

/** What is not delivered. */
export interface SyncBacklog {
  readonly rows: Readonly<Record<SyncClass, number>>;
  readonly bytes: number;
  /** When the oldest of it arrived; null: there is nothing. */
  readonly oldestUs: number | null;
  readonly parked: number;
}

/** A batch of one item that the sink will not have. */
export interface ParkedBatch {
  readonly id: number;
  readonly sink: string;
  readonly class: SyncClass;
  readonly streams: readonly string[];
  readonly rows: number;
  readonly bytes: number;
  readonly reason: string;
  readonly atUs: number;
}

export interface SyncOpened {
  readonly incarnation: string;
  readonly startNumber: number;
  /** Counts of the streams as they are before anything is taken by this start. */
  readonly totals: readonly StreamTotals[];
  /** Batches that were not settled: the very same are sent again. */
  readonly unsettled: readonly ClaimedBatch[];
}
