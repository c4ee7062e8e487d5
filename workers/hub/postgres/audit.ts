import { type HourSum, NO_HASH } from "../../core/event-sums.ts";
import { type AuditRange, boundsOf } from "../../sync/audit-reader.ts";
import type { HubSum } from "../audit.ts";
import { cleanText } from "./clean-text.ts";
import type { PostgresDatabase, Session } from "./connection.ts";

/**
 * The books of a hub on PostgreSQL. Events are rows of JSON there, of which the hash of a block's events cannot be made again;
 * so it is booked when a block is taken, in the transaction that stores its rows, as is how many they are. An audit counts the
 * rows that are there, and answers the booked hash where they are as many.
 */
export const AUDIT_SQL = {
  /** Lanes are added modulo 2⁶⁴. An edge's batches are written one after the other, so no other writes the row meanwhile. */
  book:
    "INSERT INTO audit_sums AS a (incarnation_id, stream_id, resolution_us, hour, count, high, low, hashed, high_2, low_2)" +
    ' SELECT $1, "streamId", "resolutionUs", at_us("hourUs"), count, 0, 0, count, high::numeric, low::numeric' +
    ' FROM json_to_recordset($2::text::json) AS n ("streamId" int, "resolutionUs" bigint, "hourUs" bigint, count bigint,' +
    " high text, low text) ON CONFLICT (incarnation_id, stream_id, resolution_us, hour) DO UPDATE" +
    " SET count = a.count + excluded.count, hashed = a.hashed + excluded.hashed," +
    " high_2 = mod(a.high_2 + excluded.high_2, 18446744073709551616)," +
    " low_2 = mod(a.low_2 + excluded.low_2, 18446744073709551616)",
  /** Events before `$1` may be gone from here on. */
  expire:
    "INSERT INTO expired (before) VALUES (at_us($1)) ON CONFLICT (id) DO UPDATE" +
    " SET before = greatest(expired.before, excluded.before)",
  snapshot: "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
  /** Days that have events or had some. The names of partitions end with their day. */
  days:
    "SELECT DISTINCT us_of(date_trunc('day', hour, 'UTC'))::float8 AS \"dayUs\" FROM audit_sums" +
    " UNION SELECT us_of(right(c.relname, 8)::date::timestamp AT TIME ZONE 'UTC')::float8 FROM pg_inherits i" +
    " JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'event_rows'::regclass AND c.relname ~ '^event_rows_[0-9]{8}$'" +
    " UNION SELECT DISTINCT us_of(date_trunc('day', time, 'UTC'))::float8 FROM event_rows_other ORDER BY 1",
  booked:
    'SELECT e.name AS edge, i.name AS incarnation, s.name AS stream, a.resolution_us::float8 AS "resolutionUs",' +
    ' us_of(a.hour)::float8 AS "hourUs", a.count::float8 AS count, a.high_2::text AS high, a.low_2::text AS low,' +
    ' a.hashed = a.count AS "isHashed", coalesce(a.hour < (SELECT before FROM expired), false) AS "isExpired"' +
    " FROM audit_sums a JOIN incarnations i ON i.id = a.incarnation_id JOIN edges e ON e.id = i.edge_id" +
    " JOIN streams s ON s.id = a.stream_id WHERE a.hour >= at_us($1) AND a.hour < at_us($2)" +
    " AND ($3::text IS NULL OR s.name = $3) AND ($4::text IS NULL OR e.name = $4)",
  held:
    'SELECT e.name AS edge, i.name AS incarnation, s.name AS stream, n.resolution_us::float8 AS "resolutionUs",' +
    ' us_of(n.hour)::float8 AS "hourUs", n.count::float8 AS count, n.booked AS "isBooked" FROM' +
    " (SELECT b.incarnation_id, r.stream_id, b.resolution_us, date_trunc('hour', r.time, 'UTC') AS hour, count(*) AS count," +
    " bool_and(b.is_booked) AS booked FROM event_rows r JOIN blocks b ON b.id = r.block_id" +
    " WHERE r.time >= at_us($1) AND r.time < at_us($2)" +
    " AND ($3::text IS NULL OR r.stream_id = (SELECT id FROM streams WHERE name = $3))" +
    " AND ($4::text IS NULL OR r.edge_id = (SELECT id FROM edges WHERE name = $4)) GROUP BY 1, 2, 3, 4) n" +
    " JOIN incarnations i ON i.id = n.incarnation_id JOIN edges e ON e.id = i.edge_id JOIN streams s ON s.id = n.stream_id",
} as const;

