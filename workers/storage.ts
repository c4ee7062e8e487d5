import type { StandingAlert } from "./alert/standing.ts";
import type { AttributeLimits } from "./attributes/attribute-rules.ts";
import { MillraceError } from "./errors.ts";
import type { CommitOperation, CommitOutcome, LogEntry, StoredBlock } from "./messages.ts";
import { moveWith, release } from "./move.ts";
import type { MasterKeys } from "./seal/master-key.ts";
import { callServer } from "./serve-calls.ts";
import type { QueuedWebhook } from "./store/alert-store.ts";
import type {
  AttributeReport,
  DeviceAttributes,
  HubTime,
  ListDevicesTask,
  SetAttributesOutcome,
  SetAttributesTask,
} from "./store/attribute-operations.ts";
import type {
  BufferReport,
  BufferSettings,
  DownsamplingGroup,
  DownsamplingSwap,
  MaintainTask,
} from "./store/buffer-operations.ts";
import type { PiecePlace } from "./store/checkpoint-operations.ts";
import type { SmallBlocks } from "./store/compaction.ts";
import type { BlockPlace, SetAsideBlock } from "./store/corrupt-blocks.ts";
import { databaseFile, databaseSizes } from "./store/data-dir.ts";
import type { NodeDocument } from "./store/document-store.ts";
import { explainFailure, type StoreFailure, tellsOfDamage } from "./store/failure.ts";
import { readLog as readLogEntries } from "./store/log-reader.ts";
import type { PlainLeft } from "./store/plain-data.ts";
import type {
  NextRelayedTask,
  RelayedEdge,
  RelayedOutcome,
  SettleRelayedTask,
  StoreRelayedTask,
  WaitingBatch,
} from "./store/relay-operations.ts";
import type { Salvage } from "./store/repair/salvage.ts";
import { markDamaged } from "./store/repair/salvage-place.ts";
import { type Recovered, Store } from "./store/store.ts";
import type { ClaimedBatch, SyncAdvance, SyncOpened, SyncSetup, SyncStep } from "./store/sync-operations.ts";
import type { StoredTable } from "./store/table-store.ts";
import { nameThread } from "./thread-name.ts";
import { portableCodec } from "./zstd.ts";

nameThread("storage");

export const serve = callServer(import.meta.url);

/** What every call answers: what was asked for, or why not. */
export type StoreAnswer<T> = { readonly value: T } | StoreFailure;

let store: Store | null = null;

/** Opens and locks the data directory, and makes it when it is not there. */
export function open({ dir, masters }: OpenTask): StoreAnswer<Recovered> {
  return answer(dir, () => {
    store = Store.open(dir, undefined, masters);
    return { value: store.recovered };
  });
}

export interface OpenTask {
  readonly dir: string;
  /** null: the data is not encrypted. */
  readonly masters: MasterKeys | null;
}

/** Wraps the store's keys by another master key; what comes from now on is sealed with a new one. */
export function changeKeys(masters: MasterKeys): StoreAnswer<null> {
  return writing(({ encryption }) => {
    encryption?.keys.rewrap(masters);
    return { value: null };
  });
}

/** Seals some of what was stored before there was a key. @returns what is left */
export function sealSome(): StoreAnswer<PlainLeft> {
  return writing(({ encryption }) => ({ value: encryption === null ? 0 : encryption.plain.step() }));
}

/** Makes a new database of what can be read of a damaged one. The store must be closed. */
export async function salvage({ dir, masters }: OpenTask): Promise<StoreAnswer<Salvage>> {
  const { salvage: run } = await import("./store/repair/salvage.ts");
  try {
    return { value: await run({ dir, masters, nowUs: Date.now() * 1000 }) };
  } catch (cause) {
    const { code, message } = explainFailure(cause, databaseFile(dir));
    return { failure: { code, message } };
  }
}

export interface Committed {
  readonly outcomes: readonly CommitOutcome[];
  /** Time of this thread, the disk's among it, but for that of `emitMs`. */
  readonly commitMs: number;
  /** For the rows of results, alerts and late events. */
  readonly emitMs: number;
}

