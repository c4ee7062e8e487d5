import type { Statement } from "better-sqlite3";
import { IS_NOT_SYNCED } from "./block-states.ts";
import type { Connection } from "./database.ts";
import type { SyncClass } from "./sync-operations.ts";

const BATCH = "id, class, items, rows, bytes, strikes, next_at_us AS nextAtUs, reason FROM sync_batches";

/** What each stream has counted so far. */
export const TOTALS =
  "SELECT name AS stream, accepted, dead_lettered AS deadLettered, late, clock_skewed AS clockSkewed FROM streams";

/** All that sync says to SQLite. */
const SQL = {
  node: "SELECT incarnation, starts FROM sync_node",
  totals: TOTALS,
  countStart: "UPDATE sync_node SET starts = starts + 1",
  sinks: "SELECT id, name FROM sync_sinks",
  insertSink: "INSERT INTO sync_sinks (name) VALUES (?)",
  position: "SELECT after_id AS afterId FROM sync_positions WHERE sink = ? AND flow = ?",
  move:
    "INSERT INTO sync_positions (sink, flow, after_id) VALUES (?, ?, ?)" +
    " ON CONFLICT DO UPDATE SET after_id = max(after_id, excluded.after_id)",

  nextBlocks:
    "SELECT seq AS id, count AS rows, stored_bytes AS bytes, arrival_us AS atUs, stream_id AS streamId FROM blocks" +
    ` WHERE state <> 'synced' AND ${IS_NOT_SYNCED} AND stream_id = ? AND seq > ? ORDER BY seq LIMIT ?`,
  // Where a sink begins that was not there before.
  beforeFirstOpen:
    "SELECT coalesce((SELECT seq - 1 FROM blocks WHERE state <> 'synced' AND stream_id = @stream" +
    ` AND ${IS_NOT_SYNCED} ORDER BY seq LIMIT 1), (SELECT max(seq) FROM blocks WHERE stream_id = @stream), 0) AS seq`,
  beginBlock: "INSERT INTO block_states (seq, state) VALUES (?, 'syncing') ON CONFLICT DO NOTHING",
  endBlock: "UPDATE block_states SET state = 'synced' WHERE seq = ?",
  // One that an earlier release has claimed, or whose state is lost.
  endOtherBlock: "INSERT INTO block_states (seq, state) SELECT seq, 'synced' FROM blocks WHERE seq = ?",
  insertDelivered: "INSERT INTO sync_delivered (seq, sink) VALUES (?, ?) ON CONFLICT DO NOTHING",
  countDelivered: "SELECT count(*) AS count FROM sync_delivered WHERE seq = ?",
  dropDelivered: "DELETE FROM sync_delivered WHERE seq = ?",
  deliveredToAll: "SELECT seq FROM sync_delivered GROUP BY seq HAVING count(*) >= ?",

  nextQueued:
    "SELECT q.id, o.rows, o.bytes, o.at_us AS atUs FROM outbox_queue q JOIN outbox o ON o.id = q.id" +
    " WHERE q.sink = ? AND q.class = ? AND q.id > ? ORDER BY q.id LIMIT ?",
  newestQueued:
    "SELECT q.id, o.rows, o.bytes, o.at_us AS atUs FROM outbox_queue q JOIN outbox o ON o.id = q.id" +
    " WHERE q.sink = ? AND q.class = ? AND q.id < ? ORDER BY q.id DESC LIMIT ?",
  oldestQueued:
    "SELECT o.at_us AS atUs FROM outbox_queue q JOIN outbox o ON o.id = q.id" +
    " WHERE q.sink = ? AND q.class = ? ORDER BY q.id LIMIT 1",
  takeQueued: "DELETE FROM outbox_queue WHERE sink = ? AND class = ? AND id = ?",
  dropOutbox: "DELETE FROM outbox WHERE id = ? AND left_sinks <= 1",
  leaveOutbox: "UPDATE outbox SET left_sinks = left_sinks - 1 WHERE id = ?",
  nextLosses:
    "SELECT id, 1 AS rows, 100 AS bytes, at_us AS atUs FROM losses WHERE id > ? ORDER BY id LIMIT ?",
  nextAttributes:
    "SELECT id, 1 AS rows, bytes, changed_us AS atUs FROM device_attributes WHERE id > ? ORDER BY id LIMIT ?",

  insertBatch: "INSERT INTO sync_batches (sink, class, items, rows, bytes) VALUES (?, ?, ?, ?, ?)",
  insertItem: "INSERT INTO sync_items (batch, id) VALUES (?, ?)",
  batch: "SELECT sink, class FROM sync_batches WHERE id = ?",
  items: "SELECT id FROM sync_items WHERE batch = ?",
  unsettled: `SELECT ${BATCH} WHERE sink = ? AND parked_us IS NULL ORDER BY id`,
  parkedBatches: `SELECT ${BATCH} WHERE sink = ? AND parked_us IS NOT NULL ORDER BY id`,
  fail: "UPDATE sync_batches SET strikes = ?, next_at_us = ?, reason = ? WHERE id = ?",
  park: "UPDATE sync_batches SET reason = ?, parked_us = ? WHERE id = ?",
  unpark: "UPDATE sync_batches SET strikes = 0, next_at_us = 0, parked_us = NULL WHERE parked_us IS NOT NULL",
  parkedSize:
    "SELECT count(*) AS batches, coalesce(sum(bytes), 0) AS bytes FROM sync_batches WHERE parked_us IS NOT NULL",
  batchBytes: "SELECT bytes FROM sync_batches WHERE id = ?",
  dropItems: "DELETE FROM sync_items WHERE batch = ?",
  dropBatch: "DELETE FROM sync_batches WHERE id = ?",
} as const;

