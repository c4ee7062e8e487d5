import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
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
  const stamp = new Date(nowUs / 1000).toISOString().replaceAll(":", "");
  const kept = `${file}.damaged-${stamp}`;
  try {
    writeWhole(made, bytes);
    // A damaged log is there until the new one is: whoever is interrupted begins again.
    writeWhole(kept, readFileSync(file));
  } catch (cause) {
    // A full disk, say, which parts of them would keep full.
    for (const part of [made, kept]) rmSync(part, { force: true });
    throw cause;
  }
  renameSync(made, file);
  // The index of the log is made anew.
  rmSync(`${databaseFile}-shm`, { force: true });
  forgetOld(dirname(file), `${basename(file)}.damaged-`);
  return mended;
}

/** All of it, on the disk: a single write may end early, without a word, where the disk is full. */
function writeWhole(file: string, bytes: Uint8Array): void {
  const fd = openSync(file, "w");
  try {
    writeFileSync(fd, bytes);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function forgetOld(dir: string, prefix: string): void {
  const names = readdirSync(dir).filter((name) => name.startsWith(prefix));
  for (const old of names.sort().slice(0, -DAMAGED_KEPT)) rmSync(join(dir, old), { force: true });
}
