import { MillraceError } from "../errors.ts";

/** What stood in the way, as a value: errors lose their code on the way between threads. */
export interface StoreFailure {
  readonly failure: { readonly code: string; readonly message: string };
}

/** A write that fails leaves what is stored as it was. */
const DISK_REFUSES = /^SQLITE_IOERR_(WRITE|FSYNC|DIR_FSYNC|TRUNCATE|DELETE|SHM)/;
const DISK_FULL = /^(SQLITE_FULL|ENOSPC|EDQUOT)/;

/**
 * Says of an error of SQLite or the file system what it means for the data directory and what to do.
 * Codes: E_DISK_FULL, E_DISK_UNWRITABLE, E_STORE_BUSY, E_STORE_UNFINISHED, E_DATA_DIR_ACCESS, E_STORE_UNREADABLE; E_STORE for
 * anything else.
 */
export function explainFailure(cause: unknown, path: string): MillraceError {
  if (cause instanceof MillraceError) return cause;
  const detail = cause instanceof Error ? cause.message : String(cause);
  const [code, message] = classify(codeOf(cause), path, detail);
  return new MillraceError(code, message, { cause });
}

/** Whether an error of SQLite or the file system says that there is no space left. */
export function isDiskFull(cause: unknown): boolean {
  return DISK_FULL.test(codeOf(cause));
}

/** A process before this one found the database damaged. */
export function foundDamaged(path: string): MillraceError {
  const message = `${path} was found to be damaged; the next start saves what can be read of it`;
  return new MillraceError("E_STORE_UNREADABLE", message);
}

/** Whether SQLite or a row of ours says that the database's content is damaged, and not just out of reach. */
export function tellsOfDamage(cause: unknown): boolean {
  return /^SQLITE_(CORRUPT|NOTADB)/.test(codeOf(cause));
}

function codeOf(cause: unknown): string {
  // Text of ours in a row is none any more.
  if (cause instanceof SyntaxError) return "SQLITE_CORRUPT";
  return cause instanceof Error && "code" in cause ? String(cause.code) : "";
}

function classify(code: string, path: string, detail: string): readonly [string, string] {
  if (DISK_FULL.test(code)) {
    return [
      "E_DISK_FULL",
      `no space left for ${path} (${detail}); free space on its disk: nothing stored is lost`,
    ];
  }
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) {
    return ["E_STORE_BUSY", `another program holds ${path} (${detail}); close it and try again`];
  }
  if (DISK_REFUSES.test(code)) {
    return [
      "E_DISK_UNWRITABLE",
      `the disk of ${path} does not take what is written (${detail}): it is read-only or failing; look at the system's log. ` +
        "Nothing stored is lost, and the node goes on by itself once it can write",
    ];
  }
  if (code === "SQLITE_READONLY_ROLLBACK") {
    // Only before there is a write-ahead log: who reads must not put it right.
    return [
      "E_STORE_UNFINISHED",
      `the power was cut while ${path} was made; the next \`millrace start\`, or \`millrace doctor --repair\`, finishes it`,
    ];
  }
  if (/^(SQLITE_(CANTOPEN|PERM|READONLY|AUTH)|EACCES|EPERM|EROFS|ENOTDIR|EEXIST|EISDIR|ENOENT)/.test(code)) {
    return [
      "E_DATA_DIR_ACCESS",
      `${path} cannot be opened for writing (${detail}); ` +
        "check that it is a directory of this user on a writable disk, or give another one with --data",
    ];
  }
  if (/^(SQLITE_(NOTADB|CORRUPT|IOERR|ERROR)|EIO)/.test(code)) {
    return [
      "E_STORE_UNREADABLE",
      `${path} cannot be read (${detail}); \`millrace start\` saves what can be read of it, ` +
        "`millrace doctor --repair` does so without starting",
    ];
  }
  return ["E_STORE", `the store ${path} failed: ${detail}`];
}
