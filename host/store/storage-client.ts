import { Piscina } from "piscina";
import type { StandingAlert } from "../../workers/alert/standing.ts";
import { MillraceError } from "../../workers/errors.ts";
import type { CommitOperation, CommitOutcome, LogEntry, StoredBlock } from "../../workers/messages.ts";
import type { MasterKeys } from "../../workers/seal/master-key.ts";
import type { Committed, DueWebhooks, SetAttributesTasks, StoreAnswer } from "../../workers/storage.ts";
import type {
  AttributeReport,
  DeviceAttributes,
  HubTime,
  ListDevicesTask,
  SetAttributesOutcome,
} from "../../workers/store/attribute-operations.ts";
import type {
  BufferReport,
  BufferSettings,
  DownsamplingGroup,
  DownsamplingSwap,
  MaintainTask,
} from "../../workers/store/buffer-operations.ts";
import type { PiecePlace } from "../../workers/store/checkpoint-operations.ts";
import type { SmallBlocks } from "../../workers/store/compaction.ts";
import type { BlockPlace, SetAsideBlock } from "../../workers/store/corrupt-blocks.ts";
import type { NodeDocument } from "../../workers/store/document-store.ts";
import type { PlainLeft } from "../../workers/store/plain-data.ts";
import type {
  NextRelayedTask,
  RelayedEdge,
  RelayedOutcome,
  SettleRelayedTask,
  StoreRelayedTask,
  WaitingBatch,
} from "../../workers/store/relay-operations.ts";
import type { Salvage } from "../../workers/store/repair/salvage.ts";
import type { Recovered } from "../../workers/store/store.ts";
import type {
  ClaimedBatch,
  SyncAdvance,
  SyncOpened,
  SyncSetup,
  SyncStep,
} from "../../workers/store/sync-operations.ts";
import type { StoredTable } from "../../workers/store/table-store.ts";
import { workerFile } from "../pipeline/worker-file.ts";

/**
 * The storage thread: the only writer of the database. Calls are served one by one, in the order they were made.
 * A call that fails rejects with a MillraceError: E_DISK_FULL, E_STORE_BUSY, E_STORE_UNREADABLE, E_STORE_CLOSED, E_STORE.
 */
export class StorageClient {
  readonly #pool: Piscina;
  /** What was found at the opening. */
  readonly recovered: Recovered;
  /** Time of the thread in commits since the opening: for the rows of results, alerts and late events, and for all else. */
  emitMs = 0;
  commitMs = 0;

  private constructor(pool: Piscina, recovered: Recovered) {
    this.#pool = pool;
    this.recovered = recovered;
  }

  /**
   * Opens the store of a data directory, which is made when it is not there, and locks it until `close` or the
   * process's end, however that comes.
   * @throws MillraceError E_DATA_DIR_LOCKED, E_DATA_DIR_ACCESS, E_STORE_NEWER, E_STORE_UNREADABLE, E_DISK_FULL; E_KEY_MISSING,
   * E_KEY_WRONG, E_KEY_DAMAGED when it is encrypted and these keys do not open it: then nothing was changed
   */
  static async open(dir: string, masters: MasterKeys | null = null): Promise<StorageClient> {
    const pool = storageThread();
    try {
      return new StorageClient(pool, await run<Recovered>(pool, "open", { dir, masters }));
    } catch (cause) {
      await pool.destroy();
      throw cause;
    }
  }

  /**
   * Makes a new database of what can be read of a damaged one, which is kept beside it. Nobody may have it open.
   * @throws MillraceError E_DATA_DIR_LOCKED, E_DISK_FULL; then everything is as before
   */
  static async salvage(dir: string, masters: MasterKeys | null = null): Promise<Salvage> {
    const pool = storageThread();
    try {
      return await run<Salvage>(pool, "salvage", { dir, masters });
    } finally {
      await pool.destroy();
    }
  }

