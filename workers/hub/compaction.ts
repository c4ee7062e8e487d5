import type { Statement } from "better-sqlite3";
import { MillraceError } from "../errors.ts";
import type { StoredBlock } from "../messages.ts";
import type { BlockDecoder } from "../query/block-decoder.ts";
import { NO_SEAL } from "../seal/seal.ts";
import { type BlockRow, storedBlock } from "../store/block-row.ts";
import type { Connection } from "../store/database.ts";
import { prepareAll } from "../store/prepare-all.ts";

/** Merged blocks hold about so many stored bytes; those of half of it stay as they are. */
const TARGET_BYTES = 128 * 1024;
const MAX_MERGED_BLOCKS = 256;
/** A shorter run waits until it has grown, so that each event is written again only a few times. */
const MIN_MERGED_BLOCKS = 16;
/** Blocks that came within the last hour stay: readers that page through the newest events have their place in them. */
const SETTLED_US = 3_600e6;

interface Row extends BlockRow {
  readonly id: number;
  readonly seq: number;
  readonly digest: string;
}

const SMALL = "stored_bytes < 65536";
const SQL = {
  groups:
    "SELECT b.incarnation_id AS incarnation, b.stream_id AS stream, b.resolution_us AS resolution, s.name AS name" +
    ` FROM (SELECT DISTINCT incarnation_id, stream_id, resolution_us FROM blocks WHERE ${SMALL}) b` +
    " JOIN streams s ON s.id = b.stream_id",
  run:
    `SELECT id, stored_bytes AS bytes FROM blocks WHERE ${SMALL} AND incarnation_id = @incarnation` +
    " AND stream_id = @stream AND resolution_us = @resolution AND received_us < @before ORDER BY id LIMIT @limit",
  read: "SELECT id, seq, digest, count, min_us, max_us, codec, encoded_bytes, data FROM blocks WHERE id = ?",
  name: "INSERT INTO gone_blocks (incarnation_id, seq, digest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
  remove: "DELETE FROM blocks WHERE id = ?",
  put:
    "UPDATE blocks SET count = ?, min_us = ?, max_us = ?, codec = ?, encoded_bytes = ?, data = ?," +
    " received_us = ? WHERE id = ?",
  newest: "SELECT max(received_us) AS us FROM blocks WHERE id IN (SELECT value FROM json_each(?))",
} as const;

interface Group {
  readonly incarnation: number;
  readonly stream: number;
  readonly resolution: number;
  readonly name: string;
}

/**
 * Merges small blocks of one data directory and stream: edges send what they have every few seconds, and a block of some
 * events costs as much to find and to open as one of thousands. The merged block takes the place and the name of the first;
 * the names of the others stay known.
 */
export class HubCompaction {
  readonly #db: Connection;
  readonly #decoder: Pick<BlockDecoder, "merge">;
  readonly #sql: Readonly<Record<keyof typeof SQL, Statement<unknown[]>>>;
  /** Runs that cannot be merged, by their first block: they stay apart. */
  readonly #stuck = new Set<number>();

  constructor(db: Connection, decoder: Pick<BlockDecoder, "merge">) {
    this.#db = db;
    this.#decoder = decoder;
    this.#sql = prepareAll(db, SQL);
  }

  /** Merges one run, in one transaction. @returns how many blocks became one; 0: there is nothing to merge */
  mergeSome(nowUs: number): number {
    for (const group of this.#sql.groups.all() as Group[]) {
      const ids = this.#run(group, nowUs);
      if (ids.length < MIN_MERGED_BLOCKS) continue;
      if (this.#merge(group, ids)) return ids.length;
      this.#stuck.add(ids[0]!);
    }
    return 0;
  }

  #run({ incarnation, stream, resolution }: Group, nowUs: number): number[] {
    const task = { incarnation, stream, resolution, before: nowUs - SETTLED_US, limit: MAX_MERGED_BLOCKS };
    const rows = this.#sql.run.all(task) as { id: number; bytes: number }[];
    const ids: number[] = [];
    let bytes = 0;
    for (const row of rows) {
      if (this.#stuck.has(row.id)) continue;
      if (bytes >= TARGET_BYTES) break;
      ids.push(row.id);
      bytes += row.bytes;
    }
    return ids;
  }

  #merge({ incarnation, name }: Group, ids: readonly number[]): boolean {
    const rows = ids.map((id) => this.#sql.read.get(id) as Row);
    let merged: StoredBlock;
    try {
      merged = this.#decoder.merge(
        rows.map((row) => storedBlock(row, NO_SEAL, "")),
        name,
      );
    } catch (cause) {
      if (cause instanceof MillraceError) return false;
      throw cause;
    }
    const { count, minUs, maxUs, codec, encodedBytes, data } = merged;
    this.#db.transaction(() => {
      const { us } = this.#sql.newest.get(JSON.stringify(ids)) as { us: number };
      for (const { id, seq, digest } of rows.slice(1)) {
        this.#sql.name.run(incarnation, seq, digest);
        this.#sql.remove.run(id);
      }
      this.#sql.put.run(count, minUs, maxUs, codec, encodedBytes, data, us, ids[0]);
    })();
    return true;
  }
}
