import type { Statement } from "better-sqlite3";
import type { Connection } from "../store/database.ts";

/** A document that the hubs of a database share. `revision` is 1 more with each write; 0: it is not there. */
export interface HubRecord {
  readonly kind: string;
  readonly name: string;
  readonly revision: number;
  readonly body: string;
}

/** Writes a record that has `revision` at the moment; `body` null removes it. */
export interface RecordWrite extends Omit<HubRecord, "body"> {
  readonly body: string | null;
}

/** Reads and writes records. A write is a compare-and-set, so that hubs need not know of each other. */
export class HubRecords {
  readonly #read: Statement<unknown[]>;
  readonly #list: Statement<unknown[]>;
  readonly #insert: Statement<unknown[]>;
  readonly #update: Statement<unknown[]>;
  readonly #remove: Statement<unknown[]>;

  constructor(db: Connection) {
    const columns = "SELECT kind, name, revision, body FROM records";
    this.#read = db.prepare(`${columns} WHERE kind = ? AND name = ?`);
    this.#list = db.prepare(`${columns} WHERE kind = ? ORDER BY name`);
    this.#insert = db.prepare(
      "INSERT INTO records (kind, name, revision, body) VALUES (?, ?, 1, ?) ON CONFLICT DO NOTHING",
    );
    this.#update = db.prepare(
      "UPDATE records SET revision = revision + 1, body = ? WHERE kind = ? AND name = ? AND revision = ?",
    );
    this.#remove = db.prepare("DELETE FROM records WHERE kind = ? AND name = ? AND revision = ?");
  }

  read(kind: string, name: string): HubRecord | null {
    return (this.#read.get(kind, name) as HubRecord | undefined) ?? null;
  }

  list(kind: string): HubRecord[] {
    return this.#list.all(kind) as HubRecord[];
  }

  /** All of them, or none: then one was written by another meanwhile. Must run within a transaction that `false` rolls back. */
  write(writes: readonly RecordWrite[]): boolean {
    return writes.every(({ kind, name, revision, body }) => {
      if (body === null) return this.#remove.run(kind, name, revision).changes === 1;
      if (revision === 0) return this.#insert.run(kind, name, body).changes === 1;
      return this.#update.run(body, kind, name, revision).changes === 1;
    });
  }
}
