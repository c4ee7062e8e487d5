import { join } from "node:path";
import Database from "better-sqlite3";
import { MillraceError } from "../errors.ts";
import type { Connection } from "../store/database.ts";
import { explainFailure } from "../store/failure.ts";
import { HUB_MIGRATIONS } from "./migrations.ts";

const DATABASE_FILE = "hub.db";
const PAGE_BYTES = 8192;
/** A hub has a disk of its own and long transactions: 64 MiB of log before it is moved into the database. */
const WAL_CHECKPOINT_PAGES = 8192;
const WAL_LIMIT_BYTES = 256 * 1024 * 1024;
const BUSY_TIMEOUT_MS = 5_000;

export function hubFile(dir: string): string {
  return join(dir, DATABASE_FILE);
}

/** @throws MillraceError E_STORE_NEWER, or as `explainFailure` */
export function openHubForWriting(dir: string): Connection {
  const file = hubFile(dir);
  let db: Connection | null = null;
  try {
    db = new Database(file, { timeout: BUSY_TIMEOUT_MS });
    db.pragma(`page_size = ${PAGE_BYTES}`);
    db.pragma("auto_vacuum = INCREMENTAL");
    db.pragma("journal_mode = WAL");
    // An edge deletes what the hub has taken: it must be there after a power loss.
    db.pragma("synchronous = FULL");
    db.pragma("foreign_keys = ON");
    db.pragma(`wal_autocheckpoint = ${WAL_CHECKPOINT_PAGES}`);
    db.pragma(`journal_size_limit = ${WAL_LIMIT_BYTES}`);
    migrate(db, file);
    return db;
  } catch (cause) {
    db?.close();
    throw explainFailure(cause, file);
  }
}

export function openHubForReading(dir: string): Connection {
  const file = hubFile(dir);
  try {
    return new Database(file, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
  } catch (cause) {
    throw explainFailure(cause, file);
  }
}

function migrate(db: Connection, file: string): void {
  const version = db.pragma("user_version", { simple: true }) as number;
  if (version > HUB_MIGRATIONS.length) {
    throw new MillraceError(
      "E_STORE_NEWER",
      `${file} was written by a later release (schema ${version}, this one knows ${HUB_MIGRATIONS.length}); ` +
        "start that release, or give this one its own directory with --data",
    );
  }
  for (let next = version; next < HUB_MIGRATIONS.length; next++) {
    db.transaction(() => {
      db.exec(HUB_MIGRATIONS[next]!);
      db.pragma(`user_version = ${next + 1}`);
    })();
  }
}
