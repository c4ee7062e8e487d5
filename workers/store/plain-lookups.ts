import { crc32 } from "node:zlib";
import type { AlertRow, ResultRow } from "../messages.ts";
import { alertIdName, sealAlert, sealWebhook } from "../seal/alert-seal.ts";
import { isEnvelope } from "../seal/envelope.ts";
import type { KeyRing } from "../seal/key-ring.ts";
import {
  checkpointPlace,
  configPlace,
  keyFieldsPlace,
  keyFilterPlace,
  piecePlace,
  schemaPlace,
  tablePlace,
  timeSourcesPlace,
} from "../seal/places.ts";
import { sealResult } from "../seal/result-seal.ts";
import type { PiecePlace } from "./checkpoint-operations.ts";
import type { Connection } from "./database.ts";

/** Rows of one transaction. */
const CHUNK_ROWS = 2_000;
const CHUNK_PIECES = 64;

/**
 * Seals, before a store is used, what is looked up by its texts or read at every start. Each chunk is a transaction; what
 * is sealed already is passed over, so a start that was killed goes on where it was.
 */
export function sealLookups(db: Connection, keys: KeyRing): void {
  const chunk = (work: () => void): void => {
    keys.prepare();
    db.transaction(work).immediate();
  };
  chunk(() => sealSchemas(db, keys));
  chunk(() => sealLog(db, keys));
  for (const seal of [
    sealPieces,
    sealBlockKeys,
    sealIdempotencyKeys,
    sealResults,
    sealAlerts,
    sealWebhooks,
  ]) {
    let next: unknown = null;
    do
      chunk(() => {
        next = seal(db, keys, next);
      });
    while (next !== null);
  }
}

function sealSchemas(db: Connection, keys: KeyRing): void {
  type Stream = { id: number; version: number; schema: unknown; times: unknown };
  const streams = db
    .prepare("SELECT id, schema_version AS version, schema, time_sources AS times FROM streams")
    .all();
  const update = db.prepare("UPDATE streams SET schema = ?, time_sources = ? WHERE id = ?");
  for (const { id, version, schema, times } of streams as Stream[]) {
    const sealed = (place: string, text: unknown): unknown =>
      typeof text === "string" && text !== "[]" ? keys.text(place, text) : text;
    update.run(sealed(schemaPlace(id, version), schema), sealed(timeSourcesPlace(id), times), id);
  }
  type Version = { id: number; version: number; fields: unknown };
  const versions = db.prepare("SELECT stream_id AS id, version, fields FROM schemas").all();
  const updateVersion = db.prepare("UPDATE schemas SET fields = ? WHERE stream_id = ? AND version = ?");
  for (const { id, version, fields } of versions as Version[]) {
    if (typeof fields === "string")
      updateVersion.run(keys.text(schemaPlace(id, version), fields), id, version);
  }
}

function sealLog(db: Connection, keys: KeyRing): void {
  type Config = { seq: number; body: unknown };
  const updateConfig = db.prepare("UPDATE configs SET body = ? WHERE seq = ?");
  for (const { seq, body } of db.prepare("SELECT seq, body FROM configs").all() as Config[]) {
    if (typeof body === "string") updateConfig.run(keys.text(configPlace(seq), body), seq);
  }
  const updateState = db.prepare("UPDATE checkpoints SET state = ? WHERE seq = ?");
  const checkpoints = db.prepare("SELECT seq, state FROM checkpoints").all();
  for (const { seq, state } of checkpoints as { seq: number; state: Buffer }[]) {
    if (!isEnvelope(state)) updateState.run(keys.bytes(checkpointPlace(seq), state), seq);
  }
  type Table = { digest: string; body: unknown };
  const updateTable = db.prepare("UPDATE reference_tables SET body = ? WHERE digest = ?");
  for (const { digest, body } of db.prepare("SELECT digest, body FROM reference_tables").all() as Table[]) {
    if (typeof body === "string") updateTable.run(keys.text(tablePlace(digest), body), digest);
  }
}

/** Each is as large as a few results. */
function sealPieces(db: Connection, keys: KeyRing, after: unknown): PiecePlace | null {
  const last = (after ?? { segment: 0, number: -1 }) as PiecePlace;
  const rows = db
    .prepare(
      "SELECT segment, number, bytes FROM checkpoint_pieces WHERE (segment, number) > (?, ?) ORDER BY segment, number LIMIT ?",
    )
    .all(last.segment, last.number, CHUNK_PIECES) as (PiecePlace & { readonly bytes: Buffer })[];
  const update = db.prepare(
    "UPDATE checkpoint_pieces SET crc = ?, bytes = ? WHERE segment = ? AND number = ?",
  );
  for (const { segment, number, bytes } of rows) {
    if (isEnvelope(bytes)) continue;
    const sealed = keys.bytes(piecePlace({ segment, number }), bytes);
    update.run(crc32(sealed), sealed, segment, number);
  }
  return rows.length < CHUNK_PIECES ? null : rows.at(-1)!;
}

