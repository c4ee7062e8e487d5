import type { Statement } from "better-sqlite3";
import type { BlockKeys } from "../core/key-filter.ts";
import { MillraceError } from "../errors.ts";
import type { FieldType, ResultRow, SchemaField, StoredBlock } from "../messages.ts";
import type { KeyRing } from "../seal/key-ring.ts";
import type { MasterKeys } from "../seal/master-key.ts";
import {
  blockPlace,
  configPlace,
  keyFieldsPlace,
  keyFilterPlace,
  latePlace,
  schemaPlace,
  tablePlace,
} from "../seal/places.ts";
import type { Seal, Stored } from "../seal/seal.ts";
import { type AlertFilter, alertParameters, alertsSql, type StoredAlert } from "./alert-reader.ts";
import { type BlockRow, storedBlock } from "./block-row.ts";
import { type Connection, openForReading } from "./database.ts";
import { openReadingSeal } from "./key-table.ts";
import { IS_LATEST, KEY_VALUE_TEXT, STARTS_NEAR } from "./result-conditions.ts";
import { SealedRows } from "./sealed-rows.ts";
import type { StoredTable } from "./table-store.ts";

/** Where a block stands in time, without its data. Times in µs. */
export interface BlockRange {
  readonly seq: number;
  readonly count: number;
  readonly minUs: number;
  readonly maxUs: number;
}

/** Which part of a list of blocks is read. */
export interface BlockListing {
  readonly after: Pick<BlockRange, "minUs" | "seq"> | null;
  readonly limit: number;
  readonly withKeys: boolean;
}

export interface KeyedRange extends BlockRange {
  readonly keys?: BlockKeys;
}

/** Where a page of results ended. */
export interface ResultCursor {
  readonly startUs: number;
  readonly key: string;
  readonly endUs: number;
  readonly revision: number;
}

export interface ResultFilter {
  readonly query: string;
  /** Windows that end after this, and those that start at it: windows of one instant end there too. */
  readonly fromUs: number | null;
  /** Windows that start before this. */
  readonly toUs: number | null;
  /** The whole key as JSON text, or the text of one of its values. */
  readonly key: string | null;
  readonly kind: string | null;
  readonly revisions: "latest" | "all";
  readonly limit: number;
  readonly after: ResultCursor | null;
}

export interface LateBlock {
  /** Grows in the order in which blocks were set aside. */
  readonly id: number;
  readonly sourceSeq: number;
  readonly reason: "late" | "clock-skew";
  readonly atUs: number;
  /** When the windows were corrected by it; null: not yet. */
  readonly appliedUs: number | null;
  readonly block: StoredBlock;
}

export interface LatestResult {
  readonly revision: number;
  /** JSON text. */
  readonly values: string;
  readonly retracted: boolean;
}

export interface DeadLetterRow {
  readonly id: number;
  readonly stream: string;
  readonly atUs: number;
  readonly line: number;
  readonly path: string;
  readonly code: string;
  readonly message: string;
  readonly text: string;
}

export interface LossRow {
  readonly id: number;
  /** null: of no stream. */
  readonly stream: string | null;
  readonly fromUs: number;
  readonly toUs: number;
  readonly count: number;
  readonly bytes: number;
  readonly reason: string;
  readonly atUs: number;
  readonly kind: string;
  /** The query or alert, where it is not a stream's. */
  readonly subject: string | null;
}

/** The whole key or one of its values. JSON text is compared without its white space. */
export const KEY_MATCHES =
  "(key = CASE WHEN json_valid(@key) THEN json(@key) ELSE @key END" +
  ` OR EXISTS (SELECT 1 FROM json_each(r.key) WHERE ${KEY_VALUE_TEXT} = @key))`;
const IS_BEHIND_CURSOR =
  "(start_us, key, end_us, revision) > (@afterStart, @afterKey, @afterEnd, @afterRevision)";

/**
 * Reads what is committed through a connection that cannot write and holds no snapshot between calls, so that it
 * never keeps the write-ahead log from being emptied. A time that is null is no bound.
 */
export class Reader {
  readonly #db: Connection;
  readonly #statements = new Map<string, Statement<unknown[]>>();

