import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { pageBytesOf } from "./page-size.ts";
import { mendWal } from "./wal-file.ts";

/** Damaged logs kept for a look at them. */
const DAMAGED_KEPT = 2;

/**
 * Puts the write-ahead log of a database right that nobody has open, as far as it can be: SQLite would read it up to the
 * first damaged frame and forget the rest. The log as it was is kept beside it. @returns what was done, in words.
 */
export function mendLog(databaseFile: string, nowUs: number): readonly string[] {
  const file = `${databaseFile}-wal`;
  if (!existsSync(file)) return [];
  const bytes = readFileSync(file);
  const mended = mendWal(bytes, pageBytesOf(databaseFile))?.mended ?? [];
  if (mended.length === 0) return [];
  const made = `${file}.mended`;
  const fd = openSync(made, "w");
  try {
    writeSync(fd, bytes);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  // A damaged log is there until the new one is: whoever is interrupted begins again.
  const stamp = new Date(nowUs / 1000).toISOString().replaceAll(":", "");
  const kept = openSync(`${file}.damaged-${stamp}`, "w");
  try {
    writeSync(kept, readFileSync(file));
  } finally {
    closeSync(kept);
  }
  renameSync(made, file);
  // The index of the log is made anew.
  rmSync(`${databaseFile}-shm`, { force: true });
  forgetOld(dirname(file), `${basename(file)}.damaged-`);
  return mended;
}

function forgetOld(dir: string, prefix: string): void {
  const names = readdirSync(dir).filter((name) => name.startsWith(prefix));
  for (const old of names.sort().slice(0, -DAMAGED_KEPT)) rmSync(join(dir, old), { force: true });
}
