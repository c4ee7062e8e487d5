import Database from "better-sqlite3";
import { MillraceError } from "../errors.ts";
import { databaseFile } from "./data-dir.ts";
import { explainFailure } from "./failure.ts";
import { MIGRATIONS } from "./migrations.ts";

export type Connection = Database.Database;

/**
 * Of a new database: one that is there keeps its own, 8 KiB where it is older. A small commit writes seven or eight pages whatever
 * their size, so a page is as small as the file system's. Why, and what it costs large commits: docs/decisions/0051-small-pages.md.
 */
export const PAGE_BYTES = 4096;
/**
 * In the write-ahead log before a commit moves it into the database. That commit is the slow one,
 * so this sets the tail, and hardly the rate (64 KiB blocks): 8 MiB 4,290/s, p99.9 8 ms; 16 MiB 4,580/s, 9 ms;
 * 32 MiB 4,610/s, 16 ms; 64 MiB 4,840/s, 29 ms; 128 MiB 3,850/s, 44 ms.
 */
const WAL_CHECKPOINT_BYTES = 16 * 1024 * 1024;
/** The file of the log is cut back to this after a checkpoint that emptied it: one long transaction may grow it. */
const WAL_LIMIT_BYTES = 64 * 1024 * 1024;
/**
 * Pages of the database that are kept in memory. A full cache of 4 MiB took 2 to 3 MB more at 100,000 events/s, since its pages stand between
 * pieces of the C library's heap that come and go, and gained nothing over this one (docs/decisions/0055-what-merging-takes.md). Reads
 * that miss it find the page with the kernel. What a transaction has changed and does not fit is written into the log before it ends,
 * and again when it is changed once more: 10,000 results in one, the most there are, just fit.
 */
const CACHE_KIB = 1536;
/** How long to wait for a program that holds the database for a moment, such as a backup. */
const BUSY_TIMEOUT_MS = 5_000;

/**
 * Opens the database for writing and brings it to this release's schema, or to that of an older `version`.
 * @throws MillraceError E_STORE_NEWER when a later release wrote it, E_STORE_UNREADABLE when it is no database or
 * damaged where it was looked at, or as `explainFailure`
 */
export function openForWriting(dir: string, version = MIGRATIONS.length): Connection {
  const file = databaseFile(dir);
  let db: Connection | null = null;
  try {
    db = new Database(file, { timeout: BUSY_TIMEOUT_MS });
    db.pragma(`page_size = ${PAGE_BYTES}`);
    // Lets evicted blocks give their space back to the disk. Costs 3 to 5 % of a commit's CPU time, and cannot be
    // turned on later without rewriting the whole file.
    db.pragma("auto_vacuum = INCREMENTAL");
    db.pragma(`cache_size = -${CACHE_KIB}`);
    db.pragma("journal_mode = WAL");
    // An acknowledged event is fsynced. Not SQLite's default here: better-sqlite3 is built with NORMAL for WAL.
    db.pragma("synchronous = FULL");
    db.pragma("foreign_keys = ON");
    const pageBytes = db.pragma("page_size", { simple: true }) as number;
    db.pragma(`wal_autocheckpoint = ${WAL_CHECKPOINT_BYTES / pageBytes}`);
    db.pragma(`journal_size_limit = ${WAL_LIMIT_BYTES}`);
    migrate(db, file, version);
    return db;
  } catch (cause) {
    db?.close();
    throw explainFailure(cause, file);
  }
}

/** A connection that cannot write; it sees what is committed. */
export function openForReading(dir: string): Connection {
  const file = databaseFile(dir);
  try {
    const db = new Database(file, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
    db.pragma(`cache_size = -${CACHE_KIB}`);
    return db;
  } catch (cause) {
    throw explainFailure(cause, file);
  }
}

function migrate(db: Connection, file: string, upTo: number): void {
  const version = db.pragma("user_version", { simple: true }) as number;
  if (version > MIGRATIONS.length) {
    throw new MillraceError(
      "E_STORE_NEWER",
      `${file} was written by a later release (schema ${version}, this one knows ${MIGRATIONS.length}); ` +
        "start that release, or give this one its own directory with --data",
    );
  }
  for (let next = version; next < upTo; next++) {
    db.transaction(() => {
      db.exec(MIGRATIONS[next]!);
      db.pragma(`user_version = ${next + 1}`);
    })();
  }
}
