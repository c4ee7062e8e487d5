import type { Connection } from "../database.ts";
import type { TreeRow } from "./tree.ts";

/** SQLite's own table of the greatest ids that AUTOINCREMENT columns have had. */
export const SEQUENCES = "sqlite_sequence";
/** How far ids jump when it is not known which were given: no table has had so many. */
const JUMP = 2 ** 40;

const TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'";

/**
 * Ids that were given and whose rows are gone must not be given again: a hub knows batches, results and losses by them.
 * Rows of it as they were found; where none was, all ids go on far beyond those that are there.
 */
export function continueSequences(db: Connection, found: readonly TreeRow[]): void {
  const known = new Map<unknown, number>();
  for (const { values } of found) {
    const [name, seq] = values;
    if (typeof seq === "number" && seq > (known.get(name) ?? 0)) known.set(name, seq);
  }
  const current = db.prepare(`SELECT seq FROM ${SEQUENCES} WHERE name = ?`).pluck();
  for (const name of db.prepare(TABLES).pluck().all() as string[]) {
    const there = current.get(name) as number | undefined;
    const stated = known.size === 0 ? (there ?? 0) + JUMP : known.get(name);
    const next = Math.max(there ?? 0, stated ?? 0);
    if (next === 0) continue;
    db.prepare(`DELETE FROM ${SEQUENCES} WHERE name = ?`).run(name);
    db.prepare(`INSERT INTO ${SEQUENCES} (name, seq) VALUES (?, ?)`).run(name, next);
  }
}
