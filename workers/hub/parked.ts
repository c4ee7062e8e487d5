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

/** Batches that are parked at most, and their bytes. */
export interface ParkedLimits {
  readonly batches: number;
  readonly bytes: number;
}

/** What is parked now. */
export type ParkedTotals = ParkedLimits;

export interface NextParkedTask {
  /** null: of all. */
  readonly edge: string | null;
  /** The first behind it. */
  readonly after: number;
}

export interface NextParked {
  readonly id: number;
  readonly edge: string;
  readonly key: string;
  readonly body: Uint8Array;
}

/** Why it stays parked; null: it was taken. */
export interface SettleParkedTask {
  readonly id: number;
  readonly refusal: { readonly code: string; readonly detail: string } | null;
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
  isThere: "SELECT 1 FROM parked WHERE source = ?",
  totals: "SELECT count(*) AS batches, coalesce(sum(length(body)), 0) AS bytes FROM parked",
  next: "SELECT id, edge, key, body FROM parked WHERE id > @after AND (@edge IS NULL OR edge = @edge) ORDER BY id LIMIT 1",
  remove: "DELETE FROM parked WHERE id = ?",
  refuse: "UPDATE parked SET code = ?, detail = ? WHERE id = ?",
  list:
    "SELECT id, source, edge, key, code, detail, at_us AS atUs, length(body) AS bytes FROM parked" +
    " WHERE id > @after AND (@edge IS NULL OR edge = @edge) ORDER BY id LIMIT @limit",
} as const;

/** @returns false, with nothing done, when there is no room. */
export function parkBatch(
  db: Connection,
  { source, edge, key, code, detail, atUs, body }: ParkedBatch,
  limits: ParkedLimits,
): boolean {
  if (db.prepare(SQL.isThere).get(source) !== undefined) return true;
  const { batches, bytes } = parkedTotals(db);
  if (batches >= limits.batches || bytes + body.length > limits.bytes) return false;
  db.prepare(SQL.park).run(source, edge, key, code, detail, atUs, body);
  return true;
}

export function parkedTotals(db: Connection): ParkedTotals {
  return db.prepare(SQL.totals).get() as ParkedTotals;
}

export function nextParked(db: Connection, task: NextParkedTask): NextParked | null {
  const row = db.prepare(SQL.next).get(task) as NextParked | undefined;
  return row === undefined ? null : { ...row, body: new Uint8Array(row.body) };
}

export function settleParked(db: Connection, { id, refusal }: SettleParkedTask): void {
  if (refusal === null) db.prepare(SQL.remove).run(id);
  else db.prepare(SQL.refuse).run(refusal.code, refusal.detail, id);
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

export function parkedJson({ id, edge, key, code, detail, atUs, source, bytes }: ParkedRow): string {
  return JSON.stringify({ id, edge, key, code, detail, at: formatTime(atUs), source, bytes });
}
