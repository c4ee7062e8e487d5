import type { Statement } from "better-sqlite3";
import type { AlertRow } from "../messages.ts";
import type { KeyRing } from "../seal/key-ring.ts";
import type { MasterKeys } from "../seal/master-key.ts";
import { blockPlace, blockSumsPlace, outboxPlace } from "../seal/places.ts";
import type { Seal } from "../seal/seal.ts";
import { openAttribute } from "../store/attribute-store.ts";
import { IS_NOT_SYNCED } from "../store/block-states.ts";
import { type Connection, openForReading } from "../store/database.ts";
import { openReadingSeal } from "../store/key-table.ts";
import { decodeRest } from "../store/sync-backfill.ts";
import type { ParkedBatch, SyncBacklog, SyncClass } from "../store/sync-operations.ts";
import { TOTALS } from "../store/sync-statements.ts";
import type { Codec } from "../zstd.ts";
import { type AuditRange, type EdgeAudit, readEdgeAudit } from "./audit-reader.ts";
import type { BatchItem, BlockItem, StreamTotals } from "./batch.ts";
import { encodeObjects, encodeResults, type SentAttribute, type SentLoss } from "./rows.ts";

/** What a row of the outbox may take, decompressed: it was written as a portion of far less. */
const MAX_OUTBOX_BYTES = 64 * 1024 * 1024;

/** In the order of the items' own ids, which is how they lie: by others', SQLite would sort the rows, data and all, in a file. */
const IN_BATCH = "FROM sync_items i CROSS JOIN";
/** By class, what reads the items of a batch. */
export const ITEMS: Readonly<Record<SyncClass, string>> = {
  events:
    "SELECT b.seq AS id, s.name AS stream, b.arrival_us AS arrivalUs, b.count, b.min_us AS minUs, b.max_us AS maxUs," +
    ` b.stream_id AS streamId, b.codec, b.encoded_bytes AS encodedBytes, b.resolution_us AS resolutionUs, b.data, b.sums ${IN_BATCH} blocks b ON b.seq = i.id` +
    " JOIN streams s ON s.id = b.stream_id WHERE i.batch = ? ORDER BY i.id",
  results: `SELECT o.id, o.rows, o.codec, o.is_sealed AS isSealed, o.data ${IN_BATCH} outbox o ON o.id = i.id WHERE i.batch = ? ORDER BY i.id`,
  alerts: `SELECT o.id, o.rows, o.codec, o.is_sealed AS isSealed, o.data ${IN_BATCH} outbox o ON o.id = i.id WHERE i.batch = ? ORDER BY i.id`,
  attributes: `SELECT a.id, a.ms, a.counter, a.body ${IN_BATCH} device_attributes a ON a.id = i.id WHERE i.batch = ? ORDER BY i.id`,
  losses:
    "SELECT l.id, s.name AS stream, l.from_us AS fromUs, l.to_us AS toUs, l.count, l.bytes, l.reason, l.at_us AS atUs, l.kind, l.subject" +
    ` ${IN_BATCH} losses l ON l.id = i.id LEFT JOIN streams s ON s.id = l.stream_id WHERE i.batch = ? ORDER BY i.id`,
};

interface OutboxRow {
  readonly id: number;
  readonly rows: number;
  readonly codec: "none" | "zstd";
  readonly isSealed: number;
  readonly data: Buffer;
}

type AttributeRow = Parameters<typeof openAttribute>[1] & { readonly id: number };
type BlockItemRow = Omit<BlockItem, "kind"> & { readonly streamId: number; readonly sums: Uint8Array | null };

/** What a batch holds, and by their ids what the events of its blocks come to, where it is known. */
export interface StoredItems {
  readonly items: readonly BatchItem[];
  readonly sums: ReadonlyMap<number, Uint8Array>;
}

/** Reads what is to be sent, through a connection of its own that holds no snapshot between calls. */
export class SyncReader {
  readonly #db: Connection;
  readonly #codec: Codec;
  readonly #seal: Seal | KeyRing;
  readonly #statements = new Map<string, Statement<unknown[]>>();