/** One transaction, one fsync: all or none. */
export function commit(operations: readonly CommitOperation[]): StoreAnswer<Committed> {
  return withStore(({ buffer, writer }) => {
    const startedMs = performance.now();
    const emittedMs = writer.emitMs;
    const outcomes = buffer.commit(operations, Date.now() * 1000);
    const emitMs = writer.emitMs - emittedMs;
    const commitMs = performance.now() - startedMs - emitMs;
    for (const operation of operations) releaseBytesOf(operation);
    return { value: { outcomes, commitMs, emitMs } };
  });
}

export function readLog(task: {
  readonly afterSeq: number;
  readonly maxBytes: number;
}): StoreAnswer<LogEntry[]> {
  const answer = withStore(({ sql }) => ({ value: readLogEntries(sql, task.afterSeq, task.maxBytes) }));
  if (!("value" in answer)) return answer;
  return moveWith(
    answer,
    answer.value.flatMap((entry) => (entry.kind === "block" ? [entry.block.data.buffer] : [])),
  );
}

/** Pieces of a checkpoint's segment from one on, until `maxBytes` are reached; none at its end. */
export function readPieces(
  task: PiecePlace & { readonly maxBytes: number },
): StoreAnswer<Uint8Array<ArrayBuffer>[]> {
  const answer = withStore(({ writer }) => ({ value: writer.checkpoints.readPieces(task, task.maxBytes) }));
  if (!("value" in answer)) return answer;
  return moveWith(
    answer,
    answer.value.map(({ buffer }) => buffer),
  );
}

/** The steps at which episodes of alerts stood that were open at that entry of the log. */
export function openAlerts(seq: number): StoreAnswer<StandingAlert[]> {
  return withStore(({ writer }) => ({ value: writer.alerts.openAt(seq) }));
}

export function listSmall(task: {
  readonly upToSeq: number;
  readonly targetBytes: number;
}): StoreAnswer<SmallBlocks[]> {
  const answer = withStore(({ buffer, compaction }) => ({
    value: compaction.listSmall(task.upToSeq, task.targetBytes, buffer.mostAtOnce),
  }));
  if (!("value" in answer)) return answer;
  return moveWith(
    answer,
    answer.value.flatMap(({ blocks }) => blocks.map(({ data }) => data.buffer)),
  );
}

export function swap(task: {
  readonly removeSeqs: readonly number[];
  readonly into: StoredBlock;
}): StoreAnswer<boolean> {
  return withStore(({ buffer, compaction }) => {
    const value = buffer.swapWithin(task.removeSeqs.length, task.into.data.length, (check) =>
      compaction.swap(task.removeSeqs, task.into, check),
    );
    release(task.into.data.buffer);
    return { value };
  });
}

/** The rows of reference tables with these digests, as far as they are there. */
export function readTables(digests: readonly string[]): StoreAnswer<StoredTable[]> {
  return withStore(({ writer }) => ({ value: writer.tables.read(digests) }));
}

/** Says what the cap is, which holds from here on. */
export function limitBuffer(settings: BufferSettings): StoreAnswer<null> {
  return withStore(({ buffer }) => {
    buffer.configure(settings);
    return { value: null };
  });
}

/** Looks after the buffer's size, for a few milliseconds. */
export function maintain(task: MaintainTask): StoreAnswer<BufferReport> {
  return withStore(({ buffer }) => ({ value: buffer.maintain(task) }));
}

/** The oldest events that are to become aggregates; null when there are none. */
export function listForDownsampling(): StoreAnswer<DownsamplingGroup | null> {
  const answer = withStore(({ buffer }) => ({ value: buffer.nextDownsampling() }));
  if (!("value" in answer) || answer.value === null) return answer;
  return moveWith(
    answer,
    answer.value.blocks.map(({ data }) => data.buffer),
  );
}

