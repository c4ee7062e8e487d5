import { HASH_VERSION } from "../core/event-sums.ts";
import { MillraceError } from "../errors.ts";
import type { Connection } from "../store/database.ts";
import { type AuditRange, boundsOf } from "../sync/audit-reader.ts";
import { type BlockSummer, type BookedSum, SumTable } from "../sync/audit-sums.ts";

/** Of one edge or of all. */
export interface HubAuditTask extends AuditRange {
  readonly edge: string | null;
  /** The last block that the slice before looked at. */
  readonly afterId: number;
}

/** What is held of a data directory of an edge. */
export interface HubSum extends BookedSum {
  readonly edge: string;
  readonly incarnation: string;
  /** Of `count`: so many went by retention. They are in the hash all the same. */
  readonly expired?: number;
}

export interface HubAuditSlice {
  /** Of the blocks of this slice alone: those of all slices add up. */
  readonly sums: readonly HubSum[];
  readonly unreadable: number;
  /** null: that was all. */
  readonly next: number | null;
}

interface Row {
  readonly id: number;
  readonly edge: string;
  readonly incarnation: string;
  readonly stream: string;
  readonly codec: "none" | "zstd";
  readonly encodedBytes: number;
  readonly resolutionUs: number;
  readonly data: Buffer;
}

/** Blocks that are read at once, and for how long at most the thread is held: others read in between. */
const CHUNK_BLOCKS = 16;
const SLICE_MS = 50;

/**
 * Reads stored blocks anew and sums up their events, from block `afterId` on, for a short while. The first slice also has what
 * went by retention.
 */
export function auditSlice(
  db: Connection,
  summer: BlockSummer,
  { edge, afterId, ...range }: HubAuditTask,
): HubAuditSlice {
  const bounds = boundsOf(range);
  const endMs = performance.now() + SLICE_MS;
  const tables = new Map<
    string,
    { readonly of: Pick<Row, "edge" | "incarnation">; readonly table: SumTable }
  >();
  const statement = db.prepare(BLOCKS);
  let unreadable = 0;
  let last = afterId;
  for (;;) {
    const rows = statement.all({ ...bounds, edge, last, limit: CHUNK_BLOCKS }) as Row[];
    for (const row of rows) {
      last = row.id;
      const { edge: name, incarnation, stream, resolutionUs } = row;
      const of = `${name} ${incarnation}`;
      const { table } = tables.get(of) ?? { table: new SumTable() };
      tables.set(of, { of: { edge: name, incarnation }, table });
      try {
        const sums = summer.sum(row).filter(({ hourUs }) => hourUs >= bounds.from && hourUs < bounds.to);
        table.add(stream, resolutionUs, sums);
      } catch (cause) {
        if (!(cause instanceof MillraceError)) throw cause;
        unreadable++;
      }
    }
    const isDone = rows.length < CHUNK_BLOCKS;
    if (!isDone && performance.now() < endMs) continue;
    const held = [...tables.values()].flatMap(({ of, table }) =>
      table.list().map((sum) => ({ ...of, ...sum })),
    );
    const expired = afterId === 0 ? (db.prepare(EXPIRED).all({ ...bounds, edge }) as HubSum[]) : [];
    const sums = [...held, ...expired];
    return { sums, unreadable, next: isDone ? null : last };
  }
}

const EXPIRED =
  "SELECT e.name AS edge, i.name AS incarnation, s.name AS stream, x.resolution_us AS resolutionUs, x.hour_us AS hourUs," +
  ` x.count, CASE x.version WHEN ${HASH_VERSION} THEN x.hash END AS hash, x.count AS expired FROM expired_sums x JOIN incarnations i ON i.id = x.incarnation_id` +
  " JOIN edges e ON e.id = i.edge_id JOIN streams s ON s.id = x.stream_id WHERE (@edge IS NULL OR e.name = @edge)" +
  " AND (@stream IS NULL OR s.name = @stream) AND x.hour_us >= @from AND x.hour_us < @to";
const BLOCKS =
  "SELECT b.id, e.name AS edge, i.name AS incarnation, s.name AS stream, codec, encoded_bytes AS encodedBytes," +
  " resolution_us AS resolutionUs, data FROM blocks b JOIN edges e ON e.id = b.edge_id" +
  " JOIN incarnations i ON i.id = b.incarnation_id JOIN streams s ON s.id = b.stream_id" +
  " WHERE b.id > @last AND (@edge IS NULL OR e.name = @edge) AND (@stream IS NULL OR s.name = @stream)" +
  " AND b.max_us >= @from AND b.min_us < @to ORDER BY b.id LIMIT @limit";
