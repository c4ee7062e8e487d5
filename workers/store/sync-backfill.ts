import type { Statement } from "better-sqlite3";
import { MillraceError } from "../errors.ts";
import type { AlertRow, ResultRow } from "../messages.ts";
import { alertIdName, alertKeyName, openAlert, type SealedAlert } from "../seal/alert-seal.ts";
import { openResult, resultKeyName, type StoredResult } from "../seal/result-seal.ts";
import type { Seal, Stored } from "../seal/seal.ts";
import type { Connection } from "./database.ts";
import type { OutboxClass } from "./outbox.ts";
import { prepareAll } from "./prepare-all.ts";

/** Rows read at once. */
const CHUNK_ROWS = 500;
/** How long rows are read for one batch, beyond the first of them: commits wait meanwhile. */
const FEED_MS = 10;

/**
 * A place in a table's order, which is that of its primary key: all before it is yet to be sent. Of results within their
 * query, of alerts by their beginning.
 */
interface Place {
  readonly startUs: number;
  /** What follows in the key: of results key, end and revision; of alerts the name, key, id and revision. */
  readonly rest: readonly (Stored | number)[];
}

/** A row as it is, and where it stands. */
interface Found<Row> {
  /** null: its seal does not open, so nobody can read it, here or there. */
  readonly row: Row | null;
  readonly place: Place;
}

interface Cursor {
  /** "" for alerts. */
  readonly query: string;
  place: Place;
}

const [RESULT_ORDER, ALERT_ORDER] = ["start_us, key, end_us, revision", "since_us, alert, key, id, revision"];
const descending = (order: string): string => order.replaceAll(",", " DESC,");

const SQL = {
  cursors: "SELECT sink, class, query, start_us AS startUs, rest FROM sync_backfills ORDER BY query",
  begin: "INSERT INTO sync_backfills (sink, class, query, start_us, rest) VALUES (?, ?, ?, ?, ?)",
  move: "UPDATE sync_backfills SET start_us = ?, rest = ? WHERE sink = ? AND class = ? AND query = ?",
  end: "DELETE FROM sync_backfills WHERE sink = ? AND class = ? AND query = ?",
  /** Queries one after the other: a look into the index for each, however many results there are. */
  queries:
    "WITH RECURSIVE q(query) AS (SELECT min(query) FROM results UNION ALL" +
    " SELECT (SELECT min(query) FROM results r WHERE r.query > q.query) FROM q WHERE q.query IS NOT NULL)" +
    " SELECT query, (SELECT max(start_us) FROM results r WHERE r.query = q.query) AS latestUs FROM q WHERE query IS NOT NULL",
  latestAlert: "SELECT max(since_us) AS latestUs FROM alerts",
  results:
    "SELECT query, start_us AS startUs, end_us AS endUs, key, revision, kind, value AS 'values', retracted FROM results" +
    ` WHERE query = ? AND (${RESULT_ORDER}) < (?, ?, ?, ?) ORDER BY ${descending(RESULT_ORDER!)} DESC LIMIT ?`,
  alerts:
    "SELECT alert, since_us AS sinceUs, key, id, revision, definition, severity, state, at_us AS atUs, value," +
    ` retracted AS isRetracted FROM alerts WHERE (${ALERT_ORDER}) < (?, ?, ?, ?, ?)` +
    ` ORDER BY ${descending(ALERT_ORDER!)} DESC LIMIT ?`,
} as const;

const FIRST_REST: Readonly<Record<OutboxClass, readonly (Stored | number)[]>> = {
  results: ["", 0, 0],
  alerts: ["", "", "", 0],
};

type StoredAlert = Omit<AlertRow, "key" | "id" | "value" | "isRetracted" | "isTold"> &
  SealedAlert & { readonly isRetracted: number };

/** Where rows go that are to be sent to one sink. */
export interface BackfillTarget {
  addResultsFor(sink: number, rows: readonly ResultRow[], nowUs: number): void;
  addAlertsFor(sink: number, rows: readonly AlertRow[], nowUs: number): void;
}

/**
 * What was stored before a sink was there: results and alerts go to it in the order of their tables backwards, so the newest
 * windows first, a little for each batch, so that they are not on disk twice.
 *
 * Invariant: a row goes to a sink once. One before the cursor is found by it later, in whatever form it has then, and is
 * therefore not sent when it is written; one behind it is sent when it is written. Cursors move in the transaction that
 * puts the rows into the outbox, so a kill at any moment changes nothing of that.
 */
