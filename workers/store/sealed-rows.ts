import { MillraceError } from "../errors.ts";
import type { ResultRow } from "../messages.ts";
import { alertIdName, alertKeyName, openAlert, type SealedAlert } from "../seal/alert-seal.ts";
import { deadLetterPlace } from "../seal/places.ts";
import { openResult, resultKeyName, type StoredResult } from "../seal/result-seal.ts";
import type { Seal, Stored } from "../seal/seal.ts";
import {
  type AlertCursor,
  type AlertFilter,
  alertParameters,
  alertsSql,
  type StoredAlert,
} from "./alert-reader.ts";
import type { Connection } from "./database.ts";
import type { DeadLetterRow, LatestResult, ResultCursor, ResultFilter } from "./reader.ts";
import { IS_LATEST, KEY_VALUE_TEXT, STARTS_NEAR } from "./result-conditions.ts";

/** A function of SQL that gives the key of a row of results, opened, or null when it does not open. */
const RESULT_KEY =
  "opened_result_key(r.query, r.start_us, r.end_us, r.key, r.revision, r.kind, r.value, r.retracted)";
const ALERT_KEY =
  "opened_alert_key(r.alert, r.since_us, r.at_us, r.revision, r.severity, r.state, r.retracted, r.key, r.id, r.value)";

/** The whole key, by its name, or one of its values, which only the opened key tells. */
function keyMatches(key: string): string {
  return `(r.key = @keyName OR EXISTS (SELECT 1 FROM json_each(${key}) WHERE ${KEY_VALUE_TEXT} = @key))`;
}

/** Where a page ended, with names in the place of keys. */
type ResultPlace = Omit<ResultCursor, "key"> & { readonly key: Stored };
type AlertPlace = Omit<AlertCursor, "key" | "id"> & { readonly key: Stored; readonly id: Stored };

type StoredAlertRow = Omit<StoredAlert, "key" | "id" | "value" | "isRetracted"> &
  SealedAlert & { readonly isRetracted: number };

/**
 * Reads the rows of an encrypted store. Where the key is part of an order, it is its name that counts: the order is
 * firm, but not that of the keys. Rows that do not open are left out and counted.
 */
export class SealedRows {
  readonly #db: Connection;
  readonly #seal: Seal;
  #unopened = 0;

  constructor(db: Connection, seal: Seal) {
    this.#db = db;
    this.#seal = seal;
    db.function("opened_result_key", { varargs: true }, (...columns: unknown[]) => {
      const [query, startUs, endUs, key, revision, kind, values, retracted] = columns;
      const row = { query, startUs, endUs, key, revision, kind, values, retracted } as StoredResult;
      return this.#attempt(() => openResult(seal, row))?.key ?? null;
    });
    db.function("opened_alert_key", { varargs: true }, (...columns: unknown[]) => {
      const [alert, sinceUs, atUs, revision, severity, state, isRetracted, key, id, value] = columns;
      const row = { alert, sinceUs, atUs, revision, severity, state, isRetracted, key, id, value };
      return this.#attempt(() => openAlert(seal, row as StoredAlertRow))?.key ?? null;
    });
  }

  takeUnopened(): number {
    const count = this.#unopened;
    this.#unopened = 0;
    return count;
  }

