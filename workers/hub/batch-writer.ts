import type { Statement } from "better-sqlite3";
import type { ResultRow } from "../messages.ts";
import type { Connection } from "../store/database.ts";
import { prepareAll } from "../store/prepare-all.ts";
import type { Batch, BlockItem, RowsItem } from "../sync/batch.ts";
import { blockDigest } from "../sync/block-digest.ts";
import {
  type ClearedResults,
  decodeAlerts,
  decodeAttributes,
  decodeLosses,
  decodeResults,
} from "../sync/rows.ts";
import type { Codec } from "../zstd.ts";
import { AttributeWriter } from "./attribute-writer.ts";
import type { EdgeNews, HubAttributeLimits } from "./edge-news.ts";
import { EdgeRegistry, type Origin } from "./edge-registry.ts";

const SQL = {
  insertBatch: "INSERT INTO batches (edge_id, key, at_us) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
  countBatch: "UPDATE edges SET batches = batches + 1, wire_bytes = wire_bytes + ? WHERE id = ?",
  countDuplicate: "UPDATE edges SET duplicates = duplicates + 1 WHERE id = ?",
  dropBatches:
    "DELETE FROM batches WHERE (edge_id, key) IN (SELECT edge_id, key FROM batches WHERE at_us < ? LIMIT ?)",
  // What went by retention, or became part of another, is known all the same.
  insertBlock:
    "WITH n (edge_id, stream_id, incarnation_id, seq, digest, arrival_us, received_us, count, min_us, max_us, codec," +
    " encoded_bytes, resolution_us, data) AS (VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?))" +
    " INSERT INTO blocks (edge_id, stream_id, incarnation_id, seq, digest, arrival_us, received_us, count, min_us, max_us," +
    " codec, encoded_bytes, resolution_us, data) SELECT * FROM n WHERE NOT EXISTS (SELECT 1 FROM gone_blocks g" +
    " WHERE g.incarnation_id = n.incarnation_id AND g.seq = n.seq AND g.digest = n.digest) ON CONFLICT DO NOTHING",
  otherBlock:
    "WITH n (incarnation_id, seq, digest) AS (VALUES (?, ?, ?)) SELECT 1 FROM n WHERE" +
    " EXISTS (SELECT 1 FROM blocks b WHERE b.incarnation_id = n.incarnation_id AND b.seq = n.seq AND b.digest <> n.digest) OR" +
    " EXISTS (SELECT 1 FROM gone_blocks g WHERE g.incarnation_id = n.incarnation_id AND g.seq = n.seq AND g.digest <> n.digest)",
  noticeConflict: "UPDATE incarnations SET conflicts = conflicts + 1 WHERE id = ?",
  countEvents:
    "INSERT INTO edge_streams (edge_id, stream_id, events, stored_bytes) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE" +
    " SET events = events + excluded.events, stored_bytes = stored_bytes + excluded.stored_bytes",
  upsertResult:
    "INSERT INTO results (query, start_us, end_us, key, edge_id, revision, kind, value, retracted, incarnation_id, version)" +
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET kind = excluded.kind, value = excluded.value," +
    " retracted = excluded.retracted, incarnation_id = excluded.incarnation_id, version = excluded.version" +
    " WHERE excluded.incarnation_id <> incarnation_id OR excluded.version >= version",
  span:
    "INSERT INTO query_spans (query, longest_us) VALUES (?, ?) ON CONFLICT DO UPDATE" +
    " SET longest_us = max(longest_us, excluded.longest_us) WHERE excluded.longest_us > longest_us",
  cleared:
    "SELECT from_us AS fromUs, version FROM cleared WHERE edge_id = ? AND query = ? AND incarnation_id = ?",
  clear:
    "INSERT INTO cleared (edge_id, query, incarnation_id, from_us, version) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE" +
    " SET version = max(version, excluded.version)",
  dropCleared:
    "DELETE FROM results WHERE query = ? AND start_us >= ? AND edge_id = ? AND (incarnation_id <> ? OR version < ?)",
  insertAlert:
    "INSERT INTO alerts (alert, since_us, key, id, revision, edge_id, definition, severity, state, at_us, value, retracted)" +
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
  markLatest:
    "UPDATE alerts SET is_latest = (revision = (SELECT max(revision) FROM alerts n WHERE n.alert = alerts.alert" +
    " AND n.since_us = alerts.since_us AND n.key = alerts.key AND n.id = alerts.id AND n.edge_id = alerts.edge_id))" +
    " WHERE alert = ? AND since_us = ? AND key = ? AND id = ? AND edge_id = ?",
  insertLoss:
    "INSERT INTO losses (edge_id, incarnation_id, loss_id, stream, from_us, to_us, count, bytes, reason, at_us, kind, subject)" +
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
} as const;