  /** All in one transaction; resolves once it is fsynced. The data of blocks is copied. */
  async commit(operations: readonly CommitOperation[]): Promise<readonly CommitOutcome[]> {
    const { outcomes, commitMs, emitMs } = await run<Committed>(this.#pool, "commit", operations);
    this.commitMs += commitMs;
    this.emitMs += emitMs;
    return outcomes;
  }

  /** Blocks and watermarks after a seq in its order, until their stored bytes reach `maxBytes`; none at the end. */
  readLog(task: { readonly afterSeq: number; readonly maxBytes: number }): Promise<readonly LogEntry[]> {
    return run(this.#pool, "readLog", task);
  }

  /** Pieces of a checkpoint's segment from one on, until `maxBytes` are reached; none at its end. */
  readPieces(task: PiecePlace & { readonly maxBytes: number }): Promise<readonly Uint8Array<ArrayBuffer>[]> {
    return run(this.#pool, "readPieces", task);
  }

  /** Groups of small blocks worth merging, none of which a replay will read. */
  listSmall(task: {
    readonly upToSeq: number;
    readonly targetBytes: number;
  }): Promise<readonly SmallBlocks[]> {
    return run(this.#pool, "listSmall", task);
  }

  /** Puts a merged block in the place of a group. False, with nothing done, when the group is no longer whole. */
  swap(task: { readonly removeSeqs: readonly number[]; readonly into: StoredBlock }): Promise<boolean> {
    return run(this.#pool, "swap", task);
  }

  /** The rows of reference tables with these digests, as far as they are there. */
  readTables(digests: readonly string[]): Promise<readonly StoredTable[]> {
    return run(this.#pool, "readTables", digests);
  }

  /** The steps at which episodes of alerts stood that were open at that entry of the log. Looks at all there are. */
  openAlerts(seq: number): Promise<readonly StandingAlert[]> {
    return run(this.#pool, "openAlerts", seq);
  }

  /** Sets those of the blocks aside that are damaged indeed, with a row each in the loss ledger. */
  setAside(task: {
    readonly place: BlockPlace;
    readonly seqs: readonly number[];
  }): Promise<readonly SetAsideBlock[]> {
    return run(this.#pool, "setAside", task);
  }

  /** Posts to webhooks that are due, `perUrl` of each address at most. Those beyond `maxWaiting` are set aside. */
  dueWebhooks(task: {
    readonly nowUs: number;
    readonly perUrl: number;
    readonly maxWaiting: number;
  }): Promise<DueWebhooks> {
    return run(this.#pool, "dueWebhooks", task);
  }

  /** Says what the cap is, which holds from here on. */
  async limitBuffer(settings: BufferSettings): Promise<void> {
    await run(this.#pool, "limitBuffer", settings);
  }

  /** Looks after the buffer's size, for a few milliseconds. */
  maintain(task: MaintainTask): Promise<BufferReport> {
    return run(this.#pool, "maintain", task);
  }

  /** The oldest events that are to become aggregates; null when there are none. */
  listForDownsampling(): Promise<DownsamplingGroup | null> {
    return run(this.#pool, "listForDownsampling", null);
  }

  /** False, with nothing done, when the group is no longer as it was listed, or would hardly become smaller. */
  swapDownsampled(swap: DownsamplingSwap): Promise<boolean> {
    return run(this.#pool, "swapDownsampled", swap);
  }

  /** Wraps the keys of an encrypted store by another master key, all or none, and seals with a new one from then on. */
  changeKeys(masters: MasterKeys): Promise<null> {
    return run(this.#pool, "changeKeys", masters);
  }

  /** Seals a little of what was stored before there was a key, and says what is left. */
  sealSome(): Promise<PlainLeft> {
    return run(this.#pool, "sealSome", null);
  }

  /** Says where everything is sent; without sinks nothing is. Before anything is committed. */
  openSync(setup: SyncSetup): Promise<SyncOpened> {
    return run(this.#pool, "openSync", setup);
  }

  /** Takes the next batch for a sink, which is sent, the very same, until it is settled; and writes what became of others. */
  advanceSync(step: SyncStep): Promise<SyncAdvance> {
    return run(this.#pool, "advanceSync", step);
  }

  /** Parked batches, which are to be sent again. */
  unparkBatches(): Promise<readonly ClaimedBatch[]> {
    return run(this.#pool, "unparkBatches", null);
  }

  /** Batches of other edges are to come, or may wait. */
  openRelay(): Promise<null> {
    return run(this.#pool, "openRelay", null);
  }

  /** Durable when it resolves. */
  storeRelayed(task: StoreRelayedTask): Promise<readonly RelayedOutcome[]> {
    return run(this.#pool, "storeRelayed", task);
  }

  nextRelayed(task: NextRelayedTask): Promise<WaitingBatch | null> {
    return run(this.#pool, "nextRelayed", task);
  }

  settleRelayed(outcomes: readonly SettleRelayedTask[]): Promise<null> {
    return run(this.#pool, "settleRelayed", outcomes);
  }

  unparkRelayed(): Promise<number> {
    return run(this.#pool, "unparkRelayed", null);
  }

  relayedEdges(): Promise<readonly RelayedEdge[]> {
    return run(this.#pool, "relayedEdges", null);
  }

  readDocument(kind: NodeDocument["kind"], name: string): Promise<NodeDocument | null> {
    return run(this.#pool, "readDocument", { kind, name });
  }

  listDocuments(kind: NodeDocument["kind"]): Promise<readonly NodeDocument[]> {
    return run(this.#pool, "listDocuments", kind);
  }

  /** Durable when it resolves. */
  putDocument(document: Omit<NodeDocument, "version">): Promise<null> {
    return run(this.#pool, "putDocument", document);
  }

  /** Unless there is another version by now. */
  dropDocument(document: Omit<NodeDocument, "body">): Promise<null> {
    return run(this.#pool, "dropDocument", document);
  }

  /** Durable when it resolves: one transaction, one fsync for all of them. */
  setAttributes(task: SetAttributesTasks): Promise<readonly SetAttributesOutcome[]> {
    return run(this.#pool, "setAttributes", task);
  }

  readAttributes(device: string): Promise<DeviceAttributes | null> {
    return run(this.#pool, "readAttributes", device);
  }

  listDevices(task: ListDevicesTask): Promise<readonly DeviceAttributes[]> {
    return run(this.#pool, "listDevices", task);
  }

  /** A hub said what time it is. @returns how many attributes were stamped anew for it */
  learnTime(hub: HubTime): Promise<number> {
    return run(this.#pool, "learnTime", hub);
  }

  reportAttributes(): Promise<AttributeReport> {
    return run(this.#pool, "reportAttributes", null);
  }

  sizes(): Promise<{ databaseBytes: number; walBytes: number }> {
    return run(this.#pool, "sizes", null);
  }

  /** Waits for what was asked before, empties the write-ahead log and lets the data directory go. */
  async close(): Promise<void> {
    try {
      await run(this.#pool, "close", null);
    } finally {
      await this.#pool.destroy();
    }
  }
}

function storageThread(): Piscina {
  return new Piscina({
    filename: workerFile("storage"),
    minThreads: 1,
    maxThreads: 1,
    concurrentTasksPerWorker: 1,
    // Without it piscina puts a task that finds the thread busy behind those that came after it.
    stricterFIFO: true,
    idleTimeout: Number.POSITIVE_INFINITY,
    recordTiming: false,
  });
}

async function run<T>(pool: Piscina, name: string, task: unknown): Promise<T> {
  const answer = await (pool.run(task, { name }) as Promise<StoreAnswer<T>>).catch((cause: unknown) => {
    // What the thread throws comes as a value: this is the thread itself.
    const detail = cause instanceof Error ? cause.message : String(cause);
    const message = `the storage thread was lost (${detail}); start the node again: what was acknowledged is safe`;
    throw new MillraceError("E_STORE_CLOSED", message, { cause });
  });
  if ("failure" in answer) throw new MillraceError(answer.failure.code, answer.failure.message);
  return answer.value;
}
