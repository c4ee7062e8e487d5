import type { Statement } from "better-sqlite3";
import { addHashes, HASH_VERSION, NO_HASH } from "../core/event-sums.ts";
import { MillraceError } from "../errors.ts";
import type { Connection } from "../store/database.ts";
import { prepareAll } from "../store/prepare-all.ts";
import type { BlockSummer } from "../sync/audit-sums.ts";

/** How long events are kept, and how many bytes of them. */
export interface KeepRule {
  /** By the later of when they came and their newest time, µs; null: for ever. */
  readonly retentionUs: number | null;
  /** Bytes of stored blocks; null: no limit. */
  readonly capBytes: number | null;
}

export interface RetentionRules extends KeepRule {
  /** `capBytes` of the whole is that of the database's pages in use. */
  readonly streams: Readonly<Record<string, KeepRule>>;
}

/** Blocks that went in one transaction. */
export interface Expired {
  readonly reason: "age" | "cap";
  readonly blocks: number;
  /** Rows of aggregates are none. */
  readonly events: number;
  readonly bytes: number;
}

/** Blocks of a transaction at most: each is read to its end, so this takes some milliseconds. */
const MAX_BLOCKS = 32;
/** Free pages beyond this share of the database go back to the disk, so many at once. */
const FREE_SHARE = 1 / 16;
const PAGES_FREED = 512;

interface Row {
  readonly id: number;
  readonly incarnationId: number;
  readonly streamId: number;
  readonly seq: number;
  readonly digest: string;
  readonly count: number;
  readonly codec: "none" | "zstd";
  readonly encodedBytes: number;
  readonly resolutionUs: number;
  readonly bytes: number;
  readonly data: Buffer;
}

interface Booked {
  readonly count: number;
  readonly hash: string;
  readonly version: number;
}

const NOTHING_BOOKED: Booked = { count: 0, hash: NO_HASH, version: HASH_VERSION };

const AGE = "max(max_us, received_us)";
const OLDEST =
  "SELECT id, incarnation_id AS incarnationId, stream_id AS streamId, seq, digest, count, codec," +
  " encoded_bytes AS encodedBytes, resolution_us AS resolutionUs, stored_bytes AS bytes, data FROM blocks";
const SQL = {
  streams: "SELECT id, name FROM streams ORDER BY id",
  oldestOfStream: `${OLDEST} WHERE stream_id = ? AND ${AGE} < ? ORDER BY ${AGE} LIMIT ?`,
  age: `SELECT ${AGE} AS ageUs FROM blocks WHERE stream_id = ? ORDER BY ${AGE} LIMIT 1`,
  bytes: "SELECT coalesce(sum(stored_bytes), 0) AS bytes FROM blocks WHERE stream_id = ?",
  name: "INSERT INTO gone_blocks (incarnation_id, seq, digest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
  remove: "DELETE FROM blocks WHERE id = ?",
  sum:
    "SELECT count, hash, version FROM expired_sums WHERE incarnation_id = ? AND stream_id = ? AND resolution_us = ?" +
    " AND hour_us = ?",
  setSum:
    "INSERT INTO expired_sums (incarnation_id, stream_id, resolution_us, hour_us, count, hash, version)" +
    ` VALUES (?, ?, ?, ?, ?, ?, ${HASH_VERSION})` +
    " ON CONFLICT DO UPDATE SET count = excluded.count, hash = excluded.hash",
} as const;

/**
 * What a hub's SQLite no longer keeps. Whole blocks go, the oldest first. In the same transaction their sums are booked, so that
 * an audit tells what went from what is missing, and their names, so that what an edge sends again stays known.
 */
export class HubRetention {
  readonly #db: Connection;
  readonly #summer: BlockSummer;
  readonly #sql: Readonly<Record<keyof typeof SQL, Statement<unknown[]>>>;

  constructor(db: Connection, summer: BlockSummer) {
    this.#db = db;
    this.#summer = summer;
    this.#sql = prepareAll(db, SQL);
  }

