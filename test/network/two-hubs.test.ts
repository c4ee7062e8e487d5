import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { all, assertSame, synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { EventClock, LoadClient } from "../support/load.ts";
import { NodeProcess } from "../support/node-process.ts";
import { PostgresServer, withoutPostgres } from "../support/postgres.ts";
import { Random } from "../support/random.ts";
import { machineEvents, type RecordedBatch, recordBatches } from "../support/recorded-batches.ts";
import { startRoundRobin } from "../support/round-robin.ts";
import type { Cleanup } from "../support/temp-dir.ts";

const skip = withoutPostgres();
const KILLS = Number(process.env.MILLRACE_KILLS ?? 6);

interface Hubs {
  readonly server: PostgresServer;
  readonly nodes: readonly NodeProcess[];
  readonly clients: readonly HttpClient[];
}

async function startHubs(cleanup: Cleanup): Promise<Hubs> {
  const server = await PostgresServer.start(cleanup);
  const config = `store: { postgres: "${server.url()}" }\n`;
  const nodes = [0, 1].map(() => new NodeProcess({ config, command: "hub" }, cleanup));
  // At once: one of them makes the schema, the other waits for it.
  await Promise.all(nodes.map((node) => node.start()));
  const clients = nodes.map((node) => new HttpClient(() => node.url));
  for (const client of clients) cleanup.after(() => client.close());
  return { server, nodes, clients };
}

function post(client: HttpClient, { edge, key, body }: RecordedBatch) {
  const headers = {
    "content-type": "application/vnd.millrace.batch",
    "idempotency-key": key,
    "millrace-edge": edge,
  };
  return client.request("POST", "/v1/sync", body, headers);
}

test("the same batch at two hubs at the same moment is stored once", { skip }, async (context) => {
  const { clients } = await startHubs(context);
  const sent = Array.from({ length: 6 }, (_, at) => ({
    stream: "machines" as const,
    events: machineEvents(at * 300, 300),
  }));
  const batches = await recordBatches("edge-a", sent, context, 200);
  let stored = 0;
  for (const batch of batches) {
    const answers = await Promise.all([...clients, ...clients].map((client) => post(client, batch)));
    const told = answers.map(({ status, text }) => {
      assert.equal(status, 200, text);
      return JSON.parse(text) as { stored: number; duplicate: boolean };
    });
    assert.equal(told.filter(({ duplicate }) => !duplicate).length, 1, JSON.stringify(told));
    stored += told.reduce((sum, each) => sum + each.stored, 0);
  }
  const events = await all(clients[0]!, "/v1/streams/machines/events");
  const results = await all(clients[1]!, "/v1/queries/per_device/results?revisions=all");
  assert.equal(events.length, 1_800);
  assert.ok(stored >= events.length + results.length, `${stored} stored`);
  const { edges } = await clients[0]!.json<{
    edges: { events: number; batches: number; duplicates: number }[];
  }>("/v1/edges");
  assert.deepEqual(
    edges.map(({ events: held, batches: taken, duplicates }) => [held, taken, duplicates]),
    [[1_800, batches.length, batches.length * 3]],
  );
});

test("while PostgreSQL is away a hub says 503 and when to come again, and is well again by itself", {
  skip,
}, async (context) => {
  const { server, nodes, clients } = await startHubs(context);
  const [client] = clients;
  assert.ok(client);
  const [batch] = await recordBatches(
    "edge-a",
    [{ stream: "machines", events: machineEvents(0, 300) }],
    context,
  );
  assert.ok(batch);
  await server.kill();
  const refused = await post(client, batch);
  assert.equal(refused.status, 503, refused.text);
  assert.match(refused.text, /E_STORE_UNAVAILABLE/);
  assert.ok(Number(refused.headers["retry-after"]) > 0);
  const read = await client.request("GET", "/v1/edges");
  assert.equal(read.status, 503, read.text);
  assert.equal((await client.request("GET", "/readyz")).status, 503);
  await server.start();
  for (const hub of clients) {
    const answer = await post(hub, batch);
    assert.equal(answer.status, 200, answer.text);
    assert.equal((await hub.request("GET", "/readyz")).status, 200);
  }
  const { edges } = await client.json<{ edges: { batches: number; duplicates: number }[] }>("/v1/edges");
  assert.deepEqual(
    edges.map(({ batches, duplicates }) => [batches, duplicates]),
    [[1, 1]],
  );
  for (const node of nodes) await node.stop();
});

const configOf = (url: string): string => `
node: { id: edge-0 }
checkpoint: { every: 10s }
streams:
  load: { key: client, time: { field: ts, unit: ms }, watermark: { bound: 5s, maxAhead: 36500d }, lateness: 5s }
queries:
  per_client: { from: load, window: { tumbling: 1s }, by: [client], select: { n: count(), total: sum(v) } }
alerts:
  positive: { from: per_client, when: total > 0, severity: critical }
sync:
  url: "${url}"
  batch: { events: 200, every: 1s }
  timeout: 2s
  retry: { first: 20ms, longest: 300ms }
  breaker: { open: 300ms }
  probe: 100ms
`;

test(`two hubs behind one address share the work; ${KILLS} kills of either and of PostgreSQL lose nothing`, {
  skip,
}, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const { server, nodes, clients } = await startHubs(context);
  const url = await startRoundRobin(
    nodes.map((node) => () => node.url),
    context,
  );
  const edge = new NodeProcess({ config: configOf(url) }, context);
  await edge.start();
  const atEdge = new HttpClient(() => edge.url);
  context.after(() => atEdge.close());
  const load = new LoadClient({
    client: atEdge,
    stream: "load",
    name: "client-0",
    clock: new EventClock(Date.UTC(2026, 0, 1), 5),
    random: new Random(random.integer(0, 2 ** 31)),
    eventsPerBatch: 40,
  });
  const running = load.run();
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(random.integer(0, 1_500));
    const victim = random.pick([...nodes, server]);
    if (victim instanceof NodeProcess) await victim.kill("SIGKILL");
    else if (random.chance(0.5)) await victim.stop();
    else await victim.kill();
    await sleep(random.integer(0, 500));
    await victim.start();
  }
  load.stop();
  await running;
  await atEdge.watermark("load", { end: true });
  await synced(edge, atEdge);
  const lists = { streams: ["load"], queries: ["per_client"] };
  for (const client of clients) {
    const rows = await assertSame(atEdge, client, "edge-0", lists);
    context.diagnostic(`${rows} rows the same`);
  }
  assert.equal((await all(clients[0]!, "/v1/streams/load/events")).length, load.events.length);
});
