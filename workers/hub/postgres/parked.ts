import type {
  NextParked,
  NextParkedTask,
  ParkedBatch,
  ParkedLimits,
  ParkedTotals,
  SettleParkedTask,
} from "../parked.ts";
import { cleanText } from "./clean-text.ts";
import type { PostgresDatabase } from "./connection.ts";
import { WRITES } from "./statements.ts";

const SQL = {
  isThere: "SELECT 1 FROM parked WHERE source = $1",
  totals: "SELECT count(*)::float8 AS batches, coalesce(sum(length(body)), 0)::float8 AS bytes FROM parked",
  next:
    "SELECT id::float8 AS id, edge, key, encode(body, 'base64') AS body FROM parked WHERE id > $1" +
    " AND ($2::text IS NULL OR edge = $2) ORDER BY id LIMIT 1",
  remove: "DELETE FROM parked WHERE id = $1",
  refuse: "UPDATE parked SET code = $2, detail = $3 WHERE id = $1",
} as const;

/**
 * As `parkBatch`. Several hubs that park at the same moment may each find room: there is then more by as many as there are hubs.
 */
export async function parkInPostgres(
  db: PostgresDatabase,
  { source, edge, key, code, detail, atUs, body }: ParkedBatch,
  limits: ParkedLimits,
): Promise<boolean> {
  if ((await db.rows(SQL.isThere, [cleanText(source)])).length > 0) return true;
  const { batches, bytes } = await parkedTotals(db);
  if (batches >= limits.batches || bytes + body.length > limits.bytes) return false;
  const texts = [source, edge, key, code, detail].map(cleanText);
  await db.run(WRITES.park, [...texts, atUs, Buffer.from(body).toString("base64")]);
  return true;
}

export async function parkedTotals(db: PostgresDatabase): Promise<ParkedTotals> {
  const [totals] = await db.rows<ParkedTotals>(SQL.totals);
  return totals ?? { batches: 0, bytes: 0 };
}

export async function nextParked(
  db: PostgresDatabase,
  { edge, after }: NextParkedTask,
): Promise<NextParked | null> {
  type Row = Omit<NextParked, "body"> & { readonly body: string };
  const [row] = await db.rows<Row>(SQL.next, [after, edge === null ? null : cleanText(edge)]);
  return row === undefined ? null : { ...row, body: new Uint8Array(Buffer.from(row.body, "base64")) };
}

export async function settleInPostgres(
  db: PostgresDatabase,
  { id, refusal }: SettleParkedTask,
): Promise<void> {
  if (refusal === null) await db.run(SQL.remove, [id]);
  else await db.run(SQL.refuse, [id, cleanText(refusal.code), cleanText(refusal.detail)]);
}
