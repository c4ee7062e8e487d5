import { alertJson } from "../alert/alert-json.ts";
import type { ResultRow } from "../messages.ts";
import type { AlertCursor } from "../store/alert-reader.ts";
import type { DeadLetterRow, LossRow, Reader, ResultCursor } from "../store/reader.ts";
import { formatTime } from "../time-format.ts";
import { encodeLines } from "./lines.ts";
import { type AlertsTask, type ListTask, MAX_PAGE_CHARACTERS, type Page, type ResultsTask } from "./tasks.ts";

/** Rows read from the database at once. */
const CHUNK_ROWS = 1_000;

/** Results ordered by window, key and revision. */
export function readResults(store: Reader, task: ResultsTask): Page<ResultCursor> {
  const fetch = (after: ResultCursor | null, limit: number): ResultRow[] =>
    store.results({ ...task, after, limit });
  return readPage(task, fetch, resultJson, ({ startUs, key, endUs, revision }) => ({
    startUs,
    key,
    endUs,
    revision,
  }));
}

/** Steps of alerts by when they began. */
export function readAlerts(store: Reader, task: AlertsTask): Page<AlertCursor> {
  return readPage(
    task,
    (after: AlertCursor | null, limit) => store.alerts({ ...task, after, limit }),
    alertJson,
    ({ sinceUs, alert, key, id, revision }) => ({ sinceUs, alert, key, id, revision }),
  );
}

/** Dead letters in the order in which they were set aside. */
export function readDeadLetters(store: Reader, task: ListTask): Page<number> {
  const fetch = (after: number | null, limit: number): DeadLetterRow[] =>
    store.deadLetters(task.stream, after ?? 0, limit);
  return readPage(task, fetch, deadLetterJson, ({ id }) => id);
}

/** The loss ledger in the order in which it was written. */
export function readLosses(store: Reader, task: ListTask): Page<number> {
  const fetch = (after: number | null, limit: number): LossRow[] =>
    store.losses(task.stream, after ?? 0, limit);
  return readPage(task, fetch, lossJson, ({ id }) => id);
}

/** A result as the API gives it. */
export function resultJson({
  query,
  startUs,
  endUs,
  key,
  values,
  revision,
  kind,
  retracted,
}: ResultRow): string {
  const window = `{"start":"${formatTime(startUs)}","end":"${formatTime(endUs)}"}`;
  return (
    `{"query":${JSON.stringify(query)},"window":${window},"key":${key},"values":${values},` +
    `"revision":${revision},"kind":${JSON.stringify(kind)}${retracted ? ',"retracted":true' : ""}}`
  );
}

function deadLetterJson({ stream, atUs, line, path, code, message, text }: DeadLetterRow): string {
  return JSON.stringify({ stream, at: formatTime(atUs), line, path, code, message, text });
}

export function lossJson({
  stream,
  fromUs,
  toUs,
  count,
  bytes,
  reason,
  atUs,
  kind,
  subject,
}: Omit<LossRow, "id">): string {
  const [from, to, at] = [fromUs, toUs, atUs].map(formatTime);
  const of = subject === null ? {} : { subject };
  return JSON.stringify({ stream, from, to, count, bytes, reason, at, kind, ...of });
}

/** Fills a page chunk by chunk, until `limit` rows or a page's characters; one row more tells whether any follows. */
export function readPage<Row, Cursor>(
  { limit, after }: { readonly limit: number; readonly after: Cursor | null },
  fetch: (after: Cursor | null, limit: number) => readonly Row[],
  write: (row: Row) => string,
  cursorOf: (row: Row) => Cursor,
): Page<Cursor> {
  const lines: string[] = [];
  let last = after;
  let characters = 0;
  const page = (next: Cursor | null): Page<Cursor> => ({
    ndjson: encodeLines(lines),
    next,
    skippedBlocks: [],
  });
  while (true) {
    const wanted = Math.min(CHUNK_ROWS, limit + 1 - lines.length);
    const rows = fetch(last, wanted);
    for (const row of rows) {
      if (lines.length >= limit || characters >= MAX_PAGE_CHARACTERS) return page(last);
      const json = write(row);
      lines.push(json);
      characters += json.length;
      last = cursorOf(row);
    }
    if (rows.length < wanted) return page(null);
  }
}
