import type { Statement } from "better-sqlite3";
import { NO_SEAL, type Seal } from "../seal/seal.ts";
import { BLOCK_STATE, IS_NOT_UNDER_WAY, IS_UNCLAIMED } from "./block-states.ts";
import type { Connection } from "./database.ts";
import { NEXT_SEQ } from "./next-seq.ts";
import { prepareAll } from "./prepare-all.ts";

/** Rows of one INSERT. In the order of the primary key: unsorted, this would be slower than row by row. */
export const RESULTS_PER_INSERT = 20;

const BLOCK_COLUMNS = "stream_id AS streamId, count, min_us, max_us, codec, encoded_bytes, data";
const RESULT_ROW = "(?, ?, ?, ?, ?, ?, ?, ?)";

function upsertResults(rows: number): string {
  return (
    "INSERT INTO results (query, start_us, end_us, key, revision, kind, value, retracted)" +
    ` VALUES ${Array<string>(rows).fill(RESULT_ROW).join(", ")}` +
    " ON CONFLICT DO UPDATE SET kind = excluded.kind, value = excluded.value, retracted = excluded.retracted"
  );
}

/**
 * Rows of one INSERT that differ in key and value alone, so that what they share is bound once. CPU time of 10,000 rows in portions of
 * 2,000: 17 ms with eight values each by twenties, so 14.
 */
export const GROUPED_PER_INSERT = 64;

function upsertGroup(rows: number): string {
  return (
    "WITH head(query, start_us, end_us, revision, kind, retracted) AS (VALUES (?, ?, ?, ?, ?, ?))," +
    ` rows(key, value) AS (VALUES ${Array<string>(rows).fill("(?, ?)").join(", ")})` +
    " INSERT INTO results (query, start_us, end_us, key, revision, kind, value, retracted)" +
    " SELECT head.query, head.start_us, head.end_us, rows.key, head.revision, head.kind, rows.value, head.retracted" +
    // Without the condition, ON would belong to the join.
    " FROM head CROSS JOIN rows WHERE true" +
    " ON CONFLICT DO UPDATE SET kind = excluded.kind, value = excluded.value, retracted = excluded.retracted"
  );
}

