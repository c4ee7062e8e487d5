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
import { WorkerThread } from "../pipeline/worker-thread.ts";

/**
 * The storage thread: the only writer of the database. Calls are served one by one, in the order they were made.
 * A call that fails rejects with a MillraceError: E_DISK_FULL, E_STORE_BUSY, E_STORE_UNREADABLE, E_STORE_CLOSED, E_STORE.
 */
export class StorageClient {
  readonly #thread: WorkerThread;
  /** What was found at the opening. */
  readonly recovered: Recovered;
  /** Time of the thread in commits since the opening: for the rows of results, alerts and late events, and for all else. */
  emitMs = 0;
  commitMs = 0;

  private constructor(thread: WorkerThread, recovered: Recovered) {
    this.#thread = thread;
    this.recovered = recovered;
  }

  /**
   * Opens the store of a data directory, which is made when it is not there, and locks it until `close` or the
   * process's end, however that comes.
   * @throws MillraceError E_DATA_DIR_LOCKED, E_DATA_DIR_ACCESS, E_STORE_NEWER, E_STORE_UNREADABLE, E_DISK_FULL; E_KEY_MISSING,
   * E_KEY_WRONG, E_KEY_DAMAGED when it is encrypted and these keys do not open it: then nothing was changed
   */
  static async open(dir: string, masters: MasterKeys | null = null): Promise<StorageClient> {
    const thread = new WorkerThread(workerFile("storage"));
    try {
      return new StorageClient(thread, await run<Recovered>(thread, "open", { dir, masters }));
    } catch (cause) {
      await thread.close();
      throw cause;
    }
  }

  /**
   * Makes a new database of what can be read of a damaged one, which is kept beside it. Nobody may have it open.
   * @throws MillraceError E_DATA_DIR_LOCKED, E_DISK_FULL; then everything is as before
   */
  static async salvage(dir: string, masters: MasterKeys | null = null): Promise<Salvage> {
    const thread = new WorkerThread(workerFile("storage"));
    try {
      return await run<Salvage>(thread, "salvage", { dir, masters });
    } finally {
      await thread.close();
    }
  }

  /** That were made of the thread. */
  get calls(): number {
    return this.#thread.calls;
  }

