import type { Statement } from "better-sqlite3";
import type { Connection } from "./database.ts";

/** Rows of the loss ledger at most; the newest half of them stay as they were written. */
export const LEDGER_ROWS = 10_000;
const DAY_US = 86_400_000_000;
/** Rows become one when they were written within so long; the next only where that does not make them few enough. */
const SPANS_US = [DAY_US, 30 * DAY_US, 100 * 365 * DAY_US] as const;
/** Of the limit: rows over it after all, before it is tried again. */
const AGAIN_SHARE = 1 / 4;

/** Where sinks stand: rows that none has begun with, and those that all have done with, may each become fewer. */
const POSITIONS =
  "SELECT coalesce(min(coalesce(p.after_id, 0)), 0) AS least, coalesce(max(coalesce(p.after_id, 0)), 0) AS most" +
  " FROM sync_sinks s LEFT JOIN sync_positions p ON p.sink = s.id AND p.flow = 'losses'";
const IN_BATCHES =
  "SELECT i.id FROM sync_items i JOIN sync_batches b ON b.id = i.batch WHERE b.class = 'losses'";
const MAY_MERGE = `id <= @upTo AND (id > @most OR (id <= @least AND id NOT IN (${IN_BATCHES})))`;
const groups = (spanUs: number): string =>
  `FROM losses WHERE ${MAY_MERGE} GROUP BY stream_id, reason, kind, subject, id > @most, at_us / ${spanUs}`;

interface Merging {
  readonly add: Statement<unknown[]>;
  readonly drop: Statement<unknown[]>;
}

/**
 * Keeps the loss ledger short: its older rows of one stream, reason and kind become one row a day, with the sums of their
 * counts and bytes and the whole of their ranges. No sum over the ledger changes.
 */
export class LedgerTrim {
  readonly #db: Connection;
  readonly #limit: number;
  readonly #last: Statement<unknown[]>;
  readonly #count: Statement<unknown[]>;
  readonly #upTo: Statement<unknown[]>;
  readonly #positions: Statement<unknown[]>;
  readonly #merges: readonly Merging[];
  #rows: number;
  #lastId: number;
  /** Rows at which it is looked again. */
  #dueAt: number;

  /** @param limit rows */
  constructor(db: Connection, limit: number = LEDGER_ROWS) {
    this.#db = db;
    this.#limit = limit;
    this.#dueAt = limit;
    this.#last = db.prepare("SELECT coalesce(max(id), 0) FROM losses").pluck();
    this.#count = db.prepare("SELECT count(*) FROM losses").pluck();
    this.#upTo = db.prepare("SELECT id FROM losses ORDER BY id DESC LIMIT 1 OFFSET ?").pluck();
    this.#positions = db.prepare(POSITIONS);
    this.#merges = SPANS_US.map((spanUs) => ({
      add: db.prepare(
        "UPDATE losses SET from_us = g.from_us, to_us = g.to_us, count = g.count, bytes = g.bytes, at_us = g.at_us FROM" +
          " (SELECT min(id) AS first, min(from_us) AS from_us, max(to_us) AS to_us, sum(count) AS count," +
          ` sum(bytes) AS bytes, max(at_us) AS at_us ${groups(spanUs)} HAVING count(*) > 1) g WHERE id = g.first`,
      ),
      drop: db.prepare(
        `DELETE FROM losses WHERE ${MAY_MERGE} AND id NOT IN (SELECT min(id) ${groups(spanUs)})`,
      ),
    }));
    this.#rows = this.#count.get() as number;
    this.#lastId = this.#last.get() as number;
  }

  /** Rows there are, and the number of the last: as many as were ever written. Cost: a look at the last. */
  look(): { readonly rows: number; readonly lastId: number } {
    const lastId = this.#last.get() as number;
    this.#rows += lastId - this.#lastId;
    this.#lastId = lastId;
    return { rows: this.#rows, lastId };
  }

  /** Merges old rows when there are more than the limit, in one transaction: some 20 ms for 5,000. */
  run(): void {
    if (this.look().rows <= this.#dueAt) return;
    for (const merging of this.#merges) {
      if (this.#rows <= (this.#limit * 3) / 4) break;
      this.#merge(merging);
    }
    this.#dueAt = Math.max(this.#limit, this.#rows + Math.ceil(this.#limit * AGAIN_SHARE));
  }

  #merge({ add, drop }: Merging): void {
    this.#db.transaction(() => {
      const { least, most } = this.#positions.get() as { least: number; most: number };
      const range = { upTo: this.#upTo.get(Math.floor(this.#limit / 2)) as number, least, most };
      add.run(range);
      drop.run(range);
    })();
    this.#rows = this.#count.get() as number;
  }
}
