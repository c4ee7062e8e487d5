import type { Statement } from "better-sqlite3";
import { addHashes, HASH_VERSION } from "../core/event-sums.ts";
import type { StreamSum } from "../sync/audit-sums.ts";
import type { Connection } from "./database.ts";

/** Hours kept of a stream and sink: 11 years of them. Beyond, the earliest are forgotten. */
export const MAX_AUDIT_HOURS = 100_000;

interface Known {
  readonly count: number;
  readonly hash: string;
  readonly version: number;
}

/**
 * What each sink has of each stream and hour of event time: how many events, and the sum of their hashes. Written in the
 * transaction that settles a batch, so what is evicted later stays accounted for.
 */
export class AuditStore {
  readonly #find: Statement<unknown[]>;
  readonly #put: Statement<unknown[]>;
  readonly #drop: Statement<unknown[]>;

  constructor(db: Connection) {
    const where = "sink = @sink AND stream = @stream AND resolution_us = @resolutionUs";
    this.#find = db.prepare(
      `SELECT count, hash, version FROM audit_sums WHERE ${where} AND hour_us = @hourUs`,
    );
    this.#put = db.prepare(
      "INSERT INTO audit_sums (sink, stream, resolution_us, hour_us, count, hash, version)" +
        ` VALUES (@sink, @stream, @resolutionUs, @hourUs, @count, @hash, ${HASH_VERSION})` +
        " ON CONFLICT DO UPDATE SET count = excluded.count, hash = excluded.hash",
    );
    this.#drop = db.prepare(
      `DELETE FROM audit_sums WHERE ${where} AND hour_us < (SELECT hour_us FROM audit_sums WHERE ${where}` +
        " ORDER BY hour_us DESC LIMIT 1 OFFSET @hours)",
    );
  }

  /**
   * Must run within a transaction, once for each batch that a sink has taken. An hour that has events by another version of the
   * hash goes on to be counted; its hash stays unknown.
   */
  add(sink: string, sums: readonly StreamSum[]): void {
    for (const sum of sums) {
      const known = this.#find.get({ ...sum, sink }) as Known | undefined;
      const count = (known?.count ?? 0) + sum.count;
      const hash =
        known === undefined
          ? sum.hash
          : known.version === HASH_VERSION
            ? addHashes(known.hash, sum.hash)
            : known.hash;
      this.#put.run({ ...sum, sink, count, hash });
    }
  }

  /** Forgets what is beyond `MAX_AUDIT_HOURS`. */
  limit(sink: string, streams: Iterable<string>): void {
    for (const stream of streams)
      this.#drop.run({ sink, stream, resolutionUs: 0, hours: MAX_AUDIT_HOURS - 1 });
  }
}