  results(filter: ResultFilter): ResultRow[] {
    const { query, fromUs, toUs, key, kind, revisions, limit, after } = filter;
    const conditions = ["query = @query", "(end_us > @from OR start_us = @from)", "start_us < @to"];
    if (fromUs !== null && after === null) conditions.push(STARTS_NEAR);
    if (kind !== null) conditions.push("kind = @kind");
    if (key !== null) conditions.push(keyMatches(RESULT_KEY));
    if (revisions === "latest") conditions.push(IS_LATEST, "retracted = 0");
    const name = (text: string): Stored => resultKeyName(this.#seal, query, text);
    const cursor = "(start_us, key, end_us, revision) > (@afterStart, @afterKey, @afterEnd, @afterRevision)";
    const read = (last: ResultPlace | null, rows: number): StoredResult[] =>
      this.#db
        .prepare(
          "SELECT query, start_us AS startUs, end_us AS endUs, key, revision, kind, value AS 'values', retracted" +
            ` FROM results r WHERE ${[...conditions, ...(last === null ? [] : [cursor])].join(" AND ")}` +
            " ORDER BY start_us, key, end_us, revision LIMIT @limit",
        )
        .all({
          query,
          from: fromUs ?? Number.NEGATIVE_INFINITY,
          to: toUs ?? Number.POSITIVE_INFINITY,
          limit: rows,
          kind,
          key,
          keyName: key === null ? null : name(this.#canonical(key)),
          afterStart: last?.startUs,
          afterKey: last?.key,
          afterEnd: last?.endUs,
          afterRevision: last?.revision,
        }) as StoredResult[];
    const first = after === null ? null : { ...after, key: name(after.key) };
    return this.#readOpened(first, limit, read, (row) => openResult(this.#seal, row));
  }

  alerts(filter: AlertFilter): StoredAlert[] {
    const { key, limit, after } = filter;
    const read = (last: AlertPlace | null, rows: number): StoredAlertRow[] =>
      this.#db
        .prepare(alertsSql({ ...filter, after: last as AlertFilter["after"] }, keyMatches(ALERT_KEY)))
        .all({
          ...alertParameters({ ...filter, after: last as AlertFilter["after"], limit: rows }),
          keyName: key === null ? null : alertKeyName(this.#seal, this.#canonical(key)),
        }) as StoredAlertRow[];
    const first =
      after === null
        ? null
        : { ...after, key: alertKeyName(this.#seal, after.key), id: alertIdName(this.#seal, after.id) };
    return this.#readOpened(first, limit, read, (row) => ({
      ...row,
      ...openAlert(this.#seal, row),
      isRetracted: Boolean(row.isRetracted),
    }));
  }

  latestResult(row: Pick<ResultRow, "query" | "startUs" | "key" | "endUs">): LatestResult | null {
    const found = this.#db
      .prepare(
        "SELECT query, start_us AS startUs, end_us AS endUs, key, revision, kind, value AS 'values', retracted" +
          " FROM results WHERE query = ? AND start_us = ? AND key = ? AND end_us = ? ORDER BY revision DESC LIMIT 1",
      )
      .get(row.query, row.startUs, resultKeyName(this.#seal, row.query, row.key), row.endUs);
    if (found === undefined) return null;
    const { revision, values, retracted } = openResult(this.#seal, found as StoredResult);
    return { revision, values, retracted: retracted === true };
  }

  deadLetters(stream: string | null, afterId: number, limit: number): DeadLetterRow[] {
    type Row = Omit<DeadLetterRow, "text"> & { readonly streamId: number; readonly text: Stored };
    const read = (last: { readonly id: number } | null, rows: number): Row[] =>
      this.#db
        .prepare(
          "SELECT d.id, s.id AS streamId, s.name AS stream, at_us AS atUs, line, path, code, message, text" +
            " FROM dead_letters d JOIN streams s ON s.id = d.stream_id" +
            " WHERE d.id > ? AND (? IS NULL OR s.name = ?) ORDER BY d.id LIMIT ?",
        )
        .all(last?.id ?? afterId, stream, stream, rows) as Row[];
    return this.#readOpened(null, limit, read, ({ streamId, text, ...row }) => {
      const opened = this.#seal.openText(deadLetterPlace(streamId, row.atUs, row.line, row.code), text);
      // Stored before there was a key.
      if (typeof text === "string") return { ...row, text };
      const [path, message, written] = JSON.parse(opened) as [string, string, string];
      return { ...row, path, message, text: written };
    });
  }

  /** Reads on in the place of rows that do not open, so that only the end gives fewer than `limit`. */
  #readOpened<Row, Opened, Cursor>(
    first: Cursor | null,
    limit: number,
    read: (after: Cursor | Row | null, rows: number) => readonly Row[],
    open: (row: Row) => Opened,
  ): Opened[] {
    const opened: Opened[] = [];
    let last: Cursor | Row | null = first;
    while (true) {
      const wanted = limit - opened.length;
      const rows = read(last, wanted);
      for (const row of rows) {
        const one = this.#attempt(() => open(row));
        if (one === null) this.#unopened++;
        else opened.push(one);
        last = row;
      }
      if (rows.length < wanted || opened.length === limit) return opened;
    }
  }

  /** JSON text without its white space, as keys are stored. */
  #canonical(key: string): string {
    const row = this.#db
      .prepare("SELECT CASE WHEN json_valid(@key) THEN json(@key) ELSE @key END AS 'text'")
      .get({ key }) as { text: string };
    return row.text;
  }

  #attempt<T>(open: () => T): T | null {
    try {
      return open();
    } catch (cause) {
      if (cause instanceof MillraceError) return null;
      throw cause;
    }
  }
}