  /** Pages of the database in use, bytes. */
  get usedBytes(): number {
    const [pages, free, size] = ["page_count", "freelist_count", "page_size"].map(
      (name) => this.#db.pragma(name, { simple: true }) as number,
    ) as [number, number, number];
    return (pages - free) * size;
  }

  /** Deletes a few blocks that are to go, in one transaction; null: there are none. */
  expire({ streams: rules, ...rule }: RetentionRules, nowUs: number): Expired | null {
    const streams = this.#sql.streams.all() as { id: number; name: string }[];
    for (const { id, name } of streams) {
      const { retentionUs, capBytes } = rules[name] ?? { retentionUs: rule.retentionUs, capBytes: null };
      if (retentionUs !== null) {
        const old = this.#sql.oldestOfStream.all(id, nowUs - retentionUs, MAX_BLOCKS) as Row[];
        if (old.length > 0) return this.#drop(old, "age", Number.POSITIVE_INFINITY);
      }
      if (capBytes === null) continue;
      const { bytes } = this.#sql.bytes.get(id) as { bytes: number };
      if (bytes > capBytes) return this.#drop(this.#oldest(id), "cap", bytes - capBytes);
    }
    const excess = rule.capBytes === null ? 0 : this.usedBytes - rule.capBytes;
    const oldest = excess > 0 ? this.#oldestStream(streams.map(({ id }) => id)) : null;
    return oldest === null ? null : this.#drop(this.#oldest(oldest), "cap", excess);
  }

  /** Gives a few free pages back to the disk. @returns whether there were any beyond what is kept */
  vacuum(): boolean {
    const free = (): number => this.#db.pragma("freelist_count", { simple: true }) as number;
    const before = free();
    const pages = this.#db.pragma("page_count", { simple: true }) as number;
    if (before - PAGES_FREED <= pages * FREE_SHARE) return false;
    this.#db.pragma(`incremental_vacuum(${PAGES_FREED})`);
    return free() < before;
  }

  #oldest(streamId: number): Row[] {
    return this.#sql.oldestOfStream.all(streamId, Number.MAX_SAFE_INTEGER, MAX_BLOCKS) as Row[];
  }

  #oldestStream(ids: readonly number[]): number | null {
    const ages = ids.flatMap((id) => {
      const row = this.#sql.age.get(id) as { ageUs: number } | undefined;
      return row === undefined ? [] : [{ id, ageUs: row.ageUs }];
    });
    return ages.sort((a, b) => a.ageUs - b.ageUs)[0]?.id ?? null;
  }

  /** Until `excessBytes` are gone. */
  #drop(rows: readonly Row[], reason: Expired["reason"], excessBytes: number): Expired {
    const gone = { blocks: 0, events: 0, bytes: 0 };
    this.#db.transaction(() => {
      for (const row of rows) {
        if (gone.bytes >= excessBytes) return;
        this.#book(row);
        this.#sql.name.run(row.incarnationId, row.seq, row.digest);
        this.#sql.remove.run(row.id);
        gone.blocks++;
        gone.bytes += row.bytes;
        gone.events += row.resolutionUs === 0 ? row.count : 0;
      }
    })();
    return { reason, ...gone };
  }

  /**
   * One that cannot be read was in no sum before either: an audit goes on to name its hours. An hour that has events by another
   * version of the hash goes on to be counted.
   */
  #book(row: Row): void {
    const { incarnationId, streamId, resolutionUs } = row;
    for (const { hourUs, count, hash } of this.#sumsOf(row)) {
      const place = [incarnationId, streamId, resolutionUs, hourUs];
      const known = (this.#sql.sum.get(...place) as Booked | undefined) ?? NOTHING_BOOKED;
      const sum = known.version === HASH_VERSION ? addHashes(known.hash, hash) : known.hash;
      this.#sql.setSum.run(...place, known.count + count, sum);
    }
  }

  #sumsOf(row: Row): ReturnType<BlockSummer["sum"]> {
    try {
      return this.#summer.sum(row);
    } catch (cause) {
      if (cause instanceof MillraceError) return [];
      throw cause;
    }
  }
}