/** All that the writer says to SQLite. */
const SQL = {
  begin: "BEGIN IMMEDIATE",
  commit: "COMMIT",
  rollback: "ROLLBACK",
  readCounters: `SELECT ${NEXT_SEQ} AS nextSeq, dead_letters AS deadLetters, idempotency_keys AS idempotencyKeys FROM counters`,
  writeCounters: "UPDATE counters SET next_seq = ?, dead_letters = ?, idempotency_keys = ?",

  allStreams:
    "SELECT id, name, schema_version AS schemaVersion, schema, time_sources AS timeSources FROM streams",
  insertStream: "INSERT INTO streams (name) VALUES (?)",
  insertSchema: "INSERT INTO schemas (stream_id, version, fields, since_seq) VALUES (?, ?, ?, ?)",
  updateSchema: "UPDATE streams SET schema_version = ?, schema = ? WHERE id = ?",
  updateTimeSources: "UPDATE streams SET time_sources = ? WHERE id = ?",
  countBlock:
    "UPDATE streams SET accepted = accepted + ?, dead_lettered = dead_lettered + ?, held = held + ?, last_seq = ? WHERE id = ?",
  countLoss:
    "UPDATE streams SET held = held - ?, downsampled = downsampled + ?, given_up = given_up + ?, expired = expired + ?," +
    " corrupt = corrupt + ?, gone_us = max(coalesce(gone_us, ?), ?) WHERE id = ?",
  countEvicted:
    "UPDATE streams SET held = held - ?, evicted = evicted + ?, gone_us = max(coalesce(gone_us, ?), ?) WHERE id = ?",
  countLate: "UPDATE streams SET late = late + ? WHERE id = ?",
  countSkewed: "UPDATE streams SET clock_skewed = clock_skewed + ? WHERE id = ?",
  describeStreams:
    "SELECT id, name AS stream, schema_version AS schemaVersion, schema, time_sources AS timeSources, accepted, dead_lettered AS deadLettered, late," +
    " clock_skewed AS clockSkewed, (SELECT count(*) FROM blocks WHERE stream_id = s.id) AS blocks," +
    " (SELECT coalesce(sum(stored_bytes), 0) FROM blocks WHERE stream_id = s.id) AS storedBytes" +
    " FROM streams s ORDER BY id",

  insertBlock:
    "INSERT INTO blocks (seq, stream_id, arrival_us, count, min_us, max_us, codec, encoded_bytes, stored_bytes, data, sums)" +
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
  insertBlockKeys: "INSERT INTO block_keys (seq, fields, filter) VALUES (?, ?, ?)",
  insertWatermark: "INSERT INTO watermarks (seq, stream_id, time_us) VALUES (?, ?, ?)",

  insertConfig: "INSERT INTO configs (seq, body) VALUES (?, ?)",
  clearResults:
    "DELETE FROM results WHERE (query, start_us, key, end_us, revision) IN" +
    " (SELECT query, start_us, key, end_us, revision FROM results WHERE query = ? AND start_us >= ? LIMIT ?)",

  insertTick: "INSERT INTO ticks (seq, stream_id, at_us, is_resume) VALUES (?, ?, ?, ?)",

  insertKey:
    "INSERT INTO idempotency (stream_id, key, at_us, accepted, dead_lettered) VALUES (?, ?, ?, ?, ?)" +
    " ON CONFLICT DO NOTHING",
  readKey: "SELECT accepted, dead_lettered AS deadLettered FROM idempotency WHERE stream_id = ? AND key = ?",
  dropKeys:
    "DELETE FROM idempotency WHERE (stream_id, key) IN" +
    " (SELECT stream_id, key FROM idempotency WHERE at_us < ? ORDER BY at_us LIMIT ?)",

  insertDeadLetter:
    "INSERT INTO dead_letters (stream_id, at_us, line, path, code, message, text) VALUES (?, ?, ?, ?, ?, ?, ?)",
  sumDeadLetters:
    "SELECT stream_id AS streamId, min(at_us) AS fromUs, max(at_us) AS toUs, count(*) AS count," +
    " sum(octet_length(text)) AS bytes FROM (SELECT * FROM dead_letters ORDER BY id LIMIT ?) GROUP BY stream_id",
  dropDeadLetters: "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters ORDER BY id LIMIT ?)",
  insertLoss:
    "INSERT INTO losses (stream_id, from_us, to_us, count, bytes, reason, at_us, kind, subject)" +
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",

  hasResult:
    "SELECT 1 FROM results WHERE query = ? AND start_us = ? AND key = ? AND end_us = ? AND revision = ?",
  upsertResult: upsertResults(1),
  upsertResults: upsertResults(RESULTS_PER_INSERT),
  upsertGroup: upsertGroup(GROUPED_PER_INSERT),
  querySpans: "SELECT query, longest_us AS longestUs FROM query_spans",
  writeQuerySpan:
    "INSERT INTO query_spans (query, longest_us) VALUES (?, ?) ON CONFLICT DO UPDATE SET longest_us = max(longest_us, excluded.longest_us)",

  insertLate:
    "INSERT INTO late (source_seq, reason, stream_id, at_us, count, min_us, max_us, codec, encoded_bytes, data, source_rows)" +
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
  lateRows: "SELECT source_rows AS rows FROM late WHERE source_seq = ? AND reason = ?",
  markApplied: "UPDATE late SET applied_us = ? WHERE id = ? AND applied_us IS NULL",

  // A replay starts at the oldest checkpoint kept at the earliest, so older marks are never read again.
  dropWatermarks: "DELETE FROM watermarks WHERE seq <= (SELECT min(seq) FROM checkpoints)",
  dropTicks: "DELETE FROM ticks WHERE seq <= (SELECT min(seq) FROM checkpoints)",
  // The one in force at the oldest checkpoint is where a replay starts.
  dropConfigs:
    "DELETE FROM configs WHERE seq < (SELECT max(seq) FROM configs WHERE seq <= (SELECT min(seq) FROM checkpoints))",
  configAt: "SELECT seq, body FROM configs WHERE seq <= ? ORDER BY seq DESC LIMIT 1",
  firstConfig: "SELECT seq, body FROM configs ORDER BY seq LIMIT 1",
  lastConfig: "SELECT seq, body FROM configs ORDER BY seq DESC LIMIT 1",
  logConfigs: "SELECT seq, body FROM configs WHERE seq > ? AND seq <= ? ORDER BY seq",
  oldestCheckpoint: "SELECT coalesce(min(seq), 0) AS seq FROM checkpoints",

  logBlocks:
    `SELECT seq, s.name AS stream, arrival_us AS arrivalUs, ${BLOCK_COLUMNS}` +
    " FROM blocks b JOIN streams s ON s.id = b.stream_id WHERE seq > ? AND resolution_us = 0 ORDER BY seq",
  logWatermarks:
    "SELECT seq, s.name AS stream, time_us AS timeUs FROM watermarks w JOIN streams s ON s.id = w.stream_id" +
    " WHERE seq > ? AND seq <= ? ORDER BY seq",
  logTicks:
    "SELECT seq, s.name AS stream, at_us AS atUs, is_resume AS isResume FROM ticks t" +
    " JOIN streams s ON s.id = t.stream_id WHERE seq > ? AND seq <= ? ORDER BY seq",

  /** In the index alone: a block's own row has pages to itself. Those on their way to a sink may be most that there are. */
  smallSeqs:
    "SELECT seq FROM blocks INDEXED BY blocks_by_time WHERE stream_id = ? AND seq > ? AND seq <= ?" +
    ` AND stored_bytes < ? AND count < ? AND ${IS_NOT_UNDER_WAY} ORDER BY seq LIMIT ?`,
  smallBlocks:
    `SELECT seq, stored_bytes AS bytes, count, ${BLOCK_STATE} AS state, resolution_us AS resolutionUs FROM blocks` +
    " WHERE seq IN (SELECT value FROM json_each(?)) AND state IN ('pending', 'synced')" +
    ` AND ${BLOCK_STATE} IN ('pending', 'synced') ORDER BY seq`,
  readBlock: `SELECT ${BLOCK_COLUMNS} FROM blocks WHERE seq = ?`,
  describeBlock:
    `SELECT stream_id AS streamId, arrival_us AS arrivalUs, count, stored_bytes AS bytes, ${BLOCK_STATE} AS state, resolution_us AS resolutionUs, sums` +
    " FROM blocks WHERE seq = ?",
  markMerged: "UPDATE blocks SET state = ?, resolution_us = ? WHERE seq = ?",
  deleteBlock: "DELETE FROM blocks WHERE seq = ?",
  heldBack:
    "SELECT 1 FROM blocks WHERE state = 'pending' AND resolution_us = 0 AND stream_id = ? AND seq > ?" +
    ` AND ${IS_UNCLAIMED} LIMIT 1`,
  newestArrival: "SELECT arrival_us AS arrivalUs FROM blocks ORDER BY seq DESC LIMIT 1",
  markDownsampled: "UPDATE blocks SET resolution_us = ? WHERE seq = ?",
  newestCheckpoint: "SELECT coalesce(max(seq), 0) AS seq FROM checkpoints",
} as const;

export type Statements = Readonly<Record<keyof typeof SQL, Statement<unknown[]>>> & {
  /** What values go through on their way in and out. */
  readonly seal: Seal;
};

export function prepareStatements(db: Connection, seal: Seal = NO_SEAL): Statements {
  return { ...prepareAll(db, SQL), seal };
}
