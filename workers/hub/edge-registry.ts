import type { Statement } from "better-sqlite3";
import type { HybridTime } from "../attributes/hybrid-clock.ts";
import type { Connection } from "../store/database.ts";
import { prepareAll } from "../store/prepare-all.ts";
import type { BatchHeader } from "../sync/batch.ts";
import { type IdentityCase, judgeIdentity, type KnownEdge, type KnownIncarnation } from "./edge-identity.ts";
import { type StartRow, startTotals, totalsOf } from "./fork-totals.ts";

/** Ids of what a batch is from. */
export interface Origin {
  readonly edgeId: number;
  readonly incarnationId: number;
  /** The name of the data directory. */
  readonly incarnation: string;
  /** Of the batch: what it is told of, and by which start. */
  readonly startId: string;
  readonly identity: IdentityCase | null;
  /** The latest time of the edge's hybrid clock. */
  readonly latest: HybridTime;
}

const SQL = {
  edge:
    "INSERT INTO edges (name, first_seen_us, last_seen_us) VALUES (@name, @nowUs, @nowUs)" +
    " ON CONFLICT DO UPDATE SET last_seen_us = @nowUs RETURNING id, hlc_ms AS ms, hlc_counter AS counter," +
    " current_incarnation AS currentIncarnation, current_since_us AS currentSinceUs, has_returned AS hasReturned",
  incarnation:
    "INSERT INTO incarnations (edge_id, name, start_number, start_id, first_seen_us, last_seen_us)" +
    " VALUES (@edgeId, @incarnation, @number, @id, @nowUs, @nowUs) ON CONFLICT DO UPDATE SET last_seen_us = @nowUs" +
    " RETURNING id, start_number AS startNumber, start_id AS startId, current_id AS currentId," +
    " current_since_us AS currentSinceUs, copies + conflicts > 0 AS isForked, notice, notice_start AS noticeStart",
  setCurrentStart: "UPDATE incarnations SET current_id = ?, current_since_us = ? WHERE id = ?",
  setCurrent: "UPDATE edges SET current_incarnation = ?, current_since_us = ?, has_returned = ? WHERE id = ?",
  notice: "UPDATE incarnations SET notice = ?, notice_start = ? WHERE id = ?",
  countCase:
    "INSERT INTO identity_cases (edge_id, incarnation_id, kind, times, first_us, last_us) VALUES (@edgeId, @incarnationId," +
    " @kind, 1, @nowUs, @nowUs) ON CONFLICT DO UPDATE SET times = times + 1, last_us = @nowUs",
  insertStart: "INSERT INTO starts (incarnation_id, number, id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
  isNumberTaken: "SELECT 1 FROM starts WHERE incarnation_id = ? AND number = ? AND id <> ?",
  setStart: "UPDATE incarnations SET start_number = ?, start_id = ? WHERE id = ?",
  noticeCopy: "UPDATE incarnations SET copies = copies + 1 WHERE id = ?",
  stream: "INSERT INTO streams (name) VALUES (?) ON CONFLICT DO UPDATE SET name = excluded.name RETURNING id",
  form:
    "INSERT INTO edge_streams (edge_id, stream_id, time_field, key_fields) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE" +
    " SET time_field = excluded.time_field, key_fields = excluded.key_fields",
  startTotals:
    "INSERT INTO start_totals (incarnation_id, stream_id, start_id, accepted_base, dead_lettered_base, late_base," +
    " clock_skewed_base, accepted, dead_lettered, late, clock_skewed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" +
    " ON CONFLICT DO UPDATE SET accepted = max(accepted, excluded.accepted)," +
    " dead_lettered = max(dead_lettered, excluded.dead_lettered), late = max(late, excluded.late)," +
    " clock_skewed = max(clock_skewed, excluded.clock_skewed) WHERE excluded.accepted > accepted" +
    " OR excluded.dead_lettered > dead_lettered OR excluded.late > late OR excluded.clock_skewed > clock_skewed",
  streamsOfStarts: "SELECT DISTINCT stream_id AS streamId FROM start_totals WHERE incarnation_id = ?",
  ofStarts:
    "SELECT accepted_base AS acceptedBase, accepted, dead_lettered_base AS deadLetteredBase, dead_lettered AS deadLettered," +
    " late_base AS lateBase, late, clock_skewed_base AS clockSkewedBase, clock_skewed AS clockSkewed" +
    " FROM start_totals WHERE incarnation_id = ? AND stream_id = ?",
  totals:
    "INSERT INTO totals (incarnation_id, stream_id, accepted, dead_lettered, late, clock_skewed) VALUES (?, ?, ?, ?, ?, ?)" +
    " ON CONFLICT DO UPDATE SET accepted = max(accepted, excluded.accepted)," +
    " dead_lettered = max(dead_lettered, excluded.dead_lettered), late = max(late, excluded.late)," +
    " clock_skewed = max(clock_skewed, excluded.clock_skewed)",
} as const;

/** An edge, and one of its data directories, as the tables have them: SQLite's and PostgreSQL's. */
export interface EdgeRow extends HybridTime {
  readonly id: number;
  readonly currentIncarnation: string | null;
  readonly currentSinceUs: number;
  readonly hasReturned: number | boolean;
}

export interface IncarnationRow {
  readonly id: number;
  readonly startNumber: number;
  readonly startId: string;
  readonly currentId: string;
  readonly currentSinceUs: number;
  readonly isForked: number | boolean;
  readonly notice: IdentityCase | null;
  readonly noticeStart: string | null;
}

