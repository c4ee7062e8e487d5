import { MillraceError } from "../errors.ts";

/** What stood in the way, as a value: errors lose their code on the way between threads. */
export interface StoreFailure {
  readonly failure: { readonly code: string; readonly message: string };
}

const DISK_FULL = /^(SQLITE_FULL|ENOSPC|EDQUOT)/;

/**
 * Says of an error of SQLite or the file system what it means for the data directory and what to do.
 * Codes: E_DISK_FULL, E_STORE_BUSY, E_DATA_DIR_ACCESS, E_STORE_UNREADABLE; E_STORE for anything else.
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

function codeOf(cause: unknown): string {
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
      `${path} cannot be read (${detail}); restore a backup, or move the file and those beside it ` +
        "(-wal, -shm) away to start empty",
    ];
  }
  return ["E_STORE", `the store ${path} failed: ${detail}`];
}
