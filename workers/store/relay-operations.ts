import type { SyncClass } from "./sync-operations.ts";

/** Batches of other edges that are sent on as they came. Times are µs since the epoch. */

export interface RelayedBatch {
  readonly edge: string;
  /** The edge's own idempotency key. */
  readonly key: string;
  /** The most urgent of what it holds. */
  readonly class: SyncClass;
  /** Relays that it came through, the first one first. */
  readonly hops: readonly string[];
  readonly rows: number;
  readonly body: Uint8Array;
}

export interface StoreRelayedTask {
  readonly batches: readonly RelayedBatch[];
  /** Of all that waits. */
  readonly capBytes: number;
  readonly nowUs: number;
}

export type RelayedOutcome = "stored" | "duplicate" | "full";

/** A batch that is to be sent. */
export interface WaitingBatch extends RelayedBatch {
  readonly id: number;
  readonly atUs: number;
}

export interface NextRelayedTask {
  /** In this order; others are not looked at. */
  readonly classes: readonly SyncClass[];
  /** Those under way. */
  readonly except: readonly number[];
}

export interface SettleRelayedTask {
  readonly id: number;
  /** null: it was delivered; else why it never can be, and it is set aside. */
  readonly reason: string | null;
}

/** What is held of an edge, and what went on. */
export interface RelayedEdge {
  readonly edge: string;
  readonly waiting: number;
  readonly waitingBytes: number;
  readonly parked: number;
  readonly oldestUs: number | null;
  /** Since the beginning. */
  readonly received: number;
  readonly receivedRows: number;
  readonly forwarded: number;
  readonly forwardedRows: number;
  readonly duplicates: number;
}