const OUTBOX_SIZES =
  "SELECT o.id, o.rows, o.bytes FROM sync_items i JOIN outbox o ON o.id = i.id WHERE i.batch = ? ORDER BY o.id";
const ITEM_SIZES: Readonly<Record<SyncClass, string>> = {
  events:
    "SELECT seq AS id, count AS rows, stored_bytes AS bytes FROM sync_items i JOIN blocks b ON b.seq = i.id" +
    " WHERE i.batch = ? ORDER BY seq",
  results: OUTBOX_SIZES,
  alerts: OUTBOX_SIZES,
  losses: "SELECT id, 1 AS rows, 100 AS bytes FROM sync_items WHERE batch = ? ORDER BY id",
  attributes: "SELECT id, 1 AS rows, 100 AS bytes FROM sync_items WHERE batch = ? ORDER BY id",
};

const IN_BATCHES_OF_SINK =
  "SELECT i.id FROM sync_items i JOIN sync_batches b ON b.id = i.batch WHERE b.sink = @sink" +
  " AND b.class IN ('results', 'alerts')";

/** What a sink that is no more leaves. */
const DROP_SINK = [
  "UPDATE outbox SET left_sinks = left_sinks - 1 WHERE id IN (SELECT id FROM outbox_queue WHERE sink = @sink)" +
    ` OR id IN (${IN_BATCHES_OF_SINK})`,
  "DELETE FROM outbox WHERE left_sinks <= 0",
  "DELETE FROM outbox_queue WHERE sink = @sink",
  "DELETE FROM sync_items WHERE batch IN (SELECT id FROM sync_batches WHERE sink = @sink)",
  "DELETE FROM sync_batches WHERE sink = @sink",
  "DELETE FROM sync_positions WHERE sink = @sink",
  "DELETE FROM sync_delivered WHERE sink = @sink",
  "DELETE FROM sync_backfills WHERE sink = @sink",
  "DELETE FROM sync_sinks WHERE id = @sink",
] as const;

/** Without any sink, nobody has what was on its way. */
const TURN_OFF = [
  "UPDATE blocks SET state = 'pending' WHERE seq IN (SELECT seq FROM blocks WHERE state = 'syncing')",
  "DELETE FROM block_states WHERE state = 'syncing'",
  "DELETE FROM outbox",
  "DELETE FROM sync_delivered",
] as const;

export type SyncStatements = Readonly<Record<keyof typeof SQL, Statement<unknown[]>>> & {
  readonly itemSizes: Readonly<Record<SyncClass, Statement<unknown[]>>>;
  readonly dropSink: readonly Statement<unknown[]>[];
  readonly turnOff: readonly Statement<unknown[]>[];
};

export function prepareSync(db: Connection): SyncStatements {
  const prepare = (sql: string): Statement<unknown[]> => db.prepare(sql);
  const all = <K extends string>(texts: Readonly<Record<K, string>>): Record<K, Statement<unknown[]>> => {
    const entries = Object.entries(texts) as [K, string][];
    return Object.fromEntries(entries.map(([name, sql]) => [name, prepare(sql)])) as Record<
      K,
      Statement<unknown[]>
    >;
  };
  return {
    ...all(SQL),
    itemSizes: all(ITEM_SIZES),
    dropSink: DROP_SINK.map(prepare),
    turnOff: TURN_OFF.map(prepare),
  };
}