export class SyncBackfill {
  readonly #db: Connection;
  readonly #seal: Seal;
  readonly #target: BackfillTarget;
  readonly #sql: Readonly<Record<keyof typeof SQL, Statement<unknown[]>>>;
  /** By sink and class. */
  #cursors = new Map<string, Cursor[]>();

  constructor(db: Connection, seal: Seal, target: BackfillTarget) {
    this.#db = db;
    this.#seal = seal;
    this.#target = target;
    this.#sql = prepareAll(db, SQL);
    this.load();
  }

  /** As the table has them: after a transaction that was rolled back, or rows that were deleted with their sink. */
  load(): void {
    this.#cursors.clear();
    type Row = { sink: number; class: OutboxClass; query: string; startUs: number; rest: string };
    for (const { sink, class: kind, query, startUs, rest } of this.#sql.cursors.all() as Row[]) {
      const place = this.#known(kind, { startUs, rest: decodeRest(rest) });
      this.#of(sink, kind).push({ query, place });
    }
  }

  /** For a sink that is new. Within a transaction. */
  begin(sink: number): void {
    type Latest = { readonly query: string; readonly latestUs: number };
    for (const { query, latestUs } of this.#sql.queries.all() as Latest[])
      this.#begin(sink, "results", query, latestUs + 1);
    const { latestUs } = this.#sql.latestAlert.get() as { latestUs: number | null };
    if (latestUs !== null) this.#begin(sink, "alerts", "", latestUs + 1);
  }

  /** Whether there is any for any sink: while there is none, nothing below need be asked. */
  get isOn(): boolean {
    return this.#cursors.size > 0;
  }

  isOnFor(sink: number, kind: OutboxClass): boolean {
    return this.#cursors.has(`${sink} ${kind}`);
  }

  /** Whether the cursor will find it. */
  findsResult(sink: number, { query, startUs, endUs, key, revision }: ResultRow): boolean {
    const cursor = this.#cursors.get(`${sink} results`)?.find((each) => each.query === query);
    if (cursor === undefined || startUs > cursor.place.startUs) return false;
    const name = resultKeyName(this.#seal, query, key);
    return isBefore({ startUs, rest: [name, endUs, revision] }, cursor.place);
  }

  findsAlert(sink: number, { alert, sinceUs, key, id, revision }: AlertRow): boolean {
    const [cursor] = this.#cursors.get(`${sink} alerts`) ?? [];
    if (cursor === undefined || sinceUs > cursor.place.startUs) return false;
    const rest = [alert, alertKeyName(this.#seal, key), alertIdName(this.#seal, id), revision];
    return isBefore({ startUs: sinceUs, rest }, cursor.place);
  }

  /**
   * Puts some of what is yet to be sent into the outbox, about `wanted` rows, fewer when it takes long, but some while there are
   * any: a machine that has no time is not to find that there is nothing. One transaction.
   */
  feed(sink: number, kind: OutboxClass, wanted: number, nowUs: number): void {
    const endMs = performance.now() + FEED_MS;
    let left = wanted;
    try {
      this.#db.transaction(() => {
        while (left > 0 && this.isOnFor(sink, kind) && (left === wanted || performance.now() < endMs))
          left -= this.#feedOnce(sink, kind, Math.min(left, CHUNK_ROWS), nowUs);
      })();
    } catch (cause) {
      this.load();
      throw cause;
    }
  }

  /** @returns rows that it has gone past; 0: those of a query had come to their end */
  #feedOnce(sink: number, kind: OutboxClass, rows: number, nowUs: number): number {
    const cursors = this.#of(sink, kind);
    // Queries take turns.
    const cursor = cursors.shift()!;
    let found: readonly Found<ResultRow | AlertRow>[];
    if (kind === "results") {
      const results = this.#results(cursor, rows);
      this.#target.addResultsFor(sink, opened(results), nowUs);
      found = results;
    } else {
      const alerts = this.#alerts(cursor, rows);
      this.#target.addAlertsFor(sink, opened(alerts), nowUs);
      found = alerts;
    }
    if (found.length < rows) {
      this.#sql.end.run(sink, kind, cursor.query);
      if (cursors.length === 0) this.#cursors.delete(`${sink} ${kind}`);
    } else {
      cursor.place = found.at(-1)!.place;
      const { startUs, rest } = cursor.place;
      this.#sql.move.run(startUs, encodeRest(rest), sink, kind, cursor.query);
      cursors.push(cursor);
    }
    return found.length;
  }

  #results({ query, place }: Cursor, limit: number): Found<ResultRow>[] {
    const rows = this.#sql.results.all(query, place.startUs, ...place.rest, limit) as StoredResult[];
    return rows.map((stored) => {
      const { startUs, key, endUs, revision } = stored;
      const row = attempt(() => this.#openedResult(stored));
      return { row, place: { startUs, rest: [key, endUs, revision] } };
    });
  }

  #alerts({ place }: Cursor, limit: number): Found<AlertRow>[] {
    const rows = this.#sql.alerts.all(place.startUs, ...place.rest, limit) as StoredAlert[];
    return rows.map((stored) => {
      const { sinceUs, alert, key, id, revision } = stored;
      const row = attempt(() => {
        const texts = openAlert(this.#seal, stored);
        return { ...stored, ...texts, isRetracted: stored.isRetracted !== 0, isTold: false };
      });
      return { row, place: { startUs: sinceUs, rest: [alert, key, id, revision] } };
    });
  }

  #openedResult(stored: StoredResult): ResultRow {
    if (this.#seal.isOn) return openResult(this.#seal, stored);
    const { retracted, ...row } = stored;
    return { ...(row as Omit<ResultRow, "retracted">), ...(retracted === 0 ? {} : { retracted: true }) };
  }

  #begin(sink: number, kind: OutboxClass, query: string, startUs: number): void {
    const place = { startUs, rest: FIRST_REST[kind] };
    this.#sql.begin.run(sink, kind, query, startUs, encodeRest(place.rest));
    this.#of(sink, kind).push({ query, place });
  }

