import { alertJson } from "../../alert/alert-json.ts";
import { encodeLines } from "../../query/lines.ts";
import { lossJson, resultJson } from "../../query/row-pages.ts";
import type { EventCursor, Page } from "../../query/tasks.ts";
import { MAX_PAGE_CHARACTERS } from "../../query/tasks.ts";
import { formatTime } from "../../time-format.ts";
import { deviceJson, type HubDevice } from "../device-rows.ts";
import type { HubAlert, HubLoss, HubResult } from "../hub-reader.ts";
import { type ParkedRow, type ParkedTask, parkedJson } from "../parked.ts";
import type * as hub from "../tasks.ts";
import { cleanText } from "./clean-text.ts";
import type { Session, Value } from "./connection.ts";
import { wholeKey } from "./key-texts.ts";

/** Rows read from the database at once. */
const CHUNK_ROWS = 2_000;
const [FIRST_US, END_US] = [-62_135_596_800_000_000n, 253_402_300_800_000_000n];

const EDGE_ID = (at: string): string => `(SELECT id FROM edges WHERE name = ${at})`;
const IS_LATEST =
  "r.revision = (SELECT max(revision) FROM results n WHERE n.query = r.query AND n.window_start = r.window_start" +
  " AND n.key = r.key AND n.window_end = r.window_end AND n.edge_id = r.edge_id)";

/** Conditions, and the parameters that they name as $1, $2 … Times are cast from text: the client would cut them to milliseconds. */
class Where {
  readonly #conditions: string[] = [];
  readonly parameters: Value[] = [];

  /** The name of a parameter of this value. */
  value(value: Value): string {
    this.parameters.push(typeof value === "string" ? cleanText(value) : value);
    return `$${this.parameters.length}`;
  }

  and(condition: string): void {
    this.#conditions.push(condition);
  }

  get text(): string {
    return this.#conditions.join(" AND ");
  }
}

