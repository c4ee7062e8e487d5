import { closeSync, existsSync, fsyncSync, openSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { databaseFile } from "../data-dir.ts";

/** Folder of the data directory in which the new database grows: it takes the old one's place when it is whole. */
const WORKSHOP = "millrace.salvage";
/** There when a running node met damage that a start might not read. */
const MARKER = "millrace.damaged";

export function workshopOf(dir: string): string {
  return join(dir, WORKSHOP);
}

/** Says to the next start that the database is damaged in a place that a start might not read. */
export function markDamaged(dir: string): void {
  try {
    closeSync(openSync(join(dir, MARKER), "w"));
  } catch {
    // Without it the next start finds the damage when it reads there.
  }
}

export function isMarkedDamaged(dir: string): boolean {
  return existsSync(join(dir, MARKER));
}

/**
 * A salvage that was interrupted between taking the old database away and putting the new one in its place is brought to
 * its end; one that was interrupted before begins again when it is needed.
 */
export function finishSalvage(dir: string): void {
  const workshop = workshopOf(dir);
  if (!existsSync(workshop)) return;
  const made = databaseFile(workshop);
  // The old one is taken away only when the new one is whole.
  if (!existsSync(databaseFile(dir)) && existsSync(made)) {
    keepOldLog(databaseFile(dir));
    renameSync(made, databaseFile(dir));
  }
  rmSync(workshop, { recursive: true, force: true });
  syncDir(dir);
}

/** The old database's log goes after it, for it is none of the new one's. */
function keepOldLog(file: string): void {
  const damaged = readdirSync(dirname(file)).filter((name) => name.startsWith(`${basename(file)}.damaged-`));
  const keptAs = damaged
    .filter((name) => !/-(wal|shm)$/.test(name))
    .sort()
    .at(-1);
  const name = keptAs === undefined ? `${file}.damaged-unnamed` : join(dirname(file), keptAs);
  for (const suffix of ["-wal", "-shm"])
    if (existsSync(file + suffix)) renameSync(file + suffix, name + suffix);
  syncDir(dirname(file));
}

export function forgetMarker(dir: string): void {
  rmSync(join(dir, MARKER), { force: true });
}

export function syncDir(dir: string): void {
  if (process.platform === "win32") return;
  const fd = openSync(dir, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
