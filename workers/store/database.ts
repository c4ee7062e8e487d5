import { existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { MillraceError } from "../errors.ts";
import { MIGRATIONS } from "./migrations.ts";

export type Connection = Database.Database;

const DATABASE_FILE = "millrace.db";
const LOCK_FILE = "millrace.lock";
/** Blobs of 4 to 256 KiB: larger pages make shorter overflow chains. */
const PAGE_BYTES = 8192;
/** Pages in the WAL before a checkpoint moves them into the database: 32 MiB. */
const WAL_CHECKPOINT_PAGES = 4096;
/** The WAL file is cut back to this after a checkpoint that emptied it. */
const WAL_LIMIT_BYTES = 64 * 1024 * 1024;

export function databaseFile(dir: string): string {
  return join(dir, DATABASE_FILE);
}

/**
 * Takes the data directory for this process. The lock is a transaction held open in a database of its own: the
 * operating system's file lock dies with the process, so a killed node leaves nothing to clean up.
 * @throws MillraceError E_DATA_DIR_LOCKED
 */
export function lockDataDir(dir: string): Connection {
  mkdirSync(dir, { recursive: true });
  const lock = new Database(join(dir, LOCK_FILE), { timeout: 0 });
  try {
    lock.pragma("locking_mode = EXCLUSIVE");
    lock.exec("BEGIN EXCLUSIVE");
    return lock;
  } catch (cause) {
    lock.close();
    throw new MillraceError(
      "E_DATA_DIR_LOCKED",
      `another process uses the data directory ${dir}; stop it, or give this one its own with --data`,
      { cause },
    );
  }
}

/**
 * Opens the database for writing and brings it to this release's schema.
 * @throws MillraceError E_STORE_NEWER when a later release wrote it, E_STORE_UNREADABLE when it is no database
 */
export function openForWriting(dir: string): Connection {
  const file = databaseFile(dir);
  try {
    const db = new Database(file);
    db.pragma(`page_size = ${PAGE_BYTES}`);
    db.pragma("journal_mode = WAL");
    db.pragma("synchronous = FULL");
    db.pragma("foreign_keys = ON");
    db.pragma("busy_timeout = 5000");
    db.pragma(`wal_autocheckpoint = ${WAL_CHECKPOINT_PAGES}`);
    db.pragma(`journal_size_limit = ${WAL_LIMIT_BYTES}`);
    migrate(db, file);
    return db;
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause;
    throw new MillraceError(
      "E_STORE_UNREADABLE",
      `the database ${file} cannot be opened (${cause instanceof Error ? cause.message : String(cause)}); ` +
        "move it aside to start empty, or restore a backup",
      { cause },
    );
  }
}

/** A connection that cannot write; it sees what is committed. */
export function openForReading(dir: string): Connection {
  const db = new Database(databaseFile(dir), { readonly: true, fileMustExist: true });
  db.pragma("busy_timeout = 5000");
  return db;
}

/** Bytes of the database and of its write-ahead log on disk. */
export function databaseSizes(dir: string): { databaseBytes: number; walBytes: number } {
  const size = (file: string): number => (existsSync(file) ? statSync(file).size : 0);
  const file = databaseFile(dir);
  return { databaseBytes: size(file), walBytes: size(`${file}-wal`) };
}

function migrate(db: Connection, file: string): void {
  const version = db.pragma("user_version", { simple: true }) as number;
  if (version > MIGRATIONS.length) {
    throw new MillraceError(
      "E_STORE_NEWER",
      `${file} was written by a later release (schema ${version}, this one knows ${MIGRATIONS.length}); ` +
        "start that release, or give this one its own directory with --data",
    );
  }
  for (let next = version; next < MIGRATIONS.length; next++) {
    db.transaction(() => {
      db.exec(MIGRATIONS[next]!);
      db.pragma(`user_version = ${next + 1}`);
    })();
  }
}
