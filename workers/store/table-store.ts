import type { Statement } from "better-sqlite3";
import { tablePlace } from "../seal/places.ts";
import { NO_SEAL, type Seal, type Stored } from "../seal/seal.ts";
import type { Connection } from "./database.ts";
import { prepareAll } from "./prepare-all.ts";

/** The rows of a reference table as they are stored: named by their digest, for most changes leave most tables as they are. */
export interface StoredTable {
  readonly digest: string;
  /** As `host/config/table/stored.ts` writes it. */
  readonly body: string;
}

/** The tables of an entry `config` of the log. */
export interface ConfigTables {
  /** Of all that are in force from there on. */
  readonly digests: readonly string[];
  /** Those that the entry before did not have. */
  readonly added: readonly StoredTable[];
}

const SQL = {
  insert: "INSERT OR IGNORE INTO reference_tables (digest, body) VALUES (?, ?)",
  use: "INSERT OR IGNORE INTO config_tables (seq, digest) VALUES (?, ?)",
  read: "SELECT digest, body FROM reference_tables WHERE digest = ?",
  dropUses: "DELETE FROM config_tables WHERE seq NOT IN (SELECT seq FROM configs)",
  drop: "DELETE FROM reference_tables WHERE digest NOT IN (SELECT digest FROM config_tables)",
} as const;

/**
 * Rows of reference tables, kept as long as an entry of the log that a replay may read has them in force. Its methods run
 * within the writer's transaction.
 */
export class TableStore {
  readonly #sql: Readonly<Record<keyof typeof SQL, Statement<unknown[]>>>;

  readonly #seal: Seal;

  constructor(db: Connection, seal: Seal = NO_SEAL) {
    this.#seal = seal;
    this.#sql = prepareAll(db, SQL);
  }

  /** The tables of the entry with that seq. */
  write(seq: number, { digests, added }: ConfigTables): void {
    for (const { digest, body } of added)
      this.#sql.insert.run(digest, this.#seal.text(tablePlace(digest), body));
    for (const digest of digests) this.#sql.use.run(seq, digest);
  }

  /** Those of the digests that are there. */
  read(digests: readonly string[]): StoredTable[] {
    type Row = { readonly digest: string; readonly body: Stored };
    return digests
      .flatMap((digest) => this.#sql.read.all(digest) as Row[])
      .map(({ digest, body }) => ({ digest, body: this.#seal.openText(tablePlace(digest), body) }));
  }

  /** Forgets what no entry of the log has any more. */
  drop(): void {
    if (this.#sql.dropUses.run().changes > 0) this.#sql.drop.run();
  }
}
