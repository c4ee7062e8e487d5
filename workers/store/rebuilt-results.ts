import type { Statement } from "better-sqlite3";
import type { ResultRow } from "../messages.ts";
import { resultKeyName } from "../seal/result-seal.ts";
import type { Seal } from "../seal/seal.ts";
import type { Connection } from "./database.ts";

/**
 * Results of windows that were made anew without a checkpoint. Of merged blocks a window has fewer revisions than it was given
 * under, so its next one would stand before the last that is stored, and never be seen. Here it gets the number behind.
 */
export class RebuiltResults {
  readonly #seal: Seal;
  readonly #begin: Statement<unknown[]>;
  readonly #newest: Statement<unknown[]>;
  /** Whether any window was ever made anew: else there is nothing to look for. */
  isAny: boolean;

  constructor(db: Connection, seal: Seal) {
    this.#seal = seal;
    this.#begin = db.prepare("INSERT OR IGNORE INTO rebuilds (seq) VALUES (?)");
    this.#newest = db.prepare(
      "SELECT max(revision) AS revision FROM results WHERE query = ? AND start_us = ? AND key = ? AND end_us = ?",
    );
    this.isAny = db.prepare("SELECT 1 FROM rebuilds LIMIT 1").get() !== undefined;
  }

  /** Windows are made anew of the log up to that entry. */
  begin(seq: number): void {
    this.#begin.run(seq);
    this.isAny = true;
  }

  /** Rows that are no replay's, each behind what is stored of its window and key. Cost: a look into the index for each. */
  behindStored(rows: readonly ResultRow[]): ResultRow[] {
    const given = new Map<string, number>();
    return rows.map((row) => {
      const { query, startUs, endUs, key } = row;
      const id = JSON.stringify([query, startUs, endUs, key]);
      const before = given.get(id) ?? this.#newestOf(row);
      const revision = Math.max(row.revision, before + 1);
      given.set(id, revision);
      return revision === row.revision ? row : { ...row, revision };
    });
  }

  /** -1: none. */
  #newestOf({ query, startUs, endUs, key }: ResultRow): number {
    const name = resultKeyName(this.#seal, query, key);
    return (this.#newest.get(query, startUs, name, endUs) as { revision: number | null }).revision ?? -1;
  }
}
