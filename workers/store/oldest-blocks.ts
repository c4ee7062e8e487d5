import type { Statement } from "better-sqlite3";
import { IS_UNCLAIMED, lastClaimed } from "./block-states.ts";
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
  "blocks.seq, stream_id AS streamId, arrival_us AS arrivalUs, count, min_us AS minUs, max_us AS maxUs," +
  " stored_bytes AS bytes, resolution_us AS resolutionUs";

const OF_KIND = "resolution_us = @resolutionUs AND stream_id = @streamId AND seq <= @upToSeq";
const PENDING = `state = 'pending' AND ${OF_KIND} AND seq > ${lastClaimed("@streamId")} AND ${IS_UNCLAIMED}`;
/** As an earlier release has written it, or a merged block has it. */
const SYNCED_BY_ITSELF = `state = 'synced' AND ${OF_KIND}`;

/** Found by themselves: those that one of several sinks has not got may be all but a few. */
export const SYNCED =
  `SELECT ${COLUMNS} FROM block_states x CROSS JOIN blocks ON blocks.seq = x.seq` +
  " WHERE x.state = 'synced' AND x.seq <= @upToSeq ORDER BY x.seq LIMIT @limit";

/** Blocks in the order of their arrival. A look costs a search in the index for each stream. */
export class OldestBlocks {
  readonly #resolutions: Statement<unknown[]>;
  readonly #first: Readonly<Record<"pending" | "synced", Statement<unknown[]>>>;
  readonly #list: Readonly<Record<"pending" | "synced", Statement<unknown[]>>>;
  readonly #synced: Statement<unknown[]>;
  readonly #raw: Statement<unknown[]>;

  constructor(db: Connection) {
    this.#resolutions = db
      .prepare(
        "WITH RECURSIVE r(us) AS (SELECT min(resolution_us) FROM blocks WHERE state = @state UNION ALL" +
          " SELECT (SELECT min(resolution_us) FROM blocks WHERE state = @state AND resolution_us > r.us) FROM r" +
          " WHERE r.us IS NOT NULL) SELECT us FROM r WHERE us IS NOT NULL",
      )
      .pluck();
    const first = (which: string): Statement<unknown[]> =>
      db.prepare(`SELECT seq FROM blocks WHERE ${which} ORDER BY seq LIMIT 1`).pluck();
    const list = (which: string): Statement<unknown[]> =>
      db.prepare(`SELECT ${COLUMNS} FROM blocks WHERE ${which} ORDER BY seq LIMIT @limit`);
    this.#first = { pending: first(PENDING), synced: first(SYNCED_BY_ITSELF) };
    this.#list = { pending: list(PENDING), synced: list(SYNCED_BY_ITSELF) };
    this.#synced = db.prepare(SYNCED);
    this.#raw = db.prepare(
      `SELECT ${COLUMNS} FROM blocks WHERE ${PENDING} AND seq >= @fromSeq ORDER BY seq LIMIT @limit`,
    );
  }

  /** The oldest of some streams that nobody has, up to a seq, `limit` at most, aggregates and events alike. */
  pending(streamIds: readonly number[], upToSeq: number, limit: number): readonly OldBlock[] {
    return this.#of("pending", streamIds, upToSeq, limit);
  }

  /** The oldest that all sinks have, up to a seq, `limit` at most, aggregates and events of all the streams there are. */
  synced(streamIds: readonly number[], upToSeq: number, limit: number): readonly OldBlock[] {
    const found = this.#synced.all({ upToSeq, limit }) as OldBlock[];
    const byThemselves = this.#of("synced", streamIds, upToSeq, limit);
    if (byThemselves.length === 0) return found;
    return [...found, ...byThemselves].sort((a, b) => a.seq - b.seq).slice(0, limit);
  }

  /** Events of one stream as they came that nobody has yet, from a seq on. */
  raw(streamId: number, fromSeq: number, upToSeq: number, limit: number): readonly OldBlock[] {
    return this.#raw.all({ resolutionUs: 0, streamId, fromSeq, upToSeq, limit }) as OldBlock[];
  }

  #of(
    state: "pending" | "synced",
    streamIds: readonly number[],
    upToSeq: number,
    limit: number,
  ): readonly OldBlock[] {
    const lists = (this.#resolutions.all({ state }) as number[]).flatMap((resolutionUs) =>
      streamIds.flatMap((streamId) => {
        const which = { resolutionUs, streamId, upToSeq };
        const first = this.#first[state].get(which) as number | undefined;
        return first === undefined ? [] : [{ which, first }];
      }),
    );
    const oldest = lists.sort((a, b) => a.first - b.first).slice(0, limit);
    return oldest
      .flatMap(({ which }) => this.#list[state].all({ ...which, limit }) as OldBlock[])
      .sort((a, b) => a.seq - b.seq)
      .slice(0, limit);
  }
}