  readonly #seal: Seal | KeyRing;
  /** null without a key. */
  readonly #sealed: SealedRows | null;

  /**
   * @throws MillraceError E_DATA_DIR_ACCESS when there is no database yet: the storage thread makes it; E_KEY_MISSING,
   * E_KEY_WRONG when it is encrypted and these keys do not open it
   */
  constructor(dir: string, masters: MasterKeys | null = null) {
    this.#db = openForReading(dir);
    try {
      this.#seal = openReadingSeal(this.#db, masters);
      this.#sealed = this.#seal.isOn ? new SealedRows(this.#db, this.#seal) : null;
    } catch (cause) {
      this.#db.close();
      throw cause;
    }
  }

  /** Keys that the writer may turn to. */
  learnKeys(masters: MasterKeys): void {
    if ("learn" in this.#seal) this.#seal.learn(masters);
  }

  /** Rows that did not open and were left out, since this was last asked. */
  takeUnopened(): number {
    return this.#sealed?.takeUnopened() ?? 0;
  }

  /** Blocks with events in [fromUs, toUs), ordered by their earliest event, then seq. */
  blocksOverlapping(stream: string, fromUs: number | null, toUs: number | null): BlockRange[] {
    return this.#prepare(
      "SELECT seq, count, min_us AS minUs, max_us AS maxUs FROM blocks" +
        " WHERE stream_id = (SELECT id FROM streams WHERE name = ?) AND max_us >= ? AND min_us < ?" +
        " ORDER BY min_us, seq",
    ).all(stream, fromUs ?? Number.NEGATIVE_INFINITY, toUs ?? Number.POSITIVE_INFINITY) as BlockRange[];
  }

  /**
   * Blocks with events in [fromUs, toUs), ordered by their earliest event, then seq, behind one of them; with the keys
   * that they may hold, where that is asked for and known.
   */
  listBlocks(
    stream: string,
    fromUs: number,
    toUs: number,
    { after, limit, withKeys }: BlockListing,
  ): KeyedRange[] {
    const keys = withKeys ? ", k.fields, k.filter" : "";
    const join = withKeys ? " LEFT JOIN block_keys k ON k.seq = b.seq" : "";
    type Row = BlockRange & { readonly fields?: Stored | null; readonly filter?: Uint8Array<ArrayBuffer> };
    const rows = this.#prepare(
      `SELECT b.seq, count, min_us AS minUs, max_us AS maxUs${keys} FROM blocks b${join}` +
        " WHERE stream_id = (SELECT id FROM streams WHERE name = ?) AND (min_us, b.seq) > (?, ?) AND min_us >= ?" +
        " AND max_us >= ? AND min_us < ? ORDER BY min_us, b.seq LIMIT ?",
    ).all(
      stream,
      after?.minUs ?? Number.NEGATIVE_INFINITY,
      after?.seq ?? 0,
      after?.minUs ?? Number.NEGATIVE_INFINITY,
      fromUs,
      toUs,
      limit,
    ) as Row[];
    return rows.map(({ fields, filter, ...range }) =>
      fields == null || filter === undefined
        ? range
        : { ...range, ...this.#openKeys(range.seq, fields, filter) },
    );
  }

