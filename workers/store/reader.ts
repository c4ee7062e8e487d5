import type { ResultRow, StoredBlock } from "../messages.ts";
import { type Connection, openForReading } from "./database.ts";
import { storedBlock } from "./writer.ts";

/** Where a block stands in time, without its data. Times in µs. */
export interface BlockRange {
  readonly seq: number;
  readonly count: number;
  readonly minUs: number;
  readonly maxUs: number;
}

/** Where a page of results ended. */
export interface ResultCursor {
  readonly startUs: number;
  readonly key: string;
  readonly endUs: number;
  readonly revision: number;
}

export interface ResultFilter {
  readonly query: string;
  /** Windows that end after this, inclusive of those that start at it. */
  readonly fromUs: number | null;
  /** Windows that start before this. */
  readonly toUs: number | null;
  /** The whole key as JSON text, or the text of one of its values. */
  readonly key: string | null;
  readonly kind: string | null;
  readonly revisions: "latest" | "all";
  readonly limit: number;
  readonly after: ResultCursor | null;
}

export interface LateBlock {
  readonly sourceSeq: number;
  readonly reason: "late" | "clock-skew";
  readonly atUs: number;
  readonly block: StoredBlock;
}

export interface DeadLetterRow {
  readonly id: number;
  readonly stream: string;
  readonly atUs: number;
  readonly line: number;
  readonly path: string;
  readonly code: string;
  readonly message: string;
  readonly text: string;
}

export interface LossRow {
  readonly id: number;
  readonly stream: string;
  readonly fromUs: number;
  readonly toUs: number;
  readonly count: number;
  readonly bytes: number;
  readonly reason: string;
  readonly atUs: number;
}

const MIN_TIME = Number.MIN_SAFE_INTEGER;
const MAX_TIME = Number.MAX_SAFE_INTEGER;

/** Reads what is committed through a connection that cannot write and holds no snapshot between calls. */
export class Reader {
  readonly #db: Connection;

  constructor(dir: string) {
    this.#db = openForReading(dir);
  }

  /** Blocks with events in [fromUs, toUs), ordered by their earliest event. */
  blocksOverlapping(stream: string, fromUs: number | null, toUs: number | null): BlockRange[] {
    return this.#db
      .prepare(
        "SELECT seq, count, min_us AS minUs, max_us AS maxUs FROM blocks" +
          " WHERE stream_id = (SELECT id FROM streams WHERE name = ?) AND max_us >= ? AND min_us < ?" +
          " ORDER BY min_us, seq",
      )
      .all(stream, fromUs ?? MIN_TIME, toUs ?? MAX_TIME) as BlockRange[];
  }

  /** null when the block is gone: compacted or evicted since it was listed. */
  block(seq: number): StoredBlock | null {
    const row = this.#db
      .prepare("SELECT count, min_us, max_us, codec, encoded_bytes, data FROM blocks WHERE seq = ?")
      .get(seq) as Parameters<typeof storedBlock>[0] | undefined;
    return row === undefined ? null : storedBlock(row);
  }

  /** Rows ordered by window, key and revision; `latest` keeps the greatest revision of each window and key. */
  results(filter: ResultFilter): ResultRow[] {
    const { query, fromUs, toUs, key, kind, revisions, limit, after } = filter;
    const conditions = ["query = @query", "end_us > @from", "start_us < @to"];
    if (kind !== null) conditions.push("kind = @kind");
    if (key !== null) {
      conditions.push(
        "(key = @key OR EXISTS (SELECT 1 FROM json_each(r.key) WHERE CAST(value AS TEXT) = @key))",
      );
    }
    if (after !== null) {
      conditions.push("(start_us, key, end_us, revision) > (@afterStart, @afterKey, @afterEnd, @afterRevision)");
    }
    if (revisions === "latest") {
      conditions.push(
        "revision = (SELECT max(revision) FROM results n WHERE n.query = r.query AND n.start_us = r.start_us" +
          " AND n.key = r.key AND n.end_us = r.end_us)",
      );
    }
    return this.#db
      .prepare(
        "SELECT query, start_us AS startUs, end_us AS endUs, key, revision, kind, value AS 'values' FROM results r" +
          ` WHERE ${conditions.join(" AND ")} ORDER BY start_us, key, end_us, revision LIMIT @limit`,
      )
      .all({
        query,
        from: fromUs ?? MIN_TIME,
        to: toUs ?? MAX_TIME,
        limit,
        ...(kind === null ? {} : { kind }),
        ...(key === null ? {} : { key }),
        ...(after === null
          ? {}
          : {
              afterStart: after.startUs,
              afterKey: after.key,
              afterEnd: after.endUs,
              afterRevision: after.revision,
            }),
      }) as ResultRow[];
  }

  /** Blocks of the late side output in the order they were set aside, from a source seq on. */
  late(stream: string, fromSeq: number, limit: number): LateBlock[] {
    const rows = this.#db
      .prepare(
        "SELECT source_seq AS seq, reason, at_us AS atUs, count, 0 AS min_us, 0 AS max_us, codec, encoded_bytes, data" +
          " FROM late WHERE stream_id = (SELECT id FROM streams WHERE name = ?) AND source_seq >= ?" +
          " ORDER BY source_seq, reason LIMIT ?",
      )
      .all(stream, fromSeq, limit) as (Parameters<typeof storedBlock>[0] & {
      seq: number;
      reason: "late" | "clock-skew";
      atUs: number;
    })[];
    return rows.map((row) => ({
      sourceSeq: row.seq,
      reason: row.reason,
      atUs: row.atUs,
      block: storedBlock(row),
    }));
  }

  deadLetters(stream: string | null, afterId: number, limit: number): DeadLetterRow[] {
    return this.#db
      .prepare(
        "SELECT d.id, s.name AS stream, at_us AS atUs, line, path, code, message, text FROM dead_letters d" +
          " JOIN streams s ON s.id = d.stream_id WHERE d.id > ? AND (? IS NULL OR s.name = ?) ORDER BY d.id LIMIT ?",
      )
      .all(afterId, stream, stream, limit) as DeadLetterRow[];
  }

  losses(stream: string | null, afterId: number, limit: number): LossRow[] {
    return this.#db
      .prepare(
        "SELECT l.id, s.name AS stream, from_us AS fromUs, to_us AS toUs, count, bytes, reason, at_us AS atUs" +
          " FROM losses l JOIN streams s ON s.id = l.stream_id WHERE l.id > ? AND (? IS NULL OR s.name = ?)" +
          " ORDER BY l.id LIMIT ?",
      )
      .all(afterId, stream, stream, limit) as LossRow[];
  }

  close(): void {
    this.#db.close();
  }
}