/** An edge settles a batch within its longest backoff of the answer; a week is far beyond. */
const BATCH_KEY_KEPT_US = 7 * 86_400e6;
/** Old keys forgotten with each new one at most. */
const KEYS_DROPPED = 2;

/** Small blocks come without a compression of their own; below this none is worth its while. */
const MIN_COMPRESSED_BYTES = 512;
const ZSTD_LEVEL = 1;

/** What became of a batch. `stored` counts events and rows that were not there before. */
export interface Received {
  readonly stored: number;
  readonly isDuplicate: boolean;
  readonly news: EdgeNews;
}

/**
 * Writes a batch. What it holds is known by the batch's key, and, should an edge have put the same into another batch,
 * by each item itself: a block by data directory, place in its log and digest; a result by (edge, query, window, key,
 * revision); an alert by its step; a loss by its number. Must run within a transaction.
 */
export class BatchWriter {
  readonly #sql: Readonly<Record<keyof typeof SQL, Statement<unknown[]>>>;
  readonly #edges: EdgeRegistry;
  readonly #attributes: AttributeWriter;
  readonly #codec: Codec;

  constructor(db: Connection, codec: Codec, limits: HubAttributeLimits) {
    this.#codec = codec;
    this.#attributes = new AttributeWriter(db, limits);
    this.#sql = prepareAll(db, SQL);
    this.#edges = new EdgeRegistry(db);
  }

  /** The transaction was rolled back. */
  reset(): void {
    this.#edges.reset();
  }

  write({ header, items }: Batch, wireBytes: number, nowUs: number): Received {
    const origin = this.#edges.register(header, nowUs);
    let { latest, identity } = origin;
    if (this.#sql.insertBatch.run(origin.edgeId, header.key, nowUs).changes === 0) {
      this.#sql.countDuplicate.run(origin.edgeId);
      return { stored: 0, isDuplicate: true, news: { latest, refusedAttributes: 0, identity } };
    }
    this.#sql.dropBatches.run(nowUs - BATCH_KEY_KEPT_US, KEYS_DROPPED);
    this.#sql.countBatch.run(wireBytes, origin.edgeId);
    let stored = 0;
    let refusedAttributes = 0;
    let isForked = false;
    for (const item of items) {
      if (item.kind === "attributes") {
        const written = this.#attributes.write(origin, decodeAttributes(item.ndjson), latest, nowUs);
        stored += written.stored;
        refusedAttributes += written.refused;
        latest = written.latest;
      } else if (item.kind === "block") {
        const { count, isConflict } = this.#writeBlock(origin, item, nowUs);
        stored += count;
        isForked ||= isConflict;
        if (isConflict && identity === null) {
          identity = "replayed";
          this.#edges.notice(origin, identity, nowUs);
        }
      } else stored += this.#writeRows(origin, item.kind, item);
    }
    if (isForked) this.#edges.addWays(origin.incarnationId);
    return { stored, isDuplicate: false, news: { latest, refusedAttributes, identity } };
  }