  constructor(dir: string, codec: Codec, masters: MasterKeys | null) {
    this.#db = openForReading(dir);
    this.#codec = codec;
    try {
      this.#seal = openReadingSeal(this.#db, masters);
    } catch (cause) {
      this.#db.close();
      throw cause;
    }
  }

  /** Keys that are in force from here on. */
  learnKeys(masters: MasterKeys): void {
    if ("learn" in this.#seal) this.#seal.learn(masters);
  }

  /** What a batch holds. What was set aside as damaged meanwhile is not there. */
  items(batch: number, kind: SyncClass): StoredItems {
    const sums = new Map<number, Uint8Array>();
    return { items: this.#items(batch, kind, sums), sums };
  }

  #items(batch: number, kind: SyncClass, found: Map<number, Uint8Array>): BatchItem[] {
    const rows = this.#prepare(ITEMS[kind]).all(batch);
    switch (kind) {
      case "events":
        return (rows as BlockItemRow[]).map(({ streamId, sums, ...row }) => {
          if (sums !== null) found.set(row.id, this.#openSums(row.id, sums));
          const data = this.#seal.isOn
            ? this.#seal.openBytes(blockPlace(streamId, row.id), row.data)
            : row.data;
          return { kind: "block", ...row, data };
        });
      case "losses":
        return (rows as (SentLoss & { id: number })[]).map(({ id, ...loss }) => {
          return { kind, id, rows: 1, ndjson: encodeObjects([loss]) };
        });
      case "attributes":
        // One that has changed since is not there: it has another id, and its turn is to come.
        return (rows as AttributeRow[]).map((row) => {
          const [device, attribute, value] = openAttribute(this.#seal, row);
          const sent: SentAttribute = { device, attribute, value, ms: row.ms, counter: row.counter };
          return { kind, id: row.id, rows: 1, ndjson: encodeObjects([sent]) };
        });
      case "results":
      case "alerts":
        return (rows as OutboxRow[]).map(({ id, rows: count, codec, isSealed, data: stored }) => {
          const data = isSealed === 0 ? stored : this.#seal.openBytes(outboxPlace(kind, id), stored);
          const text = (
            codec === "zstd" ? this.#codec.decompress(data, MAX_OUTBOX_BYTES) : data
          ) as Uint8Array;
          const written = Buffer.from(text.buffer, text.byteOffset, text.length).toString();
          const ndjson = kind === "results" ? encodeResults(written) : encodeObjects(alertsOf(written));
          return { kind, id, rows: count, ndjson };
        });
    }
  }

  #openSums(seq: number, sums: Uint8Array): Uint8Array {
    return this.#seal.isOn ? this.#seal.openBytes(blockSumsPlace(seq), sums) : sums;
  }

  totals(): StreamTotals[] {
    return this.#prepare(TOTALS).all() as StreamTotals[];
  }

  /** What a sink has not got. Cost: the index entries of blocks that are not synced. */
  backlog(sink: string): SyncBacklog {
    const rows: Record<SyncClass, number> = { alerts: 0, losses: 0, attributes: 0, results: 0, events: 0 };
    let bytes = 0;
    let oldestUs: number | null = null;
    let parked = 0;
    type Sum = { class: SyncClass; rows: number; bytes: number; oldestUs: number | null; parked: number };
    for (const sum of this.#prepare(BACKLOG).all({ sink }) as Sum[]) {
      rows[sum.class] += sum.rows;
      bytes += sum.bytes;
      parked += sum.parked;
      if (sum.oldestUs !== null && (oldestUs === null || sum.oldestUs < oldestUs)) oldestUs = sum.oldestUs;
    }
    type Backfill = { class: "results" | "alerts"; query: string; startUs: number; rest: string };
    for (const { class: kind, query, startUs, rest } of this.#prepare(BACKFILLS).all({
      sink,
    }) as Backfill[]) {
      const name = kind === "results" ? [query] : [];
      const place = [...name, startUs, ...decodeRest(rest), MOST_COUNTED];
      rows[kind] += (this.#prepare(LEFT[kind]).get(...place) as { rows: number }).rows;
    }
    return { rows, bytes, oldestUs, parked };
  }

  /** What a sink has of each hour. */
  audit(sink: string, range: AuditRange): EdgeAudit {
    return readEdgeAudit(this.#db, sink, range);
  }

  parked(limit: number): ParkedBatch[] {
    const found = this.#prepare(
      "SELECT b.id, s.name AS sink, class, rows, bytes, coalesce(reason, '') AS reason, parked_us AS atUs," +
        " (SELECT json_group_array(DISTINCT t.name) FROM sync_items i JOIN blocks k ON k.seq = i.id" +
        " JOIN streams t ON t.id = k.stream_id WHERE i.batch = b.id AND b.class = 'events') AS streams" +
        " FROM sync_batches b JOIN sync_sinks s ON s.id = b.sink WHERE parked_us IS NOT NULL ORDER BY b.id LIMIT ?",
    ).all(limit) as (Omit<ParkedBatch, "streams"> & { streams: string })[];
    return found.map((row) => ({ ...row, streams: JSON.parse(row.streams) as string[] }));
  }

  close(): void {
    this.#db.close();
  }

  #prepare(sql: string): Statement<unknown[]> {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** Rows stored before a sink was there are counted up to here, for each query. */
const MOST_COUNTED = 100_000;
const BACKFILLS =
  "SELECT class, query, start_us AS startUs, rest FROM sync_backfills" +
  " WHERE sink = (SELECT id FROM sync_sinks WHERE name = @sink)";
const LEFT = {
  results:
    "SELECT count(*) AS rows FROM (SELECT 1 FROM results WHERE query = ? AND (start_us, key, end_us, revision) < (?, ?, ?, ?)" +
    " LIMIT ?)",
  alerts:
    "SELECT count(*) AS rows FROM (SELECT 1 FROM alerts WHERE (since_us, alert, key, id, revision) < (?, ?, ?, ?, ?) LIMIT ?)",
} as const;

const SINK = "(SELECT id FROM sync_sinks WHERE name = @sink)";
const BACKLOG =
  "SELECT 'events' AS class, coalesce(sum(count), 0) AS rows, coalesce(sum(stored_bytes), 0) AS bytes," +
  " min(arrival_us) AS oldestUs, 0 AS parked FROM streams s CROSS JOIN blocks ON blocks.stream_id = s.id AND blocks.state <> 'synced'" +
  ` AND ${IS_NOT_SYNCED}` +
  ` AND blocks.seq > coalesce((SELECT after_id FROM sync_positions WHERE sink = ${SINK} AND flow = 'stream ' || s.id), 0)` +
  " UNION ALL SELECT q.class, sum(o.rows), sum(o.bytes), min(o.at_us), 0 FROM outbox_queue q JOIN outbox o ON o.id = q.id" +
  ` WHERE q.sink = ${SINK} GROUP BY q.class` +
  " UNION ALL SELECT 'losses', count(*), 100 * count(*), min(at_us), 0 FROM losses" +
  ` WHERE id > coalesce((SELECT after_id FROM sync_positions WHERE sink = ${SINK} AND flow = 'losses'), 0)` +
  " UNION ALL SELECT 'attributes', count(*), coalesce(sum(bytes), 0), min(changed_us), 0 FROM device_attributes" +
  ` WHERE id > coalesce((SELECT after_id FROM sync_positions WHERE sink = ${SINK} AND flow = 'attributes'), 0)` +
  " UNION ALL SELECT class, sum(rows * (parked_us IS NULL)), sum(bytes * (parked_us IS NULL)), null," +
  " sum(parked_us IS NOT NULL) FROM sync_batches" +
  ` WHERE sink = ${SINK} GROUP BY class`;

function alertsOf(ndjson: string): Omit<AlertRow, "isTold">[] {
  return ndjson.split("\n").map((line) => JSON.parse(line) as Omit<AlertRow, "isTold">);
}
