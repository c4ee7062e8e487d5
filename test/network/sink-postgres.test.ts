import assert from "node:assert/strict";
import { test } from "node:test";
import { ChaosProxy } from "../support/chaos-proxy.ts";
import { synced } from "../support/fleet.ts";
import { PostgresServer, withoutPostgres } from "../support/postgres.ts";
import { Random } from "../support/random.ts";
import { SinkEdge, type SinkRows } from "../support/sink-fixture.ts";

const skip = withoutPostgres();

function rowsOf(server: PostgresServer, sql: string): Record<string, unknown>[] {
  const text = server.query(sql);
  return text === "" ? [] : text.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
}

const ISO = `'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'`;
const at = (column: string): string => `to_char(${column} AT TIME ZONE 'UTC', ${ISO})`;

function contents(server: PostgresServer, schema = "millrace"): SinkRows {
  return {
    events: rowsOf(server, `SELECT event || jsonb_build_object('edge', edge) FROM ${schema}.events`),
    results: rowsOf(
      server,
      `SELECT jsonb_build_object('window', jsonb_build_object('start', ${at("window_start")}, 'end', ${at("window_end")}),` +
        ` 'key', key, 'values', "values", 'revision', revision, 'kind', kind) FROM ${schema}.results`,
    ),
    alerts: rowsOf(
      server,
      "SELECT jsonb_build_object('alert', alert, 'severity', severity, 'key', key, 'state', state," +
        ` 'since', ${at("since")}, 'value', value, 'revision', revision) FROM ${schema}.alerts`,
    ),
  };
}

test("PostgreSQL holds what the edge holds, each row once, over cut lines, kills of the edge and of the server", {
  skip,
}, async (context) => {
  const server = await PostgresServer.start(context);
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const proxy = await ChaosProxy.start(
    () => `http://127.0.0.1:${server.port}`,
    random,
    context,
    () => random.pick(["pass", "pass", "cut-request", "cut-answer", "delay"]),
  );
  const { port } = new URL(proxy.url);
  const edge = new SinkEdge(`postgres: "postgres://millrace:pw-of-it@127.0.0.1:${port}/postgres"`, context);
  await edge.node.start();
  for (let round = 0; round < 4; round++) {
    await edge.send(4);
    proxy.cut();
    if (round === 1) await server.kill();
    await edge.send(2);
    if (round === 1) await server.start();
    if (round === 2) await edge.node.restart("SIGKILL");
  }
  await edge.end();
  const rows = await edge.assertHolds(contents(server));
  assert.ok(rows > 4_800, `${rows} rows were compared`);
  assert.equal(
    server.query("SELECT count(*) FROM millrace.events WHERE ts = (event->>'ts')::timestamptz"),
    "4800",
  );
  assert.doesNotMatch((await edge.client.request("GET", "/v1/config")).text, /pw-of-it/);
  await edge.node.stop();
});

test("an event that jsonb cannot hold is parked alone", { skip }, async (context) => {
  const server = await PostgresServer.start(context);
  const edge = new SinkEdge(`postgres: { url: "${server.url()}", schema: user }`, context);
  await edge.node.start();
  await edge.send(3);
  await edge.client.send("machines", [
    { ts: Date.UTC(2026, 0, 1), device: "m1", temp: 50, note: "a\u0000b" },
  ]);
  await edge.send(3);
  await synced(edge.node, edge.client, 1);
  assert.equal(server.query('SELECT count(*) FROM "user".events'), "1200");
  const { text } = await edge.client.request("GET", "/v1/dlq");
  assert.match(text, /"sink":"out"/);
  assert.match(text, /22P05|Unicode/);
  await edge.node.stop();
});

test("tables that must not be made are asked for, and parks nothing", { skip }, async (context) => {
  const server = await PostgresServer.start(context);
  const edge = new SinkEdge(`postgres: { url: "${server.url()}", create: false }`, context);
  await edge.node.start();
  await edge.send(1);
  await edge.failsFor(/relation "millrace.batches" does not exist/);
  assert.equal(await edge.parked(), 0);
  await edge.node.stop();
});

test("attributes of devices are as they were set last, and rows of their own", { skip }, async (context) => {
  const server = await PostgresServer.start(context);
  const edge = new SinkEdge(`postgres: "${server.url()}"`, context);
  await edge.node.start();
  const set = async (method: string, device: string, attributes: object): Promise<void> => {
    const path = `/v1/devices/${encodeURIComponent(device)}/attributes`;
    const { status, text } = await edge.client.request(method, path, JSON.stringify(attributes));
    assert.equal(status, 200, text);
  };
  await set("PUT", "m1", { firmware: "1.4", hall: 3, spare: false });
  await set("PUT", "é/2", { firmware: "1.5" });
  await synced(edge.node, edge.client);
  await set("PATCH", "m1", { firmware: "1.6", hall: null });
  await synced(edge.node, edge.client);
  const rows = rowsOf(
    server,
    "SELECT jsonb_build_array(device, attribute, value, removed) FROM millrace.attributes ORDER BY device, attribute",
  );
  assert.deepEqual(rows, [
    ["m1", "firmware", "1.6", false],
    ["m1", "hall", null, true],
    ["m1", "spare", false, false],
    ["é/2", "firmware", "1.5", false],
  ]);
});
