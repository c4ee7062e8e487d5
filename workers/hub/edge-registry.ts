import type { Statement } from "better-sqlite3";
import type { Connection } from "../store/database.ts";
import type { BatchHeader } from "../sync/batch.ts";

/** Ids of what a batch is from. */
export interface Origin {
  readonly edgeId: number;
  readonly incarnationId: number;
}

const SQL = {
  edge:
    "INSERT INTO edges (name, first_seen_us, last_seen_us) VALUES (@name, @nowUs, @nowUs)" +
    " ON CONFLICT DO UPDATE SET last_seen_us = @nowUs RETURNING id",
  incarnation:
    "INSERT INTO incarnations (edge_id, name, start_number, start_id, first_seen_us, last_seen_us)" +
    " VALUES (@edgeId, @incarnation, @number, @id, @nowUs, @nowUs) ON CONFLICT DO UPDATE SET last_seen_us = @nowUs" +
    " RETURNING id, start_number AS startNumber, start_id AS startId",
  insertStart: "INSERT INTO starts (incarnation_id, number, id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
  setStart: "UPDATE incarnations SET start_number = ?, start_id = ? WHERE id = ?",
  noticeCopy: "UPDATE incarnations SET copies = copies + 1 WHERE id = ?",
  stream: "INSERT INTO streams (name) VALUES (?) ON CONFLICT DO UPDATE SET name = excluded.name RETURNING id",
  form:
    "INSERT INTO edge_streams (edge_id, stream_id, time_field, key_fields) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE" +
    " SET time_field = excluded.time_field, key_fields = excluded.key_fields",
  totals:
    "INSERT INTO totals (incarnation_id, stream_id, accepted, dead_lettered, late, clock_skewed) VALUES (?, ?, ?, ?, ?, ?)" +
    " ON CONFLICT DO UPDATE SET accepted = max(accepted, excluded.accepted)," +
    " dead_lettered = max(dead_lettered, excluded.dead_lettered), late = max(late, excluded.late)," +
    " clock_skewed = max(clock_skewed, excluded.clock_skewed)",
} as const;

/**
 * Who sends. Totals of each data directory are replicas of a G-Counter (Shapiro et al., 2011): the greater holds, and an
 * edge's total is the sum over its data directories, so that a batch delivered late or twice changes nothing, and a new
 * disk does not begin at 0. A data directory numbers its starts and names each by chance: two names of one number, or a
 * new name below the greatest number, tell that there is a copy of it, or that it was put back.
 */
export class EdgeRegistry {
  readonly #sql: Readonly<Record<keyof typeof SQL, Statement<unknown[]>>>;
  readonly #streamIds = new Map<string, number>();

  constructor(db: Connection) {
    const entries = Object.entries(SQL).map(([name, sql]) => [name, db.prepare(sql)] as const);
    this.#sql = Object.fromEntries(entries) as Record<keyof typeof SQL, Statement<unknown[]>>;
  }

  /** Forgets what was not committed. */
  reset(): void {
    this.#streamIds.clear();
  }

  register(header: BatchHeader, nowUs: number): Origin {
    const { edge, incarnation, start } = header;
    const { id: edgeId } = this.#sql.edge.get({ name: edge, nowUs }) as { id: number };
    type Row = { id: number; startNumber: number; startId: string };
    const row = this.#sql.incarnation.get({ edgeId, incarnation, ...start, nowUs }) as Row;
    const incarnationId = row.id;
    const isNew = this.#sql.insertStart.run(incarnationId, start.number, start.id).changes > 0;
    const isAnother = start.id !== row.startId && start.number <= row.startNumber;
    if (isNew && isAnother) this.#sql.noticeCopy.run(incarnationId);
    if (start.number > row.startNumber) this.#sql.setStart.run(start.number, start.id, incarnationId);
    for (const { stream, timeField, keyFields } of header.streams)
      this.#sql.form.run(edgeId, this.streamId(stream), timeField, JSON.stringify(keyFields));
    for (const { stream, accepted, deadLettered, late, clockSkewed } of header.totals) {
      const streamId = this.streamId(stream);
      this.#sql.totals.run(incarnationId, streamId, accepted, deadLettered, late, clockSkewed);
    }
    return { edgeId, incarnationId };
  }

  streamId(name: string): number {
    const known = this.#streamIds.get(name);
    if (known !== undefined) return known;
    const { id } = this.#sql.stream.get(name) as { id: number };
    this.#streamIds.set(name, id);
    return id;
  }
}
