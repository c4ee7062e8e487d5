import assert from "node:assert/strict";
import { test } from "node:test";
import { PostgresDatabase } from "../../workers/hub/postgres/connection.ts";
import { Partitions } from "../../workers/hub/postgres/partitions.ts";
import { PostgresServer, withoutPostgres } from "../support/postgres.ts";

const skip = withoutPostgres();
const FIRST_DAY = Math.floor(Date.UTC(2026, 10, 22) / 86_400_000);
const DAYS = Array.from({ length: 150 }, (_, index) => FIRST_DAY + index);

test("several hubs make the same days at the same moment: none fails, and each day is there once", {
  skip,
}, async (context) => {
  const server = await PostgresServer.start(context);
  const hubs = await Promise.all([0, 1, 2].map(() => PostgresDatabase.create(server.url(), 1)));
  context.after(() => Promise.all(hubs.map((hub) => hub.close())));
  for (const hub of hubs) await hub.migrate();
  await Promise.all(hubs.map((hub) => new Partitions(hub).ensure(DAYS)));
  const attached = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'millrace.event_rows'::regclass";
  // Beside them that of all other days.
  assert.equal(server.query(attached), String(DAYS.length + 1));
});

/**
 * What PostgreSQL answers depends on how far the other hub is: the name of the table is taken (42P07), its place in the
 * catalogue (23505), or, where the other is done between the two looks, the name of its row type (42710).
 */
test("a day whose name has become a type's between two looks of PostgreSQL is no failure", {
  skip,
}, async (context) => {
  const server = await PostgresServer.start(context);
  const hub = await PostgresDatabase.create(server.url(), 1);
  context.after(() => hub.close());
  await hub.migrate();
  server.query("CREATE DOMAIN millrace.event_rows_20261125 AS integer");
  const [before, day, after] = [2, 3, 4].map((ahead) => FIRST_DAY + ahead) as [number, number, number];
  await new Partitions(hub).ensure([before, day, after]);
  const tables =
    "SELECT count(*) FROM pg_tables WHERE tablename IN ('event_rows_20261124', 'event_rows_20261126')";
  assert.equal(server.query(tables), "2");
});