  /**
   * A store that was encrypted meanwhile has other keys in the columns, in another order: the window under way is begun
   * anew. Whoever has some of it gets it once more, under the same names.
   */
  #known(kind: OutboxClass, place: Place): Place {
    const key = place.rest[kind === "results" ? 0 : 1];
    if (!this.#seal.isOn || typeof key !== "string" || key === "") return place;
    return { startUs: place.startUs + 1, rest: FIRST_REST[kind] };
  }

  #of(sink: number, kind: OutboxClass): Cursor[] {
    const name = `${sink} ${kind}`;
    const known = this.#cursors.get(name) ?? [];
    this.#cursors.set(name, known);
    return known;
  }
}

function opened<Row>(found: readonly Found<Row>[]): Row[] {
  return found.flatMap(({ row }) => (row === null ? [] : [row]));
}

function attempt<T>(open: () => T): T | null {
  try {
    return open();
  } catch (cause) {
    if (cause instanceof MillraceError) return null;
    throw cause;
  }
}

/** As SQLite orders rows: numbers, then texts by their bytes, then blobs. */
function isBefore(a: Place, b: Place): boolean {
  if (a.startUs !== b.startUs) return a.startUs < b.startUs;
  for (const [at, part] of a.rest.entries()) {
    const order = compareParts(part, b.rest[at]!);
    if (order !== 0) return order < 0;
  }
  return false;
}

function compareParts(a: Stored | number, b: Stored | number): number {
  const [first, second] = [rankOf(a), rankOf(b)];
  if (first !== second) return first - second;
  if (typeof a === "number" || typeof b === "number") return Number(a) - Number(b);
  return Buffer.compare(Buffer.from(a as string), Buffer.from(b as string));
}

function rankOf(part: Stored | number): number {
  return typeof part === "number" ? 0 : typeof part === "string" ? 1 : 2;
}

/** JSON, with blobs in Base64 within arrays. */
function encodeRest(rest: Place["rest"]): string {
  return JSON.stringify(
    rest.map((part) => (part instanceof Uint8Array ? [Buffer.from(part).toString("base64")] : part)),
  );
}

export function decodeRest(text: string): (Stored | number)[] {
  return (JSON.parse(text) as (string | number | [string])[]).map((part) =>
    Array.isArray(part) ? Buffer.from(part[0], "base64") : part,
  );
}