export function knownEdge({ currentIncarnation, currentSinceUs, hasReturned }: EdgeRow): KnownEdge {
  const current = currentIncarnation === null ? null : { id: currentIncarnation, sinceUs: currentSinceUs };
  return { current, hasReturned: Boolean(hasReturned) };
}

/** null: the row was made for this batch, whose start is therefore the first. */
export function knownIncarnation(
  row: IncarnationRow,
  isNewStart: boolean,
  startId: string,
): KnownIncarnation | null {
  if (isNewStart && row.startId === startId) return null;
  const { startNumber, currentId, currentSinceUs, isForked } = row;
  const current = { id: currentId, sinceUs: currentSinceUs };
  return { startNumber, current, isForked: Boolean(isForked) };
}

/**
 * Who sends. Totals of each start are replicas of a G-Counter (Shapiro et al., 2011): the greater holds, and an edge's total is
 * the sum over its data directories, so that a batch delivered late or twice changes nothing, and a new disk does not begin
 * at 0. Of a data directory it is the greatest there was, until it went several ways: then these add up (`fork-totals.ts`). A
 * data directory numbers its starts and names each by chance: two names of one number, or a new name below the greatest
 * number that was made after it was heard of, tell that there is a copy of it, or that it was put back.
 */
export class EdgeRegistry {
  readonly #sql: Readonly<Record<keyof typeof SQL, Statement<unknown[]>>>;
  readonly #streamIds = new Map<string, number>();

  constructor(db: Connection) {
    this.#sql = prepareAll(db, SQL);
  }

  /** Forgets what was not committed. */
  reset(): void {
    this.#streamIds.clear();
  }

  register(header: BatchHeader, nowUs: number): Origin {
    const { edge, incarnation, start, createdUs } = header;
    const known = this.#sql.edge.get({ name: edge, nowUs }) as EdgeRow;
    const edgeId = known.id;
    const row = this.#sql.incarnation.get({ edgeId, incarnation, ...start, nowUs }) as IncarnationRow;
    const incarnationId = row.id;
    const isNew = this.#sql.insertStart.run(incarnationId, start.number, start.id).changes > 0;
    const isNumberTaken =
      isNew && this.#sql.isNumberTaken.get(incarnationId, start.number, start.id) !== undefined;
    const verdict = judgeIdentity(header, knownIncarnation(row, isNew, start.id), knownEdge(known), {
      isNew,
      isNumberTaken,
    });
    if (verdict.isCopy) this.#sql.noticeCopy.run(incarnationId);
    if (verdict.setStart) this.#sql.setStart.run(start.number, start.id, incarnationId);
    if (verdict.setCurrentStart) this.#sql.setCurrentStart.run(start.id, createdUs, incarnationId);
    if (verdict.setCurrent)
      this.#sql.setCurrent.run(incarnation, createdUs, Number(verdict.hasReturned), edgeId);
    const { ms, counter } = known;
    const told = row.noticeStart === start.id ? row.notice : null;
    const origin = { edgeId, incarnationId, incarnation, startId: start.id, latest: { ms, counter } };
    if (verdict.noticed !== null) this.notice(origin, verdict.noticed, nowUs);
    for (const { stream, timeField, keyFields } of header.streams)
      this.#sql.form.run(edgeId, this.streamId(stream), timeField, JSON.stringify(keyFields));
    for (const { stream, accepted, deadLettered, late, clockSkewed, base } of header.totals) {
      const streamId = this.streamId(stream);
      const counts = [accepted, deadLettered, late, clockSkewed];
      const isNews =
        base !== undefined &&
        this.#sql.startTotals.run(incarnationId, streamId, start.id, ...base, ...counts).changes > 0;
      this.#sql.totals.run(incarnationId, streamId, ...counts);
      if (isNews && row.isForked) this.#addWaysOf(incarnationId, streamId);
    }
    if (verdict.isCopy) this.addWays(incarnationId);
    return { ...origin, identity: verdict.noticed ?? told };
  }

  /** What was noticed of the data directory, which its start is told from here on. */
  notice(
    { edgeId, incarnationId, startId }: Pick<Origin, "edgeId" | "incarnationId" | "startId">,
    kind: IdentityCase,
    nowUs: number,
  ): void {
    this.#sql.notice.run(kind, startId, incarnationId);
    this.#sql.countCase.run({ edgeId, incarnationId, kind, nowUs });
  }

  /** The data directory went several ways: what each of them counted adds up. */
  addWays(incarnationId: number): void {
    const streams = this.#sql.streamsOfStarts.all(incarnationId) as { streamId: number }[];
    for (const { streamId } of streams) this.#addWaysOf(incarnationId, streamId);
  }

  #addWaysOf(incarnationId: number, streamId: number): void {
    const starts = this.#sql.ofStarts.all(incarnationId, streamId) as StartRow[];
    const { accepted, deadLettered, late, clockSkewed } = totalsOf(starts.map(startTotals));
    this.#sql.totals.run(incarnationId, streamId, accepted, deadLettered, late, clockSkewed);
  }

  streamId(name: string): number {
    const known = this.#streamIds.get(name);
    if (known !== undefined) return known;
    const { id } = this.#sql.stream.get(name) as { id: number };
    this.#streamIds.set(name, id);
    return id;
  }
}