export function swapDownsampled(swap: DownsamplingSwap): StoreAnswer<boolean> {
  return withStore(({ buffer }) => {
    const value = buffer.swapDownsampled(swap);
    if (swap.into !== null) release(swap.into.data.buffer);
    return { value };
  });
}

/** Sets those of the blocks aside that are damaged. */
export async function setAside(task: {
  readonly place: BlockPlace;
  readonly seqs: readonly number[];
}): Promise<StoreAnswer<SetAsideBlock[]>> {
  // Made when needed and then given up: a decoder's memory is much for a thread that never decodes else.
  const { BlockInspector } = await import("./store/block-inspector.ts");
  const inspector = await BlockInspector.create();
  return writing(({ corruptBlocks }) => ({
    value: corruptBlocks.setAside(
      task.place,
      task.seqs,
      (block, stream) => inspector.inspect(block, stream),
      Date.now() * 1000,
    ),
  }));
}

/** Posts to webhooks that are due; beyond `maxWaiting` the oldest were set aside before. */
export function dueWebhooks(task: {
  readonly nowUs: number;
  readonly perUrl: number;
  readonly maxWaiting: number;
}): StoreAnswer<DueWebhooks> {
  return writing(({ writer: { alerts } }) => {
    const overflow = alerts.limit(task.maxWaiting, "limits.maxQueuedWebhooks waited");
    const due = alerts.due(task.nowUs, task.perUrl);
    return { value: { due, nextDueUs: alerts.nextDueUs(task.nowUs), overflow, waiting: alerts.waiting() } };
  });
}

export interface DueWebhooks {
  readonly due: readonly QueuedWebhook[];
  /** When one becomes due that is not yet. */
  readonly nextDueUs: number | null;
  /** Set aside because too many waited. */
  readonly overflow: number;
  readonly waiting: number;
}

/** Says where everything is sent; without sinks nothing is. */
export async function openSync(setup: SyncSetup): Promise<StoreAnswer<SyncOpened>> {
  const codec = await portableCodec();
  return writing(({ sync }) => ({ value: sync.open(setup, codec) }));
}

export function advanceSync(step: SyncStep): StoreAnswer<SyncAdvance> {
  return withStore(({ sync, buffer }) => ({ value: sync.advance(step, () => buffer.keepWithin()) }));
}

export function unparkBatches(): StoreAnswer<ClaimedBatch[]> {
  return writing(({ sync }) => ({ value: sync.unpark() }));
}

export function openRelay(): StoreAnswer<null> {
  return withStore(({ relay }) => {
    relay.open();
    return { value: null };
  });
}

export function storeRelayed(task: StoreRelayedTask): StoreAnswer<RelayedOutcome[]> {
  return withStore(({ buffer, relay }) => {
    const bytes = task.batches.reduce((sum, { body }) => sum + body.length, 0);
    const hasRoom = buffer.makeRoomFor(bytes, task.nowUs);
    return { value: relay.store(hasRoom ? task : { ...task, capBytes: 0 }) };
  });
}

export function nextRelayed(task: NextRelayedTask): StoreAnswer<WaitingBatch | null> {
  return withStore(({ relay }) => ({ value: relay.next(task) }));
}

export function settleRelayed(outcomes: readonly SettleRelayedTask[]): StoreAnswer<null> {
  return writing(({ relay }) => {
    relay.settle(outcomes);
    return { value: null };
  });
}

export function unparkRelayed(): StoreAnswer<number> {
  return writing(({ relay }) => ({ value: relay.unpark() }));
}

export function relayedEdges(): StoreAnswer<RelayedEdge[]> {
  return withStore(({ relay }) => ({ value: relay.edges() }));
}

export function readDocument({
  kind,
  name,
}: Pick<NodeDocument, "kind" | "name">): StoreAnswer<NodeDocument | null> {
  return withStore(({ documents }) => ({ value: documents.read(kind, name) }));
}

export function listDocuments(kind: NodeDocument["kind"]): StoreAnswer<NodeDocument[]> {
  return withStore(({ documents }) => ({ value: documents.list(kind) }));
}