/** What a hub answers, read from PostgreSQL: the same pages as `HubReader` makes of SQLite. */
export class PostgresReader {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Events in the order of (time, block, row). */
  events({ stream, edge, fromUs, toUs, key, limit, after }: hub.HubEventsTask): Promise<Page<EventCursor>> {
    type Row = { timeUs: string; seq: number; row: number; edge: string; event: string };
    const fetch = (behind: EventCursor | null, rows: number): Promise<Row[]> => {
      const where = new Where();
      where.and(`r.stream_id = (SELECT id FROM streams WHERE name = ${where.value(stream)})`);
      if (edge !== null) where.and(`r.edge_id = ${EDGE_ID(where.value(edge))}`);
      const fromTime = fromUs === null ? null : BigInt(Math.ceil(fromUs));
      const first =
        behind === null || (fromTime !== null && fromTime > behind.timeUs) ? fromTime : behind.timeUs;
      if (first !== null) where.and(`r.time >= ${where.value(timeText(first))}::text::timestamptz`);
      if (toUs !== null)
        where.and(`r.time < ${where.value(timeText(BigInt(Math.ceil(toUs))))}::text::timestamptz`);
      if (key !== null) {
        const text = where.value(key);
        where.and(`(r.key = ${text} OR ${text} = ANY(r.other_keys))`);
      }
      if (behind !== null && behind.seq >= 0) {
        const place = [
          `${where.value(timeText(behind.timeUs))}::text::timestamptz`,
          where.value(behind.seq),
          where.value(behind.row),
        ];
        where.and(`(r.time, r.block_id, r."row") > (${place[0]}, ${place[1]}::bigint, ${place[2]}::bigint)`);
      }
      return this.#session.rows<Row>(
        'SELECT us_of(r.time)::text AS "timeUs", r.block_id::float8 AS seq, r."row", e.name AS edge, coalesce(r.original, r.event::text) AS event' +
          ` FROM event_rows r JOIN edges e ON e.id = r.edge_id WHERE ${where.text}` +
          ` ORDER BY r.time, r.block_id, r."row" LIMIT ${where.value(rows)}`,
        where.parameters,
      );
    };
    return readPage(
      { limit, after },
      fetch,
      ({ event, edge: name }) => withMemberLast(event, name),
      ({ timeUs, seq, row }) => ({ timeUs: BigInt(timeUs), seq, row, rank: 0 }),
    );
  }

  results(task: hub.HubResultsTask): Promise<Page<hub.HubResultCursor>> {
    const { query, fromUs, toUs, key, kind, revisions, edge } = task;
    type Row = Omit<HubResult, "retracted"> & { readonly retracted: boolean };
    const fetch = async (after: hub.HubResultCursor | null, rows: number): Promise<HubResult[]> => {
      const where = new Where();
      const ofQuery = where.value(query);
      where.and(`r.query = ${ofQuery}`);
      if (fromUs !== null) {
        const from = where.value(timeText(BigInt(Math.ceil(fromUs))));
        where.and(
          `(r.window_end > ${from}::text::timestamptz OR r.window_start = ${from}::text::timestamptz)`,
        );
        where.and(
          `r.window_start >= ${from}::text::timestamptz - coalesce((SELECT longest_us FROM query_spans WHERE query = ${ofQuery}), 0)` +
            " * interval '1 microsecond'",
        );
      }
      if (toUs !== null)
        where.and(`r.window_start < ${where.value(timeText(BigInt(Math.ceil(toUs))))}::text::timestamptz`);
      if (kind !== null) where.and(`r.kind = ${where.value(kind)}`);
      if (key !== null) whereKey(where, key);
      if (edge !== null) where.and(`r.edge_id = ${EDGE_ID(where.value(edge))}`);
      if (revisions === "latest") where.and(`${IS_LATEST} AND NOT r.retracted`);
      if (after !== null) {
        const { startUs, key: afterKey, endUs, edgeId, revision } = after;
        const place = [
          `at_us(${where.value(startUs)})`,
          where.value(afterKey),
          `at_us(${where.value(endUs)})`,
          `${where.value(edgeId)}::bigint`,
          where.value(revision),
        ];
        where.and(`(r.window_start, r.key, r.window_end, r.edge_id, r.revision) > (${place.join(", ")})`);
      }
      const found = await this.#session.rows<Row>(
        'SELECT r.query, us_of(r.window_start)::float8 AS "startUs", us_of(r.window_end)::float8 AS "endUs", r.key,' +
          ' r.revision::float8 AS revision, r.kind, r."values"::text AS "values", r.retracted, e.name AS edge, r.edge_id AS "edgeId"' +
          ` FROM results r JOIN edges e ON e.id = r.edge_id WHERE ${where.text}` +
          ` ORDER BY r.window_start, r.key, r.window_end, r.edge_id, r.revision LIMIT ${where.value(rows)}`,
        where.parameters,
      );
      return found.map(({ retracted, ...row }) => (retracted ? { ...row, retracted } : row));
    };
    return readPage(
      task,
      fetch,
      (row) => withMemberFirst(row.edge, resultJson(row)),
      ({ startUs, key: own, endUs, edgeId, revision }) => ({ startUs, key: own, endUs, edgeId, revision }),
    );
  }

  alerts(task: hub.HubAlertsTask): Promise<Page<hub.HubAlertCursor>> {
    const { alert, state, fromUs, toUs, key, revisions, edge } = task;
    const fetch = (after: hub.HubAlertCursor | null, rows: number): Promise<HubAlert[]> => {
      const where = new Where();
      where.and("true");
      if (toUs !== null)
        where.and(`r.since < ${where.value(timeText(BigInt(Math.ceil(toUs))))}::text::timestamptz`);
      if (alert !== null) where.and(`r.alert = ${where.value(alert)}`);
      if (state !== null) where.and(`r.state = ${where.value(state)}`);
      if (fromUs !== null)
        where.and(
          `(r.state <> 'resolved' OR r.at >= ${where.value(timeText(BigInt(Math.ceil(fromUs))))}::text::timestamptz)`,
        );
      if (key !== null) whereKey(where, key);
      if (edge !== null) where.and(`r.edge_id = ${EDGE_ID(where.value(edge))}`);
      if (revisions === "latest") where.and("r.is_latest AND NOT r.retracted");
      if (after !== null) {
        const place = [
          `at_us(${where.value(after.sinceUs)})`,
          where.value(after.alert),
          where.value(after.key),
          where.value(after.id),
          where.value(after.revision),
          `${where.value(after.edgeId)}::bigint`,
        ];
        where.and(`(r.since, r.alert, r.key, r.id, r.revision, r.edge_id) > (${place.join(", ")})`);
      }
      return this.#session.rows<HubAlert>(
        'SELECT r.alert, r.severity, r.key, r.state, us_of(r.since)::float8 AS "sinceUs", us_of(r.at)::float8 AS "atUs",' +
          ' r.value::text AS value, r.id, r.revision::float8 AS revision, r.retracted AS "isRetracted", e.name AS edge,' +
          ` r.edge_id AS "edgeId" FROM alerts r JOIN edges e ON e.id = r.edge_id WHERE ${where.text}` +
          ` ORDER BY r.since, r.alert, r.key, r.id, r.revision, r.edge_id LIMIT ${where.value(rows)}`,
        where.parameters,
      );
    };
    return readPage(
      task,
      fetch,
      (row) => withMemberFirst(row.edge, alertJson(row)),
      ({ sinceUs, alert: name, key: own, id, revision, edgeId }) => ({
        sinceUs,
        alert: name,
        key: own,
        id,
        revision,
        edgeId,
      }),
    );
  }

  losses(task: hub.HubListTask): Promise<Page<number>> {
    const fetch = (after: number | null, rows: number): Promise<HubLoss[]> => {
      const where = new Where();
      where.and(`l.id > ${where.value(after ?? 0)}`);
      if (task.stream !== null) where.and(`l.stream = ${where.value(task.stream)}`);
      if (task.edge !== null) where.and(`e.name = ${where.value(task.edge)}`);
      return this.#session.rows<HubLoss>(
        'SELECT l.id::float8 AS id, l.stream, us_of(l.from_time)::float8 AS "fromUs", us_of(l.to_time)::float8 AS "toUs",' +
          " l.count::float8 AS count, l.bytes::float8 AS bytes, l.reason," +
          ' us_of(l.at)::float8 AS "atUs", l.kind, l.subject, e.name AS edge, l.edge_id AS "edgeId"' +
          ` FROM losses l JOIN edges e ON e.id = l.edge_id WHERE ${where.text} ORDER BY l.id LIMIT ${where.value(rows)}`,
        where.parameters,
      );
    };
    return readPage(
      task,
      fetch,
      (row) => withMemberFirst(row.edge, lossJson(row)),
      ({ id }) => id,
    );
  }

  /** By edge, then by device. */
  devices(task: hub.HubDevicesTask): Promise<Page<hub.DeviceCursor>> {
    const { edge, device } = task;
    const fetch = (after: hub.DeviceCursor | null, rows: number): Promise<HubDevice[]> => {
      const where = new Where();
      where.and("a.value IS NOT NULL");
      if (edge !== null) where.and(`e.name = ${where.value(edge)}`);
      if (device !== null) where.and(`a.device = ${where.value(device)}`);
      if (after !== null)
        where.and(`(e.name, a.device) > (${where.value(after.edge)}, ${where.value(after.device)})`);
      return this.#session.rows<HubDevice>(
        "SELECT e.name AS edge, a.device, json_agg(json_build_array(a.attribute, a.value, a.ms, a.counter))::text AS attributes" +
          ` FROM edges e JOIN attributes a ON a.edge_id = e.id WHERE ${where.text}` +
          ` GROUP BY e.name, a.device ORDER BY e.name, a.device LIMIT ${where.value(rows)}`,
        where.parameters,
      );
    };
    return readPage(task, fetch, deviceJson, ({ edge: of, device: own }) => ({ edge: of, device: own }));
  }

  parked({ edge, limit, after }: ParkedTask): Promise<Page<number>> {
    const fetch = (behind: number | null, rows: number): Promise<ParkedRow[]> => {
      const where = new Where();
      where.and(`id > ${where.value(behind ?? 0)}`);
      if (edge !== null) where.and(`edge = ${where.value(edge)}`);
      return this.#session.rows<ParkedRow>(
        'SELECT id::float8 AS id, source, edge, key, code, detail, us_of(at)::float8 AS "atUs", length(body) AS bytes' +
          ` FROM parked WHERE ${where.text} ORDER BY id LIMIT ${where.value(rows)}`,
        where.parameters,
      );
    };
    return readPage({ limit, after }, fetch, parkedJson, ({ id }) => id);
  }

  async knows(what: { readonly stream?: string; readonly query?: string }): Promise<boolean> {
    const [sql, name] =
      what.stream === undefined
        ? ["SELECT 1 FROM query_spans WHERE query = $1", what.query ?? ""]
        : ["SELECT 1 FROM streams WHERE name = $1", what.stream];
    return (await this.#session.rows(sql, [cleanText(name)])).length > 0;
  }
}

