import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess, REPOSITORY_ROOT } from "../support/node-process.ts";
import { PostgresServer, withoutPostgres } from "../support/postgres.ts";
import { machineEvents, recordBatches } from "../support/recorded-batches.ts";

const page = readFileSync(join(REPOSITORY_ROOT, "docs/hub.md"), "utf8");

test("the SQL of docs/hub.md runs on what a hub stored, and its views and tables are there", {
  skip: withoutPostgres(),
}, async (context) => {
  const server = await PostgresServer.start(context);
  const config = `store: { postgres: "\${DATABASE_URL}", retention: 36500d }\n`;
  const environment = { DATABASE_URL: server.url() };
  const hub = new NodeProcess({ config, command: "hub", environment }, context);
  await hub.start();
  const client = new HttpClient(() => hub.url);
  context.after(() => client.close());
  const batches = await recordBatches(
    "press-1",
    [{ stream: "machines", events: machineEvents(0, 2_000) }],
    context,
  );
  for (const { edge, key, body } of batches) {
    const headers = { "idempotency-key": key, "millrace-edge": edge };
    assert.equal((await client.request("POST", "/v1/sync", body, headers)).status, 200);
  }
  const queries = [...page.matchAll(/^```sql\n(.*?)^```/gms)].map(([, sql = ""]) => sql);
  assert.equal(queries.length, 4);
  const answers = queries.map((sql) => server.query(sql));
  const counts = answers[0]!.split("\n").map((line) => Number(line.split("|")[2]));
  assert.equal(counts.length, 7);
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    2_000,
  );
  assert.equal(answers[1]!.split("\n").length, 10);
  assert.match(answers[2]!, /^press-1\|hot\|m\d\|/);
  const names = server
    .query("SELECT relname FROM pg_class WHERE relnamespace = 'millrace'::regnamespace")
    .split("\n");
  const section = page.slice(page.indexOf("## On PostgreSQL"), page.indexOf("## Hubs as a group"));
  const listed = [...section.matchAll(/^\| (`[^|]*)\|/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`(\w+)`/g)].map(([, name = ""]) => name),
  );
  for (const name of listed) assert.ok(names.includes(name), name);
  assert.ok(listed.length > 15);
  const days = names.filter((name) => /^event_rows_\d{8}$/.test(name));
  assert.ok(days.includes("event_rows_20260101"), days.join(" "));
});

test("days beyond the retention are dropped", { skip: withoutPostgres() }, async (context) => {
  const server = await PostgresServer.start(context);
  const config = (retention: string): string => `store: { postgres: "${server.url()}"${retention} }\n`;
  const first = new NodeProcess({ config: config(""), command: "hub" }, context);
  await first.start();
  await first.stop();
  const today = "now() at time zone 'UTC'";
  for (const days of [2, 10, 30]) {
    const day = server.query(`SELECT to_char(${today} - interval '${days} days', 'YYYYMMDD')`);
    const from = `date '${day}'`;
    server.query(
      `SET search_path = millrace; DO $$ BEGIN EXECUTE format('CREATE TABLE event_rows_${day} PARTITION OF event_rows` +
        ` FOR VALUES FROM (%L) TO (%L)', ${from}::text || 'Z', (${from} + 1)::text || 'Z'); END $$;` +
        ` INSERT INTO event_rows VALUES (${from} + interval '12 hours', 1, 1, 1, 1, NULL, NULL, '{}')`,
    );
  }
  const second = new NodeProcess({ config: config(", retention: 7d"), command: "hub" }, context);
  await second.start();
  await second.stop();
  assert.equal(server.query("SELECT count(*) FROM millrace.event_rows"), "1");
  assert.match(second.lines.join("\n"), /"stopped"/);
});