  #writeBlock(
    { edgeId, incarnationId }: Origin,
    item: BlockItem,
    nowUs: number,
  ): { count: number; isConflict: boolean } {
    const { id: seq, count } = item;
    const digest = item.digest ?? blockDigest(item.data);
    const { codec, data } = this.#packed(item);
    const streamId = this.#edges.streamId(item.stream);
    const where = [edgeId, streamId, incarnationId, seq, digest, item.arrivalUs, nowUs];
    const what = [count, item.minUs, item.maxUs, codec, item.encodedBytes, item.resolutionUs, data];
    if (this.#sql.insertBlock.run(...where, ...what).changes === 0) return { count: 0, isConflict: false };
    // Two blocks of one place: the data directory was copied or put back, and went two ways. Both hold events.
    const isConflict = this.#sql.otherBlock.get(incarnationId, seq, digest) !== undefined;
    if (isConflict) this.#sql.noticeConflict.run(incarnationId);
    // Rows of aggregates are no events.
    const events = item.resolutionUs === 0 ? count : 0;
    // As they came, so that every kind of store says the same.
    this.#sql.countEvents.run(edgeId, streamId, events, item.data.length);
    return { count, isConflict };
  }

  #packed({ codec, data }: BlockItem): Pick<BlockItem, "codec" | "data"> {
    if (codec !== "none" || data.length < MIN_COMPRESSED_BYTES) return { codec, data };
    const packed = this.#codec.compress(data, ZSTD_LEVEL);
    return packed.length < data.length ? { codec: "zstd", data: packed } : { codec, data };
  }

  #writeRows(origin: Origin, kind: Exclude<RowsItem["kind"], "attributes">, item: RowsItem): number {
    switch (kind) {
      case "results":
        return this.#writeResults(origin, item.id, decodeResults(item.ndjson));
      case "alerts":
        return this.#writeAlerts(origin, item);
      case "losses":
        return this.#writeLosses(origin, item);
    }
  }

  /** Results come the newest first: what is older than what is there, or than what cleared it, is passed over. */
  #writeResults(origin: Origin, version: number, rows: readonly (ResultRow | ClearedResults)[]): number {
    const { edgeId, incarnationId } = origin;
    const cleared = new Map<string, { fromUs: number; version: number }[]>();
    const spans = new Map<string, number>();
    let stored = 0;
    for (const row of rows) {
      if ("clear" in row) {
        this.#sql.clear.run(edgeId, row.clear, incarnationId, row.fromUs, version);
        this.#sql.dropCleared.run(row.clear, row.fromUs, edgeId, incarnationId, version);
        continue;
      }
      const { query, startUs, endUs, key, revision, kind, values, retracted } = row;
      let clearings = cleared.get(query);
      if (clearings === undefined) {
        clearings = this.#sql.cleared.all(edgeId, query, incarnationId) as {
          fromUs: number;
          version: number;
        }[];
        cleared.set(query, clearings);
      }
      if (clearings.some((clearing) => clearing.version > version && startUs >= clearing.fromUs)) continue;
      spans.set(query, Math.max(spans.get(query) ?? 0, endUs - startUs));
      const name = [query, startUs, endUs, key, edgeId, revision];
      stored += this.#sql.upsertResult.run(
        ...name,
        kind,
        values,
        retracted ? 1 : 0,
        incarnationId,
        version,
      ).changes;
    }
    for (const [query, us] of spans) this.#sql.span.run(query, us);
    return stored;
  }

  #writeAlerts({ edgeId }: Origin, { ndjson }: RowsItem): number {
    let stored = 0;
    for (const row of decodeAlerts(ndjson)) {
      const { alert, sinceUs, key, id, revision, definition, severity, state, atUs, value, isRetracted } =
        row;
      const name = [alert, sinceUs, key, id, revision, edgeId];
      const rest = [definition, severity, state, atUs, value, isRetracted ? 1 : 0];
      if (this.#sql.insertAlert.run(...name, ...rest).changes === 0) continue;
      this.#sql.markLatest.run(alert, sinceUs, key, id, edgeId);
      stored++;
    }
    return stored;
  }

  #writeLosses({ edgeId, incarnationId }: Origin, { id, ndjson }: RowsItem): number {
    return decodeLosses(ndjson).reduce((stored, loss) => {
      const { stream, fromUs, toUs, count, bytes, reason, atUs, kind, subject } = loss;
      const what = [stream, fromUs, toUs, count, bytes, reason, atUs, kind, subject];
      return stored + this.#sql.insertLoss.run(edgeId, incarnationId, id, ...what).changes;
    }, 0);
  }
}
