import type { Statement } from "better-sqlite3";
import type { Connection } from "./database.ts";

/** A block that may be deleted, without its data. Times in µs. */
export interface OldBlock {
  readonly seq: number;
  readonly streamId: number;
  readonly arrivalUs: number;
  readonly count: number;
  readonly minUs: number;
  readonly maxUs: number;
  readonly bytes: number;
  /** 0: events as they came; else the length of the aggregates' time. */
  readonly resolutionUs: number;
}

const COLUMNS =
  "seq, stream_id AS streamId, arrival_us AS arrivalUs, count, min_us AS minUs, max_us AS maxUs," +
  " stored_bytes AS bytes, resolution_us AS resolutionUs";

/** Blocks in the order of their arrival. A look costs a search in the index for each stream. */
export class OldestBlocks {
  readonly #resolutions: Statement<unknown[]>;
  readonly #first: Statement<unknown[]>;
  readonly #list: Statement<unknown[]>;
  readonly #raw: Statement<unknown[]>;

  constructor(db: Connection) {
    this.#resolutions = db
      .prepare(
        "WITH RECURSIVE r(us) AS (SELECT min(resolution_us) FROM blocks WHERE state = @state UNION ALL" +
          " SELECT (SELECT min(resolution_us) FROM blocks WHERE state = @state AND resolution_us > r.us) FROM r" +
          " WHERE r.us IS NOT NULL) SELECT us FROM r WHERE us IS NOT NULL",
      )
      .pluck();
    this.#first = db
      .prepare(
        "SELECT min(seq) FROM blocks WHERE state = ? AND resolution_us = ? AND stream_id = ? AND seq <= ?",
      )
      .pluck();
    this.#list = db.prepare(
      `SELECT ${COLUMNS} FROM blocks WHERE state = ? AND resolution_us = ? AND stream_id = ? AND seq <= ?` +
        " ORDER BY seq LIMIT ?",
    );
    this.#raw = db.prepare(
      `SELECT ${COLUMNS} FROM blocks WHERE state = 'pending' AND resolution_us = 0 AND stream_id = ?` +
        " AND seq >= ? AND seq <= ? ORDER BY seq LIMIT ?",
    );
  }

  /** The oldest of some streams up to a seq, `limit` at most, aggregates and events alike. */
  of(
    state: "pending" | "synced",
    streamIds: readonly number[],
    upToSeq: number,
    limit: number,
  ): readonly OldBlock[] {
    const lists = (this.#resolutions.all({ state }) as number[]).flatMap((resolutionUs) =>
      streamIds.flatMap((streamId) => {
        const list = [state, resolutionUs, streamId, upToSeq] as const;
        const first = this.#first.get(...list) as number | null;
        return first === null ? [] : [{ list, first }];
      }),
    );
    const oldest = lists.sort((a, b) => a.first - b.first).slice(0, limit);
    return oldest
      .flatMap(({ list }) => this.#list.all(...list, limit) as OldBlock[])
      .sort((a, b) => a.seq - b.seq)
      .slice(0, limit);
  }

  /** Events of one stream as they came that nobody has yet, from a seq on. */
  raw(streamId: number, fromSeq: number, upToSeq: number, limit: number): readonly OldBlock[] {
    return this.#raw.all(streamId, fromSeq, upToSeq, limit) as OldBlock[];
  }
}
