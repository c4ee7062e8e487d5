import type { KeyRing } from "../seal/key-ring.ts";
import type { MasterKeys } from "../seal/master-key.ts";
import { NO_SEAL } from "../seal/seal.ts";
import { AttributeStore } from "./attribute-store.ts";
import { BufferKeeper } from "./buffer-keeper.ts";
import type { Checkpoint } from "./checkpoint-store.ts";
import { Compaction } from "./compaction.ts";
import { CorruptBlocks } from "./corrupt-blocks.ts";
import { type DataDirLock, databaseFile, lockDataDir } from "./data-dir.ts";
import { type Connection, openForWriting } from "./database.ts";
import { DocumentStore } from "./document-store.ts";
import { explainFailure, foundDamaged } from "./failure.ts";
import { openKeyRing, refuseWrongKeys } from "./key-table.ts";
import { readConfigs } from "./log-reader.ts";
import { PlainData } from "./plain-data.ts";
import { type Rebuild, readRebuild } from "./rebuild.ts";
import { RelayStore } from "./relay-store.ts";
import { mendLog } from "./repair/mend-log.ts";
import { finishSalvage, isMarkedDamaged } from "./repair/salvage-place.ts";
import { prepareStatements, type Statements } from "./statements.ts";
import { type StoredStream, StreamTable } from "./stream-table.ts";
import { SyncStore } from "./sync-store.ts";
import { DEFAULT_LIMITS, type StoreLimits, Writer } from "./writer.ts";

/** What a node finds when it opens its store. */
export interface Recovered {
  readonly lastSeq: number;
  readonly checkpoint: Checkpoint | null;
  /** The greatest number that a checkpoint's segment has had. */
  readonly lastSegment: number;
  /** Seqs of checkpoints that were found damaged; they are gone, but for the place of the newest where no sound one is left. */
  readonly damagedCheckpoints: readonly number[];
  /** Where there is no checkpoint that can be used. */
  readonly rebuild: Rebuild | null;
  /** What was put right in the write-ahead log, in words. */
  readonly mendedLog: readonly string[];
  readonly streams: readonly StoredStream[];
  /** The sets of queries in force at the checkpoint and now; null when none was ever written. */
  readonly configs: ReturnType<typeof readConfigs>;
}

/** The open store of one data directory: one connection that writes, and the lock that makes it the only one. */
export class Store {
  readonly dir: string;
  readonly sql: Statements;
  readonly writer: Writer;
  readonly compaction: Compaction;
  readonly buffer: BufferKeeper;
  readonly sync: SyncStore;
  readonly relay: RelayStore;
  readonly documents: DocumentStore;
  readonly attributes: AttributeStore;
  readonly corruptBlocks: CorruptBlocks;
  readonly recovered: Recovered;
  readonly #lock: DataDirLock;
  readonly #db: Connection;

  /** null without a key. */
  readonly encryption: { readonly keys: KeyRing; readonly plain: PlainData } | null;

  private constructor(
    dir: string,
    lock: DataDirLock,
    db: Connection,
    limits: StoreLimits,
    masters: MasterKeys | null,
    mendedLog: readonly string[],
  ) {
    this.dir = dir;
    this.#lock = lock;
    this.#db = db;
    this.encryption = masters === null ? null : encrypt(db, masters);
    this.sql = prepareStatements(db, this.encryption?.keys);
    const streams = new StreamTable(this.sql);
    this.writer = new Writer(db, this.sql, streams, limits);
    this.compaction = new Compaction(db, this.sql, streams);
    const { checkpoints } = this.writer;
    const lastSegment = checkpoints.lastSegment();
    checkpoints.sweepAll();
    const checkpoint = checkpoints.read();
    if (checkpoint === null && checkpoints.lostSeq > 0) this.writer.rebuilt.begin(checkpoints.lostSeq);
    this.corruptBlocks = new CorruptBlocks(db, this.sql, streams);
    this.buffer = new BufferKeeper({ db, sql: this.sql, dir, streams, writer: this.writer });
    this.sync = new SyncStore(db, streams, this.writer.outbox);
    this.relay = new RelayStore(db, this.encryption?.keys ?? NO_SEAL);
    this.documents = new DocumentStore(db, this.encryption?.keys ?? NO_SEAL);
    this.documents.open();
    this.attributes = new AttributeStore(db, this.encryption?.keys ?? NO_SEAL);
    this.recovered = {
      lastSeq: this.writer.lastSeq,
      checkpoint,
      lastSegment,
      damagedCheckpoints: checkpoints.damagedSeqs,
      rebuild: checkpoint === null ? readRebuild(db, checkpoints.lostSeq) : null,
      mendedLog,
      configs: readConfigs(this.sql, checkpoint?.seq ?? 0),
      streams: streams.describe(),
    };
  }

  /**
   * @throws MillraceError E_DATA_DIR_LOCKED, E_STORE_NEWER, E_STORE_UNREADABLE, or as `explainFailure`; E_KEY_MISSING,
   * E_KEY_WRONG, E_KEY_DAMAGED with nothing changed
   */
  static open(dir: string, limits: StoreLimits = DEFAULT_LIMITS, masters: MasterKeys | null = null): Store {
    const lock = lockDataDir(dir);
    let db: Connection | null = null;
    try {
      finishSalvage(dir);
      refuseWrongKeys(dir, masters);
      if (isMarkedDamaged(dir)) throw foundDamaged(databaseFile(dir));
      const mended = mendLog(databaseFile(dir), Date.now() * 1000);
      // What was hidden behind the damage may have been the keys.
      if (mended.length > 0) refuseWrongKeys(dir, masters);
      db = openForWriting(dir);
      return new Store(dir, lock, db, limits, masters, mended);
    } catch (cause) {
      db?.close();
      lock.close();
      throw explainFailure(cause, databaseFile(dir));
    }
  }

  /** Moves the write-ahead log into the database and lets the data directory go. A second call does nothing. */
  close(): void {
    if (!this.#db.open) return;
    try {
      this.#db.pragma("wal_checkpoint(TRUNCATE)");
    } catch {
      // A full disk, say. What was committed stays in the log, which the next opening reads.
    } finally {
      this.#db.close();
      this.#lock.close();
    }
  }
}

/** What was stored before there was a key, and is looked up by its texts, is sealed before anything else happens. */
function encrypt(db: Connection, masters: MasterKeys): NonNullable<Store["encryption"]> {
  const keys = openKeyRing(db, masters);
  const plain = new PlainData(db, keys);
  plain.begin();
  if (keys.wrapsByOther()) keys.rewrap(masters);
  plain.sealLookups();
  plain.rewrite();
  return { keys, plain };
}
