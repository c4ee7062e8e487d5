import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  truncateSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import Database from "better-sqlite3";
import { MillraceError } from "../errors.ts";
import { explainFailure } from "./failure.ts";

const DATABASE_FILE = "millrace.db";
const LOCK_FILE = "millrace.lock";

/** What a process holds while it is the one that writes. `close` lets the directory go. */
export interface DataDirLock {
  close(): unknown;
}

export function databaseFile(dir: string): string {
  return join(dir, DATABASE_FILE);
}

/**
 * Takes the data directory for this process, and makes it when it is not there. The lock is a transaction held open
 * in a database of its own: the operating system's file lock dies with the process, so a killed node leaves nothing
 * to clean up, and readers of the main database are not locked out.
 * @throws MillraceError E_DATA_DIR_LOCKED, or as `explainFailure`
 */
export function lockDataDir(dir: string): DataDirLock {
  const file = join(dir, LOCK_FILE);
  try {
    return takeLock(dir, file);
  } catch (cause) {
    if (!(cause instanceof MillraceError && cause.code === "E_STORE_UNREADABLE")) throw cause;
    // The file holds nothing. Whoever held it would have found it whole, so damage means that nobody does.
    truncateSync(file, 0);
    return takeLock(dir, file);
  }
}

function takeLock(dir: string, file: string): DataDirLock {
  let lock: Database.Database | null = null;
  try {
    makeDurableDir(dir);
    lock = new Database(file, { timeout: 0 });
    lock.pragma("locking_mode = EXCLUSIVE");
    lock.exec("BEGIN EXCLUSIVE");
    return lock;
  } catch (cause) {
    lock?.close();
    if (!(cause instanceof Error && "code" in cause && String(cause.code).startsWith("SQLITE_BUSY"))) {
      throw explainFailure(cause, lock === null ? dir : file);
    }
    throw new MillraceError(
      "E_DATA_DIR_LOCKED",
      `another process uses the data directory ${dir}; stop it, or give this one its own with --data`,
      { cause },
    );
  }
}

/** Takes away what a lock leaves behind; nobody holds the directory. */
export function removeLockFile(dir: string): void {
  rmSync(join(dir, LOCK_FILE), { force: true });
}

/** Bytes of the database and of its write-ahead log on disk. */
export function databaseSizes(dir: string): { databaseBytes: number; walBytes: number } {
  const size = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  const file = databaseFile(dir);
  return { databaseBytes: size(file), walBytes: size(`${file}-wal`) };
}

/** Another process may make it at the same time. */
function makeDir(path: string): void {
  try {
    mkdirSync(path);
  } catch (cause) {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) throw cause;
  }
}

/** SQLite fsyncs the directory of its files; the entries of new directories above them are for us to make durable. */
function makeDurableDir(dir: string): void {
  const path = resolve(dir);
  if (existsSync(path) && statSync(path).isDirectory()) return;
  // Not `recursive`: that tries for ever where a folder is there and can have none in it, as in /proc.
  const missing: string[] = [];
  for (let above = path; !existsSync(above) && dirname(above) !== above; above = dirname(above))
    missing.push(above);
  for (const each of missing.toReversed()) makeDir(each);
  if (process.platform === "win32") return;
  for (const made of missing) {
    const above = openSync(dirname(made), "r");
    try {
      fsyncSync(above);
    } finally {
      closeSync(above);
    }
  }
}
