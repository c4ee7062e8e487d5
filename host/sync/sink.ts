import type { ClaimedBatch } from "../../workers/store/sync-operations.ts";
import type { MergeMode, PackedBatch, PackForm } from "../../workers/sync.ts";

/** A batch that is to be delivered: what is known of it, and its bytes. */
export interface OutgoingBatch extends PackedBatch {
  readonly claimed: ClaimedBatch;
}

/** What became of an attempt. Whatever it was, the same batch may be delivered again: a sink stores it once. */
export type Delivery =
  | { readonly kind: "delivered"; readonly stored: number; readonly isDuplicate: boolean }
  /** The sink cannot take anything at the moment, this batch no more than another. */
  | { readonly kind: "unreachable"; readonly reason: string; readonly retryAfterMs: number }
  /** The sink took it, and will not have it: again it would be the same. */
  | { readonly kind: "rejected"; readonly reason: string };

/** Where batches go. Each has its own place in what is stored, and waits for no other. */
export interface Sink {
  readonly name: string;
  /** What it takes batches as. */
  readonly form: PackForm;
  /** Of a batch, as stored, what it takes at most, where it is known. */
  largestBytes?(): number | null;
  /** How far it takes blocks merged; left out: never. Asked before each batch. */
  merging?(): MergeMode;
  /** Never rejects: an aborted attempt is `unreachable`. What the batch holds is the sink's from then on, and may be empty afterwards. */
  deliver(batch: OutgoingBatch, signal: AbortSignal): Promise<Delivery>;
  /** Whether the sink is there, asked while it was found not to be. Never rejects. */
  probe(signal: AbortSignal): Promise<boolean>;
  close(): Promise<void>;
}