  /** Without the keys of a block that do not open, the block itself is looked at. */
  #openKeys(seq: number, fields: Stored, filter: Uint8Array<ArrayBuffer>): { readonly keys?: BlockKeys } {
    if (!this.#seal.isOn) return { keys: { fields: JSON.parse(fields as string) as string[], filter } };
    try {
      const names = JSON.parse(this.#seal.openText(keyFieldsPlace(seq), fields)) as string[];
      const opened = new Uint8Array(this.#seal.openBytes(keyFilterPlace(seq), filter));
      return { keys: { fields: names, filter: opened } };
    } catch (cause) {
      if (cause instanceof MillraceError) return {};
      throw cause;
    }
  }

  /** Blocks up to a seq with events from `fromUs` on, ordered by their earliest event, then seq; behind one of them. */
  blocksByTime(
    stream: string,
    fromUs: number | null,
    untilSeq: number,
    after: Pick<BlockRange, "minUs" | "seq"> | null,
    limit: number,
  ): BlockRange[] {
    const { minUs, seq } = after ?? { minUs: Number.NEGATIVE_INFINITY, seq: 0 };
    return this.#prepare(
      "SELECT seq, count, min_us AS minUs, max_us AS maxUs FROM blocks" +
        " WHERE stream_id = (SELECT id FROM streams WHERE name = ?) AND (min_us, seq) > (?, ?) AND max_us >= ? AND seq < ?" +
        " AND resolution_us = 0" +
        " ORDER BY min_us, seq LIMIT ?",
    ).all(stream, minUs, seq, fromUs ?? Number.NEGATIVE_INFINITY, untilSeq, limit) as BlockRange[];
  }

  countBlocks(stream: string, fromUs: number | null, untilSeq: number): number {
    const row = this.#prepare(
      "SELECT count(*) AS blocks FROM blocks" +
        " WHERE stream_id = (SELECT id FROM streams WHERE name = ?) AND max_us >= ? AND seq < ?" +
        " AND seq NOT IN (SELECT seq FROM blocks WHERE state IN ('pending', 'syncing', 'synced') AND resolution_us > 0)",
    ).get(stream, fromUs ?? Number.NEGATIVE_INFINITY, untilSeq) as { blocks: number };
    return row.blocks;
  }

