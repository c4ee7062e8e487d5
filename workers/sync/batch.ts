import type { MergedBlocks } from "./merged-blocks.ts";

/** What an edge sends at once, as both sides have it in memory. Times are µs since the epoch. */

/** What a batch holds: an item is what is stored, sent again and set aside as one. */
export type BatchItem = BlockItem | RowsItem;

/** One stored block. */
export interface BlockItem {
  readonly kind: "block";
  /** Its place in the edge's log: no other block of this data directory has it. */
  readonly id: number;
  readonly stream: string;
  readonly arrivalUs: number;
  readonly count: number;
  readonly minUs: number;
  readonly maxUs: number;
  readonly codec: "none" | "zstd";
  readonly encodedBytes: number;
  /** Above 0: its rows are aggregates of so long a time each, which events that had to go became. */
  readonly resolutionUs: number;
  readonly data: Uint8Array;
  /** What a hub knows it by, when that is not made of these bytes: they were merged on the way. Not sent. */
  readonly digest?: string;
}

export type RowsKind = "results" | "alerts" | "losses" | "attributes";

/** Rows that were written together. */
export interface RowsItem {
  readonly kind: RowsKind;
  /** Grows with time: of two versions of a row, the one with the greater id holds. */
  readonly id: number;
  readonly rows: number;
  /** UTF-8, a JSON object a line. */
  readonly ndjson: Uint8Array;
}

/** What a reader must know of a stream to give its events the form they have at the edge. */
export interface StreamForm {
  readonly stream: string;
  /** The member that takes the event time. */
  readonly timeField: string;
  /** The first that an event has names its key. */
  readonly keyFields: readonly string[];
}

/** Counts that only grow, so that of two the greater holds: a G-Counter, of which each start of a node is a replica. */
export interface StreamTotals {
  readonly stream: string;
  readonly accepted: number;
  readonly deadLettered: number;
  readonly late: number;
  readonly clockSkewed: number;
  /** The four as they were when this start began; earlier releases do not say. */
  readonly base?: CountBase;
}

export type CountBase = readonly [accepted: number, deadLettered: number, late: number, clockSkewed: number];

export interface BatchHeader {
  readonly edge: string;
  /** The idempotency key: derived from the items, so the same whenever they are sent together. */
  readonly key: string;
  readonly createdUs: number;
  /** Names the data directory; a new one has another. */
  readonly incarnation: string;
  /** Which start of the node this is, and a name for it that no other start has: copies of a data directory differ in it. */
  readonly start: { readonly number: number; readonly id: string };
  readonly streams: readonly StreamForm[];
  readonly totals: readonly StreamTotals[];
}

export interface Batch {
  readonly header: BatchHeader;
  readonly items: readonly BatchItem[];
  /** Blocks that were merged for the wire; none once the batch was read to its end. */
  readonly merged?: readonly MergedBlocks[];
}
