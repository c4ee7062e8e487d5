import { HASH_VERSION } from "../core/event-sums.ts";
import { IS_NOT_SYNCED } from "../store/block-states.ts";
import type { Connection } from "../store/database.ts";
import type { BookedSum } from "./audit-sums.ts";

const HOUR_US = 3_600_000_000;

/** Hours of event time that an audit is of. Both ends are whole hours; null: no bound. */
export interface AuditRange {
  /** null: of every stream. */
  readonly stream: string | null;
  readonly fromUs: number | null;
  /** Exclusive. */
  readonly toUs: number | null;
}

/** Blocks that no sink's answer is there for yet: the sink may have them, or not. */
export interface OpenBlocks {
  readonly stream: string;
  readonly resolutionUs: number;
  readonly minUs: number;
  readonly maxUs: number;
  readonly count: number;
}

/** What a sink has of this node, by the node's own books, and what it may have beyond. */
export interface EdgeAudit {
  readonly incarnation: string;
  readonly sums: readonly BookedSum[];
  readonly open: readonly OpenBlocks[];
}

/** Widens a range to whole hours. */
export function wholeHours({ stream, fromUs, toUs }: AuditRange): AuditRange {
  return {
    stream,
    fromUs: fromUs === null ? null : Math.floor(fromUs / HOUR_US) * HOUR_US,
    toUs: toUs === null ? null : Math.ceil(toUs / HOUR_US) * HOUR_US,
  };
}

/** Cost: the sums' rows, and the index entries of blocks that are not synced. One moment of the store. */
export function readEdgeAudit(db: Connection, sink: string, range: AuditRange): EdgeAudit {
  const parameters = { sink, ...boundsOf(range) };
  return db.transaction(() => {
    const { incarnation } = db.prepare("SELECT incarnation FROM sync_node").get() as { incarnation: string };
    const sums = db.prepare(SUMS).all(parameters) as BookedSum[];
    const open = db.prepare(OPEN).all(parameters) as OpenBlocks[];
    return { incarnation, sums, open };
  })();
}

export function boundsOf({ stream, fromUs, toUs }: AuditRange): {
  readonly stream: string | null;
  readonly from: number;
  readonly to: number;
} {
  return { stream, from: fromUs ?? Number.NEGATIVE_INFINITY, to: toUs ?? Number.POSITIVE_INFINITY };
}

const SUMS =
  "SELECT stream, resolution_us AS resolutionUs, hour_us AS hourUs, count," +
  ` CASE version WHEN ${HASH_VERSION} THEN hash END AS hash FROM audit_sums` +
  " WHERE sink = @sink AND (@stream IS NULL OR stream = @stream) AND hour_us >= @from AND hour_us < @to" +
  " ORDER BY stream, hour_us, resolution_us";
const OPEN =
  `WITH open(seq) AS MATERIALIZED (SELECT seq FROM blocks WHERE state <> 'synced' AND ${IS_NOT_SYNCED})` +
  " SELECT s.name AS stream, b.resolution_us AS resolutionUs, min(b.min_us) AS minUs, max(b.max_us) AS maxUs," +
  " sum(b.count) AS count FROM open o CROSS JOIN blocks b ON b.seq = o.seq JOIN streams s ON s.id = b.stream_id" +
  " WHERE (@stream IS NULL OR s.name = @stream) AND b.max_us >= @from AND b.min_us < @to" +
  ` GROUP BY s.id, b.resolution_us, b.min_us / ${HOUR_US}, b.max_us / ${HOUR_US}`;