function sealBlockKeys(db: Connection, keys: KeyRing, after: unknown): { readonly seq: number } | null {
  type Row = { readonly seq: number; readonly fields: unknown; readonly filter: Buffer };
  const { seq: last } = (after ?? { seq: 0 }) as { readonly seq: number };
  const rows = db
    .prepare("SELECT seq, fields, filter FROM block_keys WHERE seq > ? ORDER BY seq LIMIT ?")
    .all(last, CHUNK_ROWS) as Row[];
  const update = db.prepare("UPDATE block_keys SET fields = ?, filter = ? WHERE seq = ?");
  for (const { seq, fields, filter } of rows) {
    if (typeof fields !== "string") continue;
    update.run(keys.text(keyFieldsPlace(seq), fields), keys.bytes(keyFilterPlace(seq), filter), seq);
  }
  return rows.length < CHUNK_ROWS ? null : rows.at(-1)!;
}

interface IdempotencyKey {
  readonly streamId: number;
  readonly key: string;
}

function sealIdempotencyKeys(db: Connection, keys: KeyRing, after: unknown): IdempotencyKey | null {
  const last = (after ?? { streamId: 0, key: "" }) as IdempotencyKey;
  const rows = db
    .prepare(
      "SELECT stream_id AS streamId, key FROM idempotency WHERE typeof(key) = 'text' AND (stream_id, key) > (?, ?)" +
        " ORDER BY stream_id, key LIMIT ?",
    )
    .all(last.streamId, last.key, CHUNK_ROWS) as IdempotencyKey[];
  const update = db.prepare("UPDATE idempotency SET key = ? WHERE stream_id = ? AND key = ?");
  for (const { streamId, key } of rows) update.run(keys.name("idempotency", key), streamId, key);
  return rows.length < CHUNK_ROWS ? null : rows.at(-1)!;
}

type ResultAt = Pick<ResultRow, "query" | "startUs" | "key" | "endUs" | "revision">;

function sealResults(db: Connection, keys: KeyRing, after: unknown): ResultAt | null {
  type Row = Omit<ResultRow, "retracted"> & { readonly retracted: number };
  const { query, startUs, key, endUs, revision } = (after ?? {
    query: "",
    startUs: 0,
    key: "",
    endUs: 0,
    revision: 0,
  }) as ResultAt;
  const rows = db
    .prepare(
      "SELECT query, start_us AS startUs, end_us AS endUs, key, revision, kind, value AS 'values', retracted FROM results" +
        " WHERE typeof(key) = 'text' AND (query, start_us, key, end_us, revision) > (?, ?, ?, ?, ?)" +
        " ORDER BY query, start_us, key, end_us, revision LIMIT ?",
    )
    .all(query, startUs, key, endUs, revision, CHUNK_ROWS) as Row[];
  const remove = db.prepare(
    "DELETE FROM results WHERE query = ? AND start_us = ? AND key = ? AND end_us = ? AND revision = ?",
  );
  const insert = db.prepare(
    "INSERT INTO results (query, start_us, end_us, key, revision, kind, value, retracted) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
  );
  for (const { retracted, ...row } of rows) {
    remove.run(row.query, row.startUs, row.key, row.endUs, row.revision);
    insert.run(...sealResult(keys, retracted === 0 ? row : { ...row, retracted: true }));
  }
  return rows.length < CHUNK_ROWS ? null : rows.at(-1)!;
}

function sealAlerts(db: Connection, keys: KeyRing): true | null {
  const rows = db
    .prepare(
      "SELECT alert, since_us AS sinceUs, key, id, revision, severity, state, at_us AS atUs, value," +
        " retracted AS isRetracted FROM alerts WHERE typeof(key) = 'text' LIMIT ?",
    )
    .all(CHUNK_ROWS) as AlertRow[];
  const update = db.prepare(
    "UPDATE alerts SET key = ?, id = ?, value = ?" +
      " WHERE since_us = ? AND alert = ? AND key = ? AND id = ? AND revision = ?",
  );
  for (const row of rows) {
    const { key, id, value } = sealAlert(keys, row);
    update.run(key, id, value, row.sinceUs, row.alert, row.key, row.id, row.revision);
  }
  return rows.length < CHUNK_ROWS ? null : true;
}

function sealWebhooks(db: Connection, keys: KeyRing): true | null {
  type Row = Readonly<Record<"alert" | "url" | "episode" | "idempotencyKey" | "body", string>> & {
    readonly id: number;
    readonly lastError: string | null;
  };
  const rows = db
    .prepare(
      "SELECT id, alert, url, episode, idempotency_key AS idempotencyKey, body, last_error AS lastError" +
        " FROM webhooks WHERE typeof(url) = 'text' LIMIT ?",
    )
    .all(CHUNK_ROWS) as Row[];
  const update = db.prepare(
    "UPDATE webhooks SET url = ?, episode = ?, idempotency_key = ?, body = ?, last_error = ? WHERE id = ?",
  );
  for (const { id, alert, episode, lastError, ...post } of rows) {
    const { url, idempotencyKey, body } = sealWebhook(keys, alert, post.url, post.idempotencyKey, post.body);
    const error = lastError === null ? null : keys.text("webhooks/last_error", lastError);
    update.run(url, alertIdName(keys, episode), idempotencyKey, body, error, id);
  }
  return rows.length < CHUNK_ROWS ? null : true;
}
