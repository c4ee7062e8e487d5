import type { Statement } from "better-sqlite3";
import type { ResultRow, StoredBlock } from "../messages.ts";
import type { BlockForm, BlockStore } from "../query/events.ts";
import type { Page } from "../query/tasks.ts";
import { NO_SEAL } from "../seal/seal.ts";
import { GOES_ON, type StoredAlert } from "../store/alert-reader.ts";
import { type BlockRow, storedBlock } from "../store/block-row.ts";
import type { Connection } from "../store/database.ts";
import { type BlockRange, KEY_MATCHES, type LossRow } from "../store/reader.ts";
import type { BlockSummer } from "../sync/audit-sums.ts";
import { auditSlice, type HubAuditSlice, type HubAuditTask } from "./audit.ts";
import { openHubForReading } from "./database.ts";
import type { HubDevice } from "./device-rows.ts";
import { describeEdge, listEdges } from "./edge-reader.ts";
import { ParkedReader, type ParkedTask } from "./parked.ts";
import type {
  EdgeDetail,
  EdgeSummary,
  HubAlertsTask,
  HubDevicesTask,
  HubListTask,
  HubResultsTask,
} from "./tasks.ts";

interface OfEdge {
  readonly edge: string;
  readonly edgeId: number;
}
export type HubResult = ResultRow & OfEdge;
export type HubAlert = StoredAlert & OfEdge;
export type HubLoss = LossRow & OfEdge;

const EDGE_ID = "(SELECT id FROM edges WHERE name = @edge)";
const STARTS_NEAR =
  "start_us >= @from - coalesce((SELECT longest_us FROM query_spans WHERE query = @query), 0)";
const IS_LATEST =
  "revision = (SELECT max(revision) FROM results n WHERE n.query = r.query AND n.start_us = r.start_us" +
  " AND n.key = r.key AND n.end_us = r.end_us AND n.edge_id = r.edge_id)";
const BEHIND_RESULT =
  "(start_us, key, end_us, edge_id, revision) > (@afterStart, @afterKey, @afterEnd, @afterEdge, @afterRevision)";
const BEHIND_ALERT =
  "(since_us, alert, key, r.id, revision, edge_id) > (@afterSince, @afterAlert, @afterKey, @afterId, @afterRevision, @afterEdge)";

/** Reads what is committed; holds no snapshot between calls. */
export class HubReader {
  readonly #db: Connection;
  readonly #statements = new Map<string, Statement<unknown[]>>();

  constructor(dir: string) {
    this.#db = openHubForReading(dir);
  }

