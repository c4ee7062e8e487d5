import type { StoredBlock } from "../messages.ts";
import type { BufferLevel } from "./buffer-level.ts";
import type { StreamLedger } from "./ledger.ts";
import type { RemovedBlocks } from "./stream-table.ts";

/** What the store must know of the configuration to keep its size. */
export interface BufferSettings {
  /** null: 10 GiB or 80 % of the disk, whichever is less. */
  readonly capBytes: number | null;
  /** Synced blocks are deleted when they are older. µs. */
  readonly retentionUs: number;
  /** Whatever is older is deleted, synced or not, as `expired`. */
  readonly expiresUnsynced: boolean;
  /** Of streams, by name; 9 is given up first. Others have `defaultPriority`. */
  readonly priorities: readonly (readonly [string, number])[];
  readonly defaultPriority: number;
}

/** A look at the buffer, and a bounded piece of work where there is some. */
export interface MaintainTask {
  readonly settings: BufferSettings;
  /** Wall clock, µs since the epoch. */
  readonly nowUs: number;
  /** No further piece is begun after so long: commits wait meanwhile. */
  readonly budgetMs: number;
}

/** Bytes on disk. */
export interface BufferUse {
  /** Counts against the cap: pages in use, the write-ahead log at its limit or beyond, its index, the reserve. */
  readonly usedBytes: number;
  /** What it may grow to: the cap, or less where the disk has no room for that. */
  readonly capacityBytes: number;
  readonly capBytes: number;
  /** The file, free pages included. */
  readonly databaseBytes: number;
  /** Pages of the file that new data will take. */
  readonly freeBytes: number;
  readonly walBytes: number;
  /** Kept so that deleting works on a full disk. */
  readonly reserveBytes: number;
  /** The reserve and the log's index. */
  readonly fixedBytes: number;
  /** Of its file system, for this user. */
  readonly diskFreeBytes: number;
}

export interface BufferReport extends BufferUse {
  readonly level: BufferLevel;
  /** Every level since the last report, in their order: commits too measure the use. */
  readonly levels: readonly BufferLevel[];
  /** Events are refused: nothing more may be given up. */
  readonly isFull: boolean;
  readonly ledgers: readonly StreamLedger[];
  /** Since the start. */
  readonly removed: readonly RemovedBlocks[];
  /** Rows of the loss ledger. */
  readonly losses: number;
  /** Number of its newest row: grows by one with each that is written. */
  readonly lastLoss: number;
  /** There is more of this work to be done at once. */
  readonly hasMore: boolean;
  /** Blocks are to be downsampled. */
  readonly wantsDownsampling: boolean;
  /** What could be freed is still needed for a replay: a checkpoint would let it go. */
  readonly wantsCheckpoint: boolean;
}

/** Raw blocks of one stream to become one block of aggregates. */
export interface DownsamplingGroup {
  readonly stream: string;
  readonly seqs: readonly number[];
  readonly blocks: readonly StoredBlock[];
}

export interface DownsamplingSwap {
  readonly stream: string;
  readonly seqs: readonly number[];
  /** null: they could not be read, or would become no smaller; they are left alone from now on. */
  readonly into: StoredBlock | null;
  readonly nowUs: number;
}