export function putDocument(document: Omit<NodeDocument, "version">): StoreAnswer<null> {
  return writing(({ documents }) => {
    documents.put(document);
    return { value: null };
  });
}

export function dropDocument(document: Omit<NodeDocument, "body">): StoreAnswer<null> {
  return writing(({ documents }) => {
    documents.drop(document);
    return { value: null };
  });
}

/** Durable when it is answered: one transaction, one fsync for all of them. */
export function setAttributes({ tasks, limits }: SetAttributesTasks): StoreAnswer<SetAttributesOutcome[]> {
  return withStore(({ attributes, buffer }) => {
    const nowMs = Date.now();
    const rows = tasks.reduce((sum, task) => sum + Object.keys(task.attributes).length, 0);
    const bytes = tasks.reduce((sum, task) => sum + JSON.stringify(task).length, 0);
    if (!buffer.makeRoomFor(bytes, nowMs * 1_000))
      throw new MillraceError(
        "E_BUFFER_FULL",
        "there is no room left within buffer.cap; raise it, or free the disk",
      );
    buffer.keepWithin(rows, bytes);
    return { value: attributes.set(tasks, limits, nowMs) };
  });
}

export interface SetAttributesTasks {
  readonly tasks: readonly SetAttributesTask[];
  readonly limits: AttributeLimits;
}

export function readAttributes(device: string): StoreAnswer<DeviceAttributes | null> {
  return withStore(({ attributes }) => ({ value: attributes.read(device) }));
}

export function listDevices(task: ListDevicesTask): StoreAnswer<DeviceAttributes[]> {
  return withStore(({ attributes }) => ({ value: attributes.list(task) }));
}

/** A hub said what time it is. @returns how many attributes were stamped anew for it */
export function learnTime(hub: HubTime): StoreAnswer<number> {
  return writing(({ attributes }) => ({ value: attributes.learn(hub, Date.now()) }));
}

export function reportAttributes(): StoreAnswer<AttributeReport> {
  return withStore(({ attributes }) => ({ value: attributes.report(Date.now()) }));
}

export function sizes(): StoreAnswer<{ databaseBytes: number; walBytes: number }> {
  return withStore(({ dir }) => ({ value: databaseSizes(dir) }));
}

export function close(): StoreAnswer<null> {
  const open = store;
  store = null;
  if (open === null) return { value: null };
  return answer(open.dir, () => {
    open.close();
    return { value: null };
  });
}

/** As `withStore`, for what writes: the log has room for it within the cap. */
function writing<T>(run: (open: Store) => { value: T }): StoreAnswer<T> {
  return withStore((open) => {
    open.buffer.keepWithin();
    return run(open);
  });
}

function withStore<T>(run: (open: Store) => { value: T }): StoreAnswer<T> {
  const open = store;
  if (open === null) {
    const message = "the store is not open: the storage thread was closed or lost; start the node again";
    return { failure: { code: "E_STORE_CLOSED", message } };
  }
  return answer(open.dir, () => {
    try {
      return run(open);
    } catch (cause) {
      // What is damaged where a start does not look is not found by it.
      if (tellsOfDamage(cause)) markDamaged(open.dir);
      throw cause;
    }
  });
}

/** Runs it and turns what it throws into a value, for errors lose their code on the way between threads. `dir`: where it happened. */
function answer<T>(dir: string, run: () => { value: T }): StoreAnswer<T> {
  try {
    return run();
  } catch (cause) {
    const { code, message }: MillraceError = explainFailure(cause, databaseFile(dir));
    return { failure: { code, message } };
  }
}

/** The bytes are in the database; this thread's copy of them is not needed any more. */
function releaseBytesOf(operation: CommitOperation): void {
  if (operation.kind === "block" && operation.block !== null) release(operation.block.data.buffer);
  if (operation.kind === "checkpoint") release(operation.state.buffer);
  if (operation.kind === "checkpoint-piece") release(operation.bytes.buffer);
  if (operation.kind === "packed-results") release(operation.packed.bytes.buffer);
}