function whereKey(where: Where, key: string): void {
  where.and(`(r.key = ${where.value(wholeKey(key))} OR ${where.value(key)} = ANY(r.key_texts))`);
}

/** Beyond the years 0001 to 9999 there are no events: a bound there is none. */
function timeText(us: bigint): string {
  return us < FIRST_US ? "-infinity" : us >= END_US ? "infinity" : formatTime(us);
}

function withMemberFirst(edge: string, json: string): string {
  return `{"edge":${JSON.stringify(edge)},${json.slice(1)}`;
}

/** Behind the event's own members, so that it holds, should an event have one so called. */
function withMemberLast(json: string, edge: string): string {
  const member = `"edge":${JSON.stringify(edge)}`;
  return json === "{}" ? `{${member}}` : `${json.slice(0, -1)},${member}}`;
}

/** As `readPage` of `workers/query/row-pages.ts`, for rows that are waited for. */
async function readPage<Row, Cursor>(
  { limit, after }: { readonly limit: number; readonly after: Cursor | null },
  fetch: (after: Cursor | null, limit: number) => Promise<readonly Row[]>,
  write: (row: Row) => string,
  cursorOf: (row: Row) => Cursor,
): Promise<Page<Cursor>> {
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
    const rows = await fetch(last, wanted);
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