  /** Blocks between two seqs, in the order of the log. */
  blocksOfLog(
    stream: string,
    afterSeq: number,
    beforeSeq: number,
    limit: number,
  ): { readonly seq: number; readonly count: number; readonly arrivalUs: number }[] {
    return this.#prepare(
      "SELECT seq, count, arrival_us AS arrivalUs FROM blocks" +
        " WHERE stream_id = (SELECT id FROM streams WHERE name = ?) AND seq > ? AND seq < ? AND resolution_us = 0" +
        " ORDER BY seq LIMIT ?",
    ).all(stream, afterSeq, beforeSeq, limit) as { seq: number; count: number; arrivalUs: number }[];
  }

  /** Every block of a stream's events as they came, in the order of seq. */
  blocksOfStream(stream: string): BlockRange[] {
    return this.#prepare(
      "SELECT seq, count, min_us AS minUs, max_us AS maxUs FROM blocks" +
        " WHERE stream_id = (SELECT id FROM streams WHERE name = ?) AND resolution_us = 0 ORDER BY seq",
    ).all(stream) as BlockRange[];
  }

  /** The greatest seq below one that a block of the stream has. */
  lastBlockBefore(stream: string, seq: number): number | null {
    const row = this.#prepare(
      "SELECT max(seq) AS seq FROM blocks WHERE stream_id = (SELECT id FROM streams WHERE name = ?) AND seq < ?" +
        " AND resolution_us = 0",
    ).get(stream, seq) as { seq: number | null };
    return row.seq;
  }

  /** The body of the newest entry `config` of the log: the queries in force; null when there is none. */
  newestConfig(): { readonly seq: number; readonly body: string } | null {
    const row = this.#prepare("SELECT seq, body FROM configs ORDER BY seq DESC LIMIT 1").get();
    if (row === undefined) return null;
    const { seq, body } = row as { readonly seq: number; readonly body: Stored };
    return { seq, body: this.#seal.openText(configPlace(seq), body) };
  }

  /** The rows of a reference table by their digest; null: they are not there any more. */
  table(digest: string): StoredTable | null {
    const body = this.#prepare("SELECT body FROM reference_tables WHERE digest = ?").pluck().get(digest);
    if (body === undefined) return null;
    return { digest, body: this.#seal.openText(tablePlace(digest), body as Stored) };
  }

  /** The newest event time of what is not held any more as it came (µs); null: everything is. */
  goneUs(stream: string): number | null {
    const row = this.#prepare("SELECT gone_us AS goneUs FROM streams WHERE name = ?").get(stream);
    return (row as { goneUs: number | null } | undefined)?.goneUs ?? null;
  }

  /** How many events a block has; null when it is gone, or events are not there any more as they came. */
  eventsOf(seq: number): number | null {
    const row = this.#prepare("SELECT count FROM blocks WHERE seq = ? AND resolution_us = 0").get(seq) as
      | { count: number }
      | undefined;
    return row?.count ?? null;
  }

  /** null when the block is gone: compacted or evicted since it was listed. */
  block(seq: number): StoredBlock | null {
    const row = this.#prepare(
      "SELECT stream_id AS streamId, count, min_us, max_us, codec, encoded_bytes, data FROM blocks WHERE seq = ?",
    ).get(seq) as (BlockRow & { streamId: number }) | undefined;
    return row === undefined ? null : storedBlock(row, this.#seal, blockPlace(row.streamId, seq));
  }

  /**
   * Rows ordered by window, key and revision; `latest` keeps the greatest revision of each window and key, unless that
   * retracts the window.
   */
  results(filter: ResultFilter): ResultRow[] {
    if (this.#sealed !== null) return this.#sealed.results(filter);
    const { query, fromUs, toUs, key, kind, revisions, limit, after } = filter;
    const conditions = ["query = @query", "(end_us > @from OR start_us = @from)", "start_us < @to"];
    if (after !== null) conditions.push(IS_BEHIND_CURSOR);
    else if (fromUs !== null) conditions.push(STARTS_NEAR);
    if (kind !== null) conditions.push("kind = @kind");
    if (key !== null) conditions.push(KEY_MATCHES);
    if (revisions === "latest") conditions.push(IS_LATEST, "retracted = 0");
    type Row = Omit<ResultRow, "retracted"> & { readonly retracted: number };
    const rows = this.#prepare(
      "SELECT query, start_us AS startUs, end_us AS endUs, key, revision, kind, value AS 'values', retracted" +
        " FROM results r" +
        ` WHERE ${conditions.join(" AND ")} ORDER BY start_us, key, end_us, revision LIMIT @limit`,
    ).all({
      query,
      from: fromUs ?? Number.NEGATIVE_INFINITY,
      to: toUs ?? Number.POSITIVE_INFINITY,
      limit,
      kind,
      key,
      afterStart: after?.startUs,
      afterKey: after?.key,
      afterEnd: after?.endUs,
      afterRevision: after?.revision,
    }) as Row[];
    return rows.map(({ retracted, ...row }) => (retracted === 0 ? row : { ...row, retracted: true }));
  }

  /** Steps of alerts by when they began, then alert, key and revision; `latest` leaves out what was retracted. */
  alerts(filter: AlertFilter): StoredAlert[] {
    if (this.#sealed !== null) return this.#sealed.alerts(filter);
    const rows = this.#prepare(alertsSql(filter, KEY_MATCHES)).all(alertParameters(filter));
    return (rows as StoredAlert[]).map((row) => ({ ...row, isRetracted: Boolean(row.isRetracted) }));
  }

  /** Blocks of the late side output in the order they were set aside, from an id on. Their times are 0 where unknown. */
  late(stream: string, fromId: number, limit: number): LateBlock[] {
    return this.#lateBlocks("id >= @fromId", { stream, fromId, limit });
  }

  /** Blocks of the late side output that windows were not corrected by yet, behind an id. */
  lateToApply(stream: string, afterId: number, includesSkewed: boolean, limit: number): LateBlock[] {
    const reasons = includesSkewed ? "" : " AND reason = 'late'";
    return this.#lateBlocks(`applied_us IS NULL AND id > @afterId${reasons}`, { stream, afterId, limit });
  }

  /** Blocks of clock-skewed events that windows were corrected by, as far as they may be of [fromUs, toUs). */
  appliedSkew(stream: string, fromUs: number, toUs: number): LateBlock[] {
    const isNear = "(min_us IS NULL OR (max_us >= @fromUs AND min_us < @toUs))";
    const condition = `reason = 'clock-skew' AND applied_us IS NOT NULL AND ${isNear}`;
    return this.#lateBlocks(condition, { stream, fromUs, toUs, limit: -1 });
  }

  /** The latest revision of one window of one key, or null. */
  latestResult(row: Pick<ResultRow, "query" | "startUs" | "key" | "endUs">): LatestResult | null {
    if (this.#sealed !== null) return this.#sealed.latestResult(row);
    const latest = this.#prepare(
      "SELECT revision, value AS 'values', retracted FROM results WHERE query = ? AND start_us = ? AND key = ? AND end_us = ?" +
        " ORDER BY revision DESC LIMIT 1",
    ).get(row.query, row.startUs, row.key, row.endUs);
    const found = latest as (Omit<LatestResult, "retracted"> & { retracted: number }) | undefined;
    return found === undefined ? null : { ...found, retracted: found.retracted !== 0 };
  }

  /** Every type that a field of the stream has had. */
  typesByField(stream: string): ReadonlyMap<string, ReadonlySet<FieldType>> {
    const versions = this.#prepare(
      "SELECT stream_id AS id, version, fields FROM schemas WHERE stream_id = (SELECT id FROM streams WHERE name = ?)",
    ).all(stream) as { id: number; version: number; fields: Stored }[];
    const types = new Map<string, Set<FieldType>>();
    for (const { id, version, fields } of versions) {
      const text = this.#seal.openText(schemaPlace(id, version), fields);
      for (const { name, type } of JSON.parse(text) as SchemaField[]) {
        const known = types.get(name);
        if (known === undefined) types.set(name, new Set([type]));
        else known.add(type);
      }
    }
    return types;
  }

  /** What is read within sees the store as it is at one moment. Keep it short: the write-ahead log grows meanwhile. */
  atOneMoment<T>(read: () => T): T {
    return this.#db.transaction(read)();
  }

  deadLetters(stream: string | null, afterId: number, limit: number): DeadLetterRow[] {
    if (this.#sealed !== null) return this.#sealed.deadLetters(stream, afterId, limit);
    return this.#prepare(
      "SELECT d.id, s.name AS stream, at_us AS atUs, line, path, code, message, text FROM dead_letters d" +
        " JOIN streams s ON s.id = d.stream_id WHERE d.id > ? AND (? IS NULL OR s.name = ?) ORDER BY d.id LIMIT ?",
    ).all(afterId, stream, stream, limit) as DeadLetterRow[];
  }

  losses(stream: string | null, afterId: number, limit: number): LossRow[] {
    return this.#prepare(
      "SELECT l.id, s.name AS stream, from_us AS fromUs, to_us AS toUs, count, bytes, reason, at_us AS atUs, kind, subject" +
        " FROM losses l LEFT JOIN streams s ON s.id = l.stream_id WHERE l.id > ? AND (? IS NULL OR s.name = ?)" +
        " ORDER BY l.id LIMIT ?",
    ).all(afterId, stream, stream, limit) as LossRow[];
  }

  close(): void {
    this.#db.close();
  }

  /** Which rows of a block are in the late side output: a set each time some were set aside (`late-rows.ts`). */
  lateRows(sourceSeq: number): Uint8Array[] {
    return this.#prepare(
      "SELECT source_rows AS rows FROM late WHERE source_seq = ? AND reason = 'late' AND source_rows IS NOT NULL",
    )
      .all(sourceSeq)
      .map((row) => (row as { rows: Uint8Array }).rows);
  }

  #lateBlocks(condition: string, parameters: Readonly<Record<string, unknown>>): LateBlock[] {
    type Row = BlockRow & Omit<LateBlock, "block"> & { streamId: number };
    const rows = this.#prepare(
      "SELECT id, stream_id AS streamId, source_seq AS sourceSeq, reason, at_us AS atUs, applied_us AS appliedUs, count," +
        " coalesce(min_us, 0) AS min_us, coalesce(max_us, 0) AS max_us, codec, encoded_bytes, data FROM late" +
        ` WHERE stream_id = (SELECT id FROM streams WHERE name = @stream) AND ${condition} ORDER BY id LIMIT @limit`,
    ).all(parameters) as Row[];
    return rows.map((row) => {
      const { id, sourceSeq, reason, atUs, appliedUs } = row;
      const block = storedBlock(row, this.#seal, latePlace(row.streamId, sourceSeq, reason));
      return { id, sourceSeq, reason, atUs, appliedUs, block };
    });
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