  /** All in one transaction; resolves once it is fsynced. The data of blocks is copied. */
  async commit(operations: readonly CommitOperation[]): Promise<readonly CommitOutcome[]> {
    const { outcomes, commitMs, emitMs } = await run<Committed>(this.#thread, "commit", operations);
    this.commitMs += commitMs;
    this.emitMs += emitMs;
    return outcomes;
  }

  /** Blocks and watermarks after a seq in its order, until their stored bytes reach `maxBytes`; none at the end. */
  readLog(task: { readonly afterSeq: number; readonly maxBytes: number }): Promise<readonly LogEntry[]> {
    return run(this.#thread, "readLog", task);
  }

  /** Pieces of a checkpoint's segment from one on, until `maxBytes` are reached; none at its end. */
  readPieces(task: PiecePlace & { readonly maxBytes: number }): Promise<readonly Uint8Array<ArrayBuffer>[]> {
    return run(this.#thread, "readPieces", task);
  }

  /** Groups of small blocks worth merging, none of which a replay will read. */
  listSmall(task: {
    readonly upToSeq: number;
    readonly targetBytes: number;
  }): Promise<readonly SmallBlocks[]> {
    return run(this.#thread, "listSmall", task);
  }

  /** Puts a merged block in the place of a group. False, with nothing done, when the group is no longer whole. */
  swap(task: { readonly removeSeqs: readonly number[]; readonly into: StoredBlock }): Promise<boolean> {
    return run(this.#thread, "swap", task);
  }

  /** The rows of reference tables with these digests, as far as they are there. */
  readTables(digests: readonly string[]): Promise<readonly StoredTable[]> {
    return run(this.#thread, "readTables", digests);
  }

  /** The steps at which episodes of alerts stood that were open at that entry of the log. Looks at all there are. */
  openAlerts(seq: number): Promise<readonly StandingAlert[]> {
    return run(this.#thread, "openAlerts", seq);
  }

  /** Sets those of the blocks aside that are damaged indeed, with a row each in the loss ledger. */
  setAside(task: {
    readonly place: BlockPlace;
    readonly seqs: readonly number[];
  }): Promise<readonly SetAsideBlock[]> {
    return run(this.#thread, "setAside", task);
  }

  /** Posts to webhooks that are due, `perUrl` of each address at most. Those beyond `maxWaiting` are set aside. */
  dueWebhooks(task: {
    readonly nowUs: number;
    readonly perUrl: number;
    readonly maxWaiting: number;
  }): Promise<DueWebhooks> {
    return run(this.#thread, "dueWebhooks", task);
  }

  /** Says what the cap is, which holds from here on. */
  async limitBuffer(settings: BufferSettings): Promise<void> {
    await run(this.#thread, "limitBuffer", settings);
  }

  /** Looks after the buffer's size, for a few milliseconds. */
  maintain(task: MaintainTask): Promise<BufferReport> {
    return run(this.#thread, "maintain", task);
  }

  /** The oldest events that are to become aggregates; null when there are none. */
  listForDownsampling(): Promise<DownsamplingGroup | null> {
    return run(this.#thread, "listForDownsampling", null);
  }

  /** False, with nothing done, when the group is no longer as it was listed, or would hardly become smaller. */
  swapDownsampled(swap: DownsamplingSwap): Promise<boolean> {
    return run(this.#thread, "swapDownsampled", swap);
  }

  /** Wraps the keys of an encrypted store by another master key, all or none, and seals with a new one from then on. */
  changeKeys(masters: MasterKeys): Promise<null> {
    return run(this.#thread, "changeKeys", masters);
  }

  /** Seals a little of what was stored before there was a key, and says what is left. */
  sealSome(): Promise<PlainLeft> {
    return run(this.#thread, "sealSome", null);
  }

  /** Says where everything is sent; without sinks nothing is. Before anything is committed. */
  openSync(setup: SyncSetup): Promise<SyncOpened> {
    return run(this.#thread, "openSync", setup);
  }

  /** Takes the next batch for a sink, which is sent, the very same, until it is settled; and writes what became of others. */
  advanceSync(step: SyncStep): Promise<SyncAdvance> {
    return run(this.#thread, "advanceSync", step);
  }

  /** Parked batches, which are to be sent again. */
  unparkBatches(): Promise<readonly ClaimedBatch[]> {
    return run(this.#thread, "unparkBatches", null);
  }

  /** Batches of other edges are to come, or may wait. */
  openRelay(): Promise<null> {
    return run(this.#thread, "openRelay", null);
  }

  /** Durable when it resolves. */
  storeRelayed(task: StoreRelayedTask): Promise<readonly RelayedOutcome[]> {
    return run(this.#thread, "storeRelayed", task);
  }

  nextRelayed(task: NextRelayedTask): Promise<WaitingBatch | null> {
    return run(this.#thread, "nextRelayed", task);
  }

  settleRelayed(outcomes: readonly SettleRelayedTask[]): Promise<null> {
    return run(this.#thread, "settleRelayed", outcomes);
  }

  unparkRelayed(): Promise<number> {
    return run(this.#thread, "unparkRelayed", null);
  }

  relayedEdges(): Promise<readonly RelayedEdge[]> {
    return run(this.#thread, "relayedEdges", null);
  }

  readDocument(kind: NodeDocument["kind"], name: string): Promise<NodeDocument | null> {
    return run(this.#thread, "readDocument", { kind, name });
  }

  listDocuments(kind: NodeDocument["kind"]): Promise<readonly NodeDocument[]> {
    return run(this.#thread, "listDocuments", kind);
  }

  /** Durable when it resolves. */
  putDocument(document: Omit<NodeDocument, "version">): Promise<null> {
    return run(this.#thread, "putDocument", document);
  }

  /** Unless there is another version by now. */
  dropDocument(document: Omit<NodeDocument, "body">): Promise<null> {
    return run(this.#thread, "dropDocument", document);
  }

  /** Durable when it resolves: one transaction, one fsync for all of them. */
  setAttributes(task: SetAttributesTasks): Promise<readonly SetAttributesOutcome[]> {
    return run(this.#thread, "setAttributes", task);
  }

  readAttributes(device: string): Promise<DeviceAttributes | null> {
    return run(this.#thread, "readAttributes", device);
  }

  listDevices(task: ListDevicesTask): Promise<readonly DeviceAttributes[]> {
    return run(this.#thread, "listDevices", task);
  }

  /** A hub said what time it is. @returns how many attributes were stamped anew for it */
  learnTime(hub: HubTime): Promise<number> {
    return run(this.#thread, "learnTime", hub);
  }

  reportAttributes(): Promise<AttributeReport> {
    return run(this.#thread, "reportAttributes", null);
  }

  sizes(): Promise<{ databaseBytes: number; walBytes: number }> {
    return run(this.#thread, "sizes", null);
  }

  /** Waits for what was asked before, empties the write-ahead log and lets the data directory go. */
  async close(): Promise<void> {
    try {
      await run(this.#thread, "close", null);
    } finally {
      await this.#thread.close();
    }
  }
}

async function run<T>(thread: WorkerThread, name: string, task: unknown): Promise<T> {
  const answer = await thread.call<StoreAnswer<T>>(name, task).catch((cause: unknown) => {
    // What the thread throws comes as a value: this is the thread itself.
    const detail = cause instanceof Error ? cause.message : String(cause);
    const message = `the storage thread was lost (${detail}); start the node again: what was acknowledged is safe`;
    throw new MillraceError("E_STORE_CLOSED", message, { cause });
  });
  if ("failure" in answer) throw new MillraceError(answer.failure.code, answer.failure.message);
  return answer.value;
}
