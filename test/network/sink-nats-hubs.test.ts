import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { all, assertSame } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NatsServer, withoutNats } from "../support/nats-server.ts";
import { NodeProcess } from "../support/node-process.ts";
import { PostgresServer, withoutPostgres } from "../support/postgres.ts";
import { Random } from "../support/random.ts";
import { SinkEdge } from "../support/sink-fixture.ts";
import type { Cleanup } from "../support/temp-dir.ts";

const skip = withoutPostgres() || withoutNats();
const DEADLINE_MS = 120_000;
const LISTS = { streams: ["machines"], queries: ["per_device"] };

/** What the server says of the stream. */
async function openManager(nats: NatsServer, cleanup: Cleanup) {
  const connection = await connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  cleanup.after(() => connection.close());
  return jetstreamManager(connection, { checkAPI: false });
}

/** Waits until the group has acknowledged all, and the hubs hold what the edge holds. */
async function consumed(manager: Awaited<ReturnType<typeof openManager>>): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const { num_pending, num_ack_pending } = await manager.consumers.info("MILLRACE", "millrace-hub");
    if (num_pending + num_ack_pending === 0) return;
    assert.ok(performance.now() < deadline, `never consumed: ${num_pending} and ${num_ack_pending} left`);
    await sleep(50);
  }
}

function startHubs(config: string, cleanup: Cleanup) {
  const hubs = [0, 1].map(() => new NodeProcess({ config, command: "hub" }, cleanup));
  const clients = hubs.map((hub) => new HttpClient(() => hub.url));
  for (const client of clients) cleanup.after(() => client.close());
  return { hubs, clients };
}

test("edge, NATS sink, JetStream, two hubs, PostgreSQL: whoever is killed, the hubs hold what the edge holds", {
  skip,
}, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const [server, nats] = [await PostgresServer.start(context), await NatsServer.start(context)];
  const { hubs, clients } = startHubs(
    `store: { postgres: "${server.url()}" }\nnats: { url: "${nats.url}" }\n`,
    context,
  );
  await Promise.all(hubs.map((hub) => hub.start()));
  const edge = new SinkEdge(`nats: "${nats.url}"`, context);
  await edge.node.start();
  for (let round = 0; round < 5; round++) {
    await edge.send(3);
    const victim = random.pick([...hubs, edge.node, nats, server]);
    if (victim instanceof NodeProcess) await victim.kill("SIGKILL");
    else await victim.kill();
    await sleep(random.integer(0, 300));
    await victim.start();
  }
  await edge.end();
  const manager = await openManager(nats, context);
  await consumed(manager);
  for (const client of clients) {
    const rows = await assertSame(edge.client, client, "press-1", LISTS);
    assert.ok(rows > 3_000, `${rows} rows were compared`);
  }
  assert.deepEqual(await all(clients[0]!, "/v1/dlq"), []);
  const { config } = await manager.streams.info("MILLRACE");
  assert.deepEqual(
    [config.retention, config.discard, config.max_bytes, config.max_age],
    ["workqueue", "new", 1024 ** 3, 0],
  );
  await edge.node.stop();
  for (const hub of hubs) await hub.stop();
});

test("a stream that is full refuses: the edge keeps what it has, and all of it arrives once hubs read", {
  skip,
}, async (context) => {
  const [server, nats] = [await PostgresServer.start(context), await NatsServer.start(context)];
  const edge = new SinkEdge(`nats: { url: "${nats.url}", maxBytes: 16KiB, maxAge: 30d }`, context);
  await edge.node.start();
  const manager = await openManager(nats, context);
  for (let at = 0; at < 40; at++) await edge.send(5);
  await edge.failsFor(/maximum bytes exceeded/);
  assert.equal(await edge.parked(), 0);
  const { config, state } = await manager.streams.info("MILLRACE");
  assert.deepEqual([config.max_bytes, config.max_age, config.discard], [16 * 1024, 30 * 86_400e9, "new"]);
  assert.ok(state.bytes <= 16 * 1024);
  const { hubs, clients } = startHubs(
    `store: { postgres: "${server.url()}" }\nnats: { url: "${nats.url}" }\n`,
    context,
  );
  await Promise.all(hubs.map((hub) => hub.start()));
  await edge.end();
  await consumed(manager);
  await assertSame(edge.client, clients[0]!, "press-1", LISTS);
  await edge.node.stop();
  for (const hub of hubs) await hub.stop();
});
