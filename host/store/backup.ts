import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import Database from "better-sqlite3";
import { MillraceError } from "../../workers/errors.ts";
import { databaseFile, databaseSizes, removeLockFile } from "../../workers/store/data-dir.ts";
import { type Connection, openForReading } from "../../workers/store/database.ts";
import { explainFailure } from "../../workers/store/failure.ts";
import { NEXT_SEQ } from "../../workers/store/next-seq.ts";
import { Store } from "../../workers/store/store.ts";

/** What a backup holds: the same is counted at its moment in the source, and then in the copy. */
export interface BackupCounts {
  /** The greatest seq of the log. */
  readonly lastSeq: number;
  readonly blocks: number;
  readonly events: number;
  /** Stored bytes of the blocks. */
  readonly blockBytes: number;
  readonly results: number;
  readonly deadLetters: number;
  readonly late: number;
  readonly losses: number;
}

export interface Backup extends BackupCounts {
  readonly target: string;
  readonly bytes: number;
  readonly seconds: number;
  /** How long the copy kept the write-ahead log from being emptied. */
  readonly snapshotSeconds: number;
}

export interface BackupParts {
  /** The data directory; a node may be running on it. */
  readonly dir: string;
  /** The directory to make; it is not there yet, or empty. */
  readonly target: string;
  /** Hears of the part of the pages that is copied, 0 to 1. */
  readonly onProgress: (part: number) => void;
}

/** Pages copied between two looks at the clock: 8 MiB. */
const STEP_PAGES = 1_024;
const COUNTS =
  `SELECT ${NEXT_SEQ} - 1 AS lastSeq,` +
  " (SELECT count(*) FROM blocks) AS blocks, (SELECT coalesce(sum(count), 0) FROM blocks) AS events," +
  " (SELECT coalesce(sum(stored_bytes), 0) FROM blocks) AS blockBytes, (SELECT count(*) FROM results) AS results," +
  " (SELECT count(*) FROM dead_letters) AS deadLetters, (SELECT count(*) FROM late) AS late," +
  " (SELECT count(*) FROM losses) AS losses";

/**
 * Copies a data directory as it is at one moment, while a node writes to it, and proves that the copy opens and is whole.
 * The target appears by a rename, when all of this is done and durable; otherwise nothing of it is left. Commits are not
 * held up; the write-ahead log is not emptied while pages are copied, so it grows by what is committed meanwhile.
 * @throws MillraceError E_BACKUP_TARGET, E_BACKUP_DAMAGED, E_DISK_FULL, or as `explainFailure`
 */
export async function backUp({ dir, target, onProgress }: BackupParts): Promise<Backup> {
  const path = resolve(target);
  if (!existsSync(databaseFile(dir)))
    throw new MillraceError(
      "E_DATA_DIR_ACCESS",
      `${dir} is no data directory: there is no ${databaseFile(dir)}`,
    );
  checkTarget(path, dir);
  const partial = join(dirname(path), `.${basename(path)}.partial-${process.pid}`);
  const startedMs = performance.now();
  try {
    mkdirSync(partial, { recursive: true });
    checkSpace(partial, dir);
    const { counts, snapshotMs } = await copyPages(dir, partial, onProgress);
    verify(partial, counts);
    sync(databaseFile(partial));
    sync(partial);
    renameSync(partial, path);
    sync(dirname(path));
    const { databaseBytes: bytes } = databaseSizes(path);
    const seconds = (performance.now() - startedMs) / 1_000;
    return { ...counts, target: path, bytes, seconds, snapshotSeconds: snapshotMs / 1_000 };
  } catch (cause) {
    rmSync(partial, { recursive: true, force: true });
    throw explainFailure(cause, path);
  }
}

function checkTarget(path: string, dir: string): void {
  if (path === resolve(dir))
    throw new MillraceError("E_BACKUP_TARGET", `${path} is the data directory itself; name another`);
  if (!existsSync(path)) return;
  let entries: readonly string[];
  try {
    entries = readdirSync(path);
  } catch (cause) {
    throw new MillraceError("E_BACKUP_TARGET", `${path} is there and no directory; name a new one`, {
      cause,
    });
  }
  if (entries.length > 0)
    throw new MillraceError("E_BACKUP_TARGET", `${path} is not empty; name a new directory, or an empty one`);
}

function checkSpace(partial: string, dir: string): void {
  const { bavail, bsize } = statfsSync(partial);
  const { databaseBytes, walBytes } = databaseSizes(dir);
  const free = bavail * bsize;
  if (free >= databaseBytes + walBytes) return;
  throw new MillraceError(
    "E_DISK_FULL",
    `the backup needs up to ${databaseBytes + walBytes} bytes, and ${free} are free beside its target; nothing was copied`,
  );
}

/**
 * One read transaction spans counting and copying: between its steps, SQLite would begin again at every commit of the node.
 */
async function copyPages(
  dir: string,
  partial: string,
  onProgress: (part: number) => void,
): Promise<{ readonly counts: BackupCounts; readonly snapshotMs: number }> {
  const source = openForReading(dir);
  try {
    const startedMs = performance.now();
    source.exec("BEGIN");
    const counts = readCounts(source);
    await source.backup(databaseFile(partial), {
      progress: ({ totalPages, remainingPages }) => {
        onProgress(totalPages === 0 ? 0 : 1 - remainingPages / totalPages);
        return STEP_PAGES;
      },
    });
    source.exec("COMMIT");
    return { counts, snapshotMs: performance.now() - startedMs };
  } finally {
    source.close();
  }
}

function readCounts(db: Connection): BackupCounts {
  return db.prepare(COUNTS).get() as BackupCounts;
}

/** Has SQLite look at every page, counts again, and does with the copy what a node does at its start. */
function verify(partial: string, expected: BackupCounts): void {
  const db = new Database(databaseFile(partial));
  try {
    const problems = db.pragma("integrity_check") as { integrity_check: string }[];
    const said = problems.map((row) => row.integrity_check).join("; ");
    if (said !== "ok") {
      throw new MillraceError(
        "E_BACKUP_DAMAGED",
        `the copy is not whole (${said.slice(0, 300)}): the data directory itself is damaged, or the target's disk`,
      );
    }
    const counts = readCounts(db);
    for (const name of Object.keys(expected) as (keyof BackupCounts)[]) {
      if (counts[name] === expected[name]) continue;
      const message = `the copy has ${counts[name]} ${name}, not ${expected[name]}`;
      throw new MillraceError("E_BACKUP_DAMAGED", message);
    }
  } finally {
    db.close();
  }
  try {
    Store.open(partial).close();
  } catch (cause) {
    // Without its key, a copy of encrypted data is as whole as its pages and counts are.
    if (!(cause instanceof MillraceError && cause.code === "E_KEY_MISSING")) throw cause;
  }
  removeLockFile(partial);
}

function sync(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
