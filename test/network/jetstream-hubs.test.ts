import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { all } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { openPublisher } from "../support/jetstream-publisher.ts";
import { NatsServer, withoutNats } from "../support/nats-server.ts";
import { NodeProcess } from "../support/node-process.ts";
import { PostgresServer, withoutPostgres } from "../support/postgres.ts";
import { Random } from "../support/random.ts";
import { machineEvents, recordBatches } from "../support/recorded-batches.ts";

const skip = withoutPostgres() || withoutNats();
const DEADLINE_MS = 120_000;

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!(await isSo().catch(() => false))) {
    if (performance.now() > deadline) assert.fail(`never: ${what}`);
    await sleep(50);
  }
}

test("hubs share a stream as a group: kills of hubs, of NATS and of PostgreSQL lose nothing, and nothing counts twice", {
  skip,
}, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const [server, nats] = [await PostgresServer.start(context), await NatsServer.start(context)];
  const config = `store: { postgres: "${server.url()}" }\nnats: { url: "${nats.url}" }\n`;
  const hubs = [0, 1].map(() => new NodeProcess({ config, command: "hub" }, context));
  await Promise.all(hubs.map((hub) => hub.start()));
  const [client, other] = hubs.map((hub) => new HttpClient(() => hub.url));
  assert.ok(client && other);
  context.after(() => client.close());
  context.after(() => other.close());
  const publish = await openPublisher(nats.url, context);
  const sent = Array.from({ length: 8 }, (_, at) => ({
    stream: "machines" as const,
    events: machineEvents(at * 300, 300),
  }));
  const batches = await recordBatches("plant.edge-a", sent, context, 60);
  const damaged = Buffer.from(batches[0]!.body);
  damaged[damaged.length >> 1]! ^= 0x10;
  const poison = { edge: "edge-b", key: "00".repeat(20), body: damaged };
  const strange = { ...batches[0]!, edge: "edge-c", key: "11".repeat(20) };
  const published = [...batches, poison, strange];
  for (const [index, batch] of published.entries()) {
    await until("published", async () => (await publish(batch)).seq > 0);
    if (index % 3 !== 1) continue;
    const victim = random.pick([...hubs, server, nats]);
    if (victim instanceof NodeProcess) await victim.kill("SIGKILL");
    else await victim.kill();
    await sleep(random.integer(0, 300));
    await victim.start();
  }
  type Edge = { edge: string; events: number; batches: number };
  await until("all is stored", async () => {
    const { edges } = await client.json<{ edges: Edge[] }>("/v1/edges");
    return edges.some(({ events, batches: taken }) => events === 2_400 && taken === batches.length);
  });
  await until("the bad ones are parked", async () => (await all(other, "/v1/dlq")).length === 2);
  const events = await all(other, "/v1/streams/machines/events");
  assert.equal(events.length, 2_400);
  assert.equal(new Set(events.map(({ n }) => n)).size, 2_400);
  const parked = await all(client, "/v1/dlq");
  const codes = parked.map(({ edge, code }) => `${String(edge)} ${String(code)}`).sort();
  assert.match(codes[0]!, /^edge-b E_(BATCH_|ZSTD)/);
  assert.equal(codes[1], "edge-c E_EDGE_NAME");
  assert.deepEqual(
    (await all(client, "/v1/dlq?edge=edge-c")).map(({ code, key }) => [code, key]),
    [["E_EDGE_NAME", strange.key]],
  );
  context.diagnostic(
    `${published.length} batches, hubs started ${hubs.map(({ starts }) => starts).join(" and ")} times`,
  );
  for (const hub of hubs) await hub.stop();
});