  /** The blocks of a stream, of one edge or of all, as pages of events read them: their seqs are the hub's own. */
  blocksOf(edge: string | null): BlockStore {
    const ofEdge = edge === null ? "" : ` AND edge_id = ${EDGE_ID}`;
    return {
      listBlocks: (stream, fromUs, toUs, { after, limit }) =>
        this.#prepare(
          "SELECT id AS seq, count, min_us AS minUs, max_us AS maxUs FROM blocks" +
            " WHERE stream_id = (SELECT id FROM streams WHERE name = @stream) AND (min_us, id) > (@afterUs, @afterId)" +
            ` AND min_us >= @afterUs AND max_us >= @fromUs AND min_us < @toUs${ofEdge} ORDER BY min_us, id LIMIT @limit`,
        ).all({
          stream,
          edge,
          fromUs,
          toUs,
          limit,
          afterUs: after?.minUs ?? Number.NEGATIVE_INFINITY,
          afterId: after?.seq ?? 0,
        }) as BlockRange[],
      eventsOf: (id) => this.#countOf(id),
      block: (id) => this.#block(id),
      formOf: (id) => this.#formOf(id),
    };
  }

  results({ query, fromUs, toUs, key, kind, revisions, limit, after, edge }: HubResultsTask): HubResult[] {
    const conditions = ["query = @query", "(end_us > @from OR start_us = @from)", "start_us < @to"];
    if (after !== null) conditions.push(BEHIND_RESULT);
    else if (fromUs !== null) conditions.push(STARTS_NEAR);
    if (kind !== null) conditions.push("kind = @kind");
    if (key !== null) conditions.push(KEY_MATCHES);
    if (edge !== null) conditions.push(`edge_id = ${EDGE_ID}`);
    if (revisions === "latest") conditions.push(IS_LATEST, "retracted = 0");
    type Row = Omit<HubResult, "retracted"> & { readonly retracted: number };
    const rows = this.#prepare(
      "SELECT query, start_us AS startUs, end_us AS endUs, key, revision, kind, value AS 'values', retracted," +
        " e.name AS edge, edge_id AS edgeId FROM results r JOIN edges e ON e.id = r.edge_id" +
        ` WHERE ${conditions.join(" AND ")} ORDER BY start_us, key, end_us, edge_id, revision LIMIT @limit`,
    ).all({
      query,
      from: fromUs ?? Number.NEGATIVE_INFINITY,
      to: toUs ?? Number.POSITIVE_INFINITY,
      limit,
      kind,
      key,
      edge,
      afterStart: after?.startUs,
      afterKey: after?.key,
      afterEnd: after?.endUs,
      afterEdge: after?.edgeId,
      afterRevision: after?.revision,
    }) as Row[];
    return rows.map(({ retracted, ...row }) => (retracted === 0 ? row : { ...row, retracted: true }));
  }

  alerts({ alert, state, fromUs, toUs, key, revisions, limit, after, edge }: HubAlertsTask): HubAlert[] {
    const conditions = ["r.since_us < @to"];
    if (alert !== null) conditions.push("r.alert = @alert");
    if (state !== null) conditions.push("r.state = @state");
    if (fromUs !== null) conditions.push(GOES_ON);
    if (key !== null) conditions.push(KEY_MATCHES);
    if (edge !== null) conditions.push(`r.edge_id = ${EDGE_ID}`);
    if (revisions === "latest") conditions.push("r.is_latest = 1 AND r.retracted = 0");
    if (after !== null) conditions.push(BEHIND_ALERT);
    const rows = this.#prepare(
      "SELECT alert, severity, key, state, since_us AS sinceUs, at_us AS atUs, value, r.id, revision," +
        " retracted AS isRetracted, e.name AS edge, edge_id AS edgeId FROM alerts r JOIN edges e ON e.id = r.edge_id" +
        ` WHERE ${conditions.join(" AND ")} ORDER BY since_us, alert, key, r.id, revision, edge_id LIMIT @limit`,
    ).all({
      alert,
      state,
      key,
      limit,
      edge,
      from: fromUs ?? Number.NEGATIVE_INFINITY,
      to: toUs ?? Number.POSITIVE_INFINITY,
      afterSince: after?.sinceUs,
      afterAlert: after?.alert,
      afterKey: after?.key,
      afterId: after?.id,
      afterRevision: after?.revision,
      afterEdge: after?.edgeId,
    });
    return (rows as HubAlert[]).map((row) => ({ ...row, isRetracted: Boolean(row.isRetracted) }));
  }

  losses({ stream, edge, after, limit }: HubListTask): HubLoss[] {
    return this.#prepare(
      "SELECT l.id, stream, from_us AS fromUs, to_us AS toUs, count, bytes, reason, at_us AS atUs, kind, subject, e.name AS edge," +
        " edge_id AS edgeId FROM losses l JOIN edges e ON e.id = l.edge_id WHERE l.id > @after" +
        " AND (@stream IS NULL OR stream = @stream) AND (@edge IS NULL OR e.name = @edge) ORDER BY l.id LIMIT @limit",
    ).all({ stream, edge, after: after ?? 0, limit }) as HubLoss[];
  }

  /** By edge, then by device. */
  devices({ edge, device, after, limit }: HubDevicesTask): HubDevice[] {
    return this.#prepare(
      "SELECT e.name AS edge, device, json_group_array(json_array(attribute, value, ms, counter)) AS attributes" +
        " FROM edges e JOIN attributes a ON a.edge_id = e.id WHERE a.value IS NOT NULL AND (@edge IS NULL OR e.name = @edge)" +
        " AND (@device IS NULL OR a.device = @device) AND (@afterEdge IS NULL OR (e.name, a.device) > (@afterEdge, @afterDevice))" +
        " GROUP BY e.name, a.device ORDER BY e.name, a.device LIMIT @limit",
    ).all({
      edge,
      device,
      limit,
      afterEdge: after?.edge ?? null,
      afterDevice: after?.device ?? null,
    }) as HubDevice[];
  }

  audit(summer: BlockSummer, task: HubAuditTask): HubAuditSlice {
    return auditSlice(this.#db, summer, task);
  }

  edges(): EdgeSummary[] {
    return listEdges(this.#db);
  }

  edge(name: string): EdgeDetail | null {
    return describeEdge(this.#db, name);
  }

  knowsStream(stream: string): boolean {
    return this.#prepare("SELECT 1 FROM streams WHERE name = ?").get(stream) !== undefined;
  }

  knowsQuery(query: string): boolean {
    return this.#prepare("SELECT 1 FROM query_spans WHERE query = ?").get(query) !== undefined;
  }

  parked(task: ParkedTask): Page<number> {
    return new ParkedReader(this.#db).read(task);
  }

  close(): void {
    this.#db.close();
  }

  #block(id: number): StoredBlock | null {
    const row = this.#prepare(
      "SELECT count, min_us, max_us, codec, encoded_bytes, data FROM blocks WHERE id = ?",
    ).get(id) as BlockRow | undefined;
    return row === undefined ? null : storedBlock(row, NO_SEAL, "");
  }

  #formOf(id: number): BlockForm {
    const row = this.#prepare(
      "SELECT e.name AS edge, time_field AS timeField, key_fields AS keyFields FROM blocks b" +
        " JOIN edges e ON e.id = b.edge_id" +
        " JOIN edge_streams s ON s.edge_id = b.edge_id AND s.stream_id = b.stream_id WHERE b.id = ?",
    ).get(id) as { edge: string; timeField: string; keyFields: string };
    return {
      timeField: row.timeField,
      keyFields: JSON.parse(row.keyFields) as string[],
      member: `"edge":${JSON.stringify(row.edge)}`,
    };
  }

  #countOf(id: number): number | null {
    const row = this.#prepare("SELECT count FROM blocks WHERE id = ?").get(id) as
      | { count: number }
      | undefined;
    return row?.count ?? null;
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
