import type { Statement } from "better-sqlite3";
import { readPage } from "../query/row-pages.ts";
import type { Page } from "../query/tasks.ts";
import type { Connection } from "../store/database.ts";
import { formatTime } from "../time-format.ts";

/** A batch that came over a stream, and that no hub can ever take as it is. */
export interface ParkedBatch {
  /** Where it stood: the stream and its number there. A second time it is the same row. */
  readonly source: string;
  /** As its message says; may be anything. */
  readonly edge: string;
  readonly key: string;
  readonly code: string;
  readonly detail: string;
  readonly atUs: number;
  readonly body: Uint8Array;
}

export interface ParkedTask {
  /** null: of all. */
  readonly edge: string | null;
  readonly limit: number;
  readonly after: number | null;
}

export interface ParkedRow extends Omit<ParkedBatch, "body"> {
  readonly id: number;
  readonly bytes: number;
}

const SQL = {
  park:
    "INSERT INTO parked (source, edge, key, code, detail, at_us, body) VALUES (?, ?, ?, ?, ?, ?, ?)" +
    " ON CONFLICT DO NOTHING",
  list:
    "SELECT id, source, edge, key, code, detail, at_us AS atUs, length(body) AS bytes FROM parked" +
    " WHERE id > @after AND (@edge IS NULL OR edge = @edge) ORDER BY id LIMIT @limit",
} as const;

export function parkBatch(
  db: Connection,
  { source, edge, key, code, detail, atUs, body }: ParkedBatch,
): void {
  db.prepare(SQL.park).run(source, edge, key, code, detail, atUs, body);
}

/** What is parked, in the order in which it was. */
export class ParkedReader {
  readonly #list: Statement<unknown[]>;

  constructor(db: Connection) {
    this.#list = db.prepare(SQL.list);
  }

  read({ edge, limit, after }: ParkedTask): Page<number> {
    return readPage<ParkedRow, number>(
      { limit, after },
      (behind, rows) => this.#list.all({ edge, limit: rows, after: behind ?? 0 }) as ParkedRow[],
      parkedJson,
      ({ id }) => id,
    );
  }
}

export function parkedJson({ edge, key, code, detail, atUs, source, bytes }: ParkedRow): string {
  return JSON.stringify({ edge, key, code, detail, at: formatTime(atUs), source, bytes });
}
