import { MillraceError } from "./errors.ts";
import type { CommitOperation, CommitOutcome, LogEntry, StoredBlock } from "./messages.ts";
import { type Connection, databaseSizes, lockDataDir, openForWriting } from "./store/database.ts";
import { type SmallBlocks, type StoredStream, Writer } from "./store/writer.ts";

/** What a node finds when it opens its store. */
export interface Recovered {
  readonly lastSeq: number;
  readonly checkpoint: { readonly seq: number; readonly state: Uint8Array<ArrayBuffer> } | null;
  readonly streams: readonly StoredStream[];
}

interface OpenStore {
  readonly dir: string;
  readonly lock: Connection;
  readonly db: Connection;
  readonly writer: Writer;
}

/** Groups merged in one round of compaction. */
const COMPACTION_GROUPS = 8;

let store: OpenStore | null = null;

/** What stood in the way. Errors lose their code on the way between threads, so this one crosses as a value. */
export interface OpenFailure {
  readonly code: string;
  readonly message: string;
}

/** Opens and locks the data directory. Fails with E_DATA_DIR_LOCKED, E_STORE_NEWER or E_STORE_UNREADABLE. */
export function open(dir: string): Recovered | OpenFailure {
  try {
    return openStore(dir);
  } catch (cause) {
    if (cause instanceof MillraceError) return { code: cause.code, message: cause.message };
    throw cause;
  }
}

function openStore(dir: string): Recovered {
  const lock = lockDataDir(dir);
  try {
    const db = openForWriting(dir);
    store = { dir, lock, db, writer: new Writer(db) };
  } catch (cause) {
    lock.close();
    throw cause;
  }
  const { writer } = store;
  return { lastSeq: writer.lastSeq, checkpoint: writer.checkpoint(), streams: writer.streams() };
}

export function commit(operations: readonly CommitOperation[]): CommitOutcome[] {
  return opened().writer.commit(operations, Date.now() * 1000);
}

export function readLog(task: { readonly afterSeq: number; readonly maxBytes: number }): LogEntry[] {
  return opened().writer.readLog(task.afterSeq, task.maxBytes);
}

export function listSmall(task: { readonly upToSeq: number; readonly targetBytes: number }): SmallBlocks[] {
  return opened().writer.listSmall(task.upToSeq, task.targetBytes, COMPACTION_GROUPS);
}

export function swap(task: { readonly removeSeqs: readonly number[]; readonly into: StoredBlock }): void {
  opened().writer.swap(task.removeSeqs, task.into);
}

export function sizes(): { databaseBytes: number; walBytes: number } {
  return databaseSizes(opened().dir);
}

/** Moves the write-ahead log into the database and lets the data directory go. */
export function close(): void {
  if (store === null) return;
  store.db.pragma("wal_checkpoint(TRUNCATE)");
  store.db.close();
  store.lock.close();
  store = null;
}

function opened(): OpenStore {
  if (store === null) throw new MillraceError("E_STORE_CLOSED", "the store is not open");
  return store;
}