const DAY_US = 86_400_000_000;
const LANE_DIGITS = 16;

/** What the events of a stream's blocks come to, as rows for `book`. */
export function booksOf(
  sums: readonly {
    readonly streamId: number;
    readonly resolutionUs: number;
    readonly hours: readonly HourSum[];
  }[],
): object[] {
  const rows = new Map<string, { count: number; high: bigint; low: bigint } & Record<string, unknown>>();
  for (const { streamId, resolutionUs, hours } of sums)
    for (const { hourUs, count, hash } of hours) {
      const name = `${streamId} ${resolutionUs} ${hourUs}`;
      const row = rows.get(name) ?? { streamId, resolutionUs, hourUs, count: 0, high: 0n, low: 0n };
      row.count += count;
      row.high = BigInt.asUintN(64, row.high + BigInt(`0x${hash.slice(0, LANE_DIGITS)}`));
      row.low = BigInt.asUintN(64, row.low + BigInt(`0x${hash.slice(LANE_DIGITS)}`));
      rows.set(name, row);
    }
  return [...rows.values()].map((row) => ({ ...row, high: String(row.high), low: String(row.low) }));
}

type Place = Omit<HubSum, "count" | "hash" | "expired">;
type Booked = Place & {
  readonly count: number;
  readonly high: string;
  readonly low: string;
  /** Whether the lanes are of all the events: an earlier release booked another version of the hash. */
  readonly isHashed: boolean;
  readonly isExpired: boolean;
};
type Held = Place & { readonly count: number; readonly isBooked: boolean };

/** By days, each as it is at one moment; cost: its rows are counted. */
export async function auditPostgres(
  db: PostgresDatabase,
  { edge, ...range }: AuditRange & { readonly edge: string | null },
): Promise<HubSum[]> {
  const { stream, from, to } = boundsOf(range);
  const sums: HubSum[] = [];
  const names = [stream, edge].map((name) => (name === null ? null : cleanText(name)));
  for (const { dayUs } of await db.rows<{ dayUs: number }>(AUDIT_SQL.days)) {
    const [first, end] = [Math.max(dayUs, from), Math.min(dayUs + DAY_US, to)];
    if (first >= end) continue;
    const { booked, held } = await db.transaction(async (session: Session) => {
      await session.run(AUDIT_SQL.snapshot);
      const parameters = [first, end, ...names];
      return {
        booked: await session.rows<Booked>(AUDIT_SQL.booked, parameters),
        held: await session.rows<Held>(AUDIT_SQL.held, parameters),
      };
    });
    sums.push(...judge(booked, held));
  }
  return sums;
}

function judge(booked: readonly Booked[], held: readonly Held[]): HubSum[] {
  const there = new Map(held.map((row) => [nameOf(row), row]));
  const sums = booked.map(({ high, low, isHashed, isExpired, count, ...place }): HubSum => {
    const found = there.get(nameOf(place));
    there.delete(nameOf(place));
    const hash = isHashed ? hex(high) + hex(low) : null;
    const left = found?.count ?? 0;
    if (left === count) return { ...place, count, hash };
    if (isExpired && left < count) return { ...place, count, hash, expired: count - left };
    // Rows that an earlier release took are beside those of the books: how many there are is known, and no more.
    return { ...place, count: left, hash: found?.isBooked === false ? null : NO_HASH };
  });
  for (const { isBooked, ...row } of there.values()) sums.push({ ...row, hash: isBooked ? NO_HASH : null });
  return sums;
}

function nameOf({ edge, incarnation, stream, resolutionUs, hourUs }: Place): string {
  return `${edge} ${incarnation} ${stream} ${resolutionUs} ${hourUs}`;
}

function hex(lane: string): string {
  return BigInt(lane).toString(16).padStart(LANE_DIGITS, "0");
}
