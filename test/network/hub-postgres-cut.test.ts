import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PostgresDatabase } from "../../workers/hub/postgres/connection.ts";
import { ChaosProxy, type Mishap } from "../support/chaos-proxy.ts";
import { all } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { PostgresServer, withoutPostgres } from "../support/postgres.ts";
import { Random } from "../support/random.ts";
import { machineEvents, type RecordedBatch, recordBatches } from "../support/recorded-batches.ts";
import type { Cleanup } from "../support/temp-dir.ts";

const skip = withoutPostgres();
const BATCHES = 12;
const EVENTS = 400;
const DEADLINE_MS = 240_000;
const BAD_CONNECTIONS = 40;
const CUTS = 40;

interface Scene {
  readonly server: PostgresServer;
  readonly proxy: ChaosProxy;
  readonly hub: NodeProcess;
  readonly client: HttpClient;
  readonly batches: readonly RecordedBatch[];
  readonly random: Random;
}

/** A hub whose way to PostgreSQL leads through a proxy, and batches that an edge made. */
async function scene(cleanup: Cleanup, choose: (random: Random) => Mishap): Promise<Scene> {
  const random = Random.fromEnvironment();
  const server = await PostgresServer.start(cleanup);
  const proxy = await ChaosProxy.start(
    () => `http://127.0.0.1:${server.port}`,
    random,
    cleanup,
    () => choose(random),
  );
  const sent = Array.from({ length: BATCHES }, (_, at) => ({
    stream: "machines" as const,
    events: machineEvents(at * EVENTS, EVENTS),
  }));
  const batches = await recordBatches("edge-a", sent, cleanup, EVENTS);
  const hub = new NodeProcess(
    {
      config: `store: { postgres: "postgres://millrace@${new URL(proxy.url).host}/postgres" }\n`,
      command: "hub",
    },
    cleanup,
  );
  await hub.start();
  const client = new HttpClient(() => hub.url);
  cleanup.after(() => client.close());
  return { server, proxy, hub, client, batches, random };
}

/** Sends a batch as an edge does: again, until it is answered 200. @returns the statuses on the way. */
async function deliver({ client, hub }: Scene, { edge, key, body }: RecordedBatch): Promise<number[]> {
  const headers = {
    "content-type": "application/vnd.millrace.batch",
    "idempotency-key": key,
    "millrace-edge": edge,
  };
  const statuses: number[] = [];
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const answer = await client.request("POST", "/v1/sync", body, headers);
    statuses.push(answer.status);
    if (answer.status === 200) return statuses;
    assert.equal(answer.status, 503, `${answer.text}\n${hub.tail()}`);
    assert.match(answer.text, /"E_STORE_(UNAVAILABLE|BUSY)"/, hub.tail());
    assert.ok(Number(answer.headers["retry-after"]) > 0);
    assert.ok(performance.now() < deadline, `never taken: ${answer.text}\n${hub.tail()}`);
    await sleep(50);
  }
}

/** Every event once, whatever was cut on the way; and the hub lives. */
async function assertWhole({ server, hub, client }: Scene): Promise<void> {
  const events = await all(client, "/v1/streams/machines/events");
  assert.equal(new Set(events.map(({ n }) => n)).size, BATCHES * EVENTS);
  assert.equal(events.length, BATCHES * EVENTS);
  assert.equal(hub.starts, 1);
  // What is known of the client's ways is avoided, so that no thread need be given up.
  assert.deepEqual(
    hub.lines.filter((line) => line.includes("the thread that talks to PostgreSQL ended")),
    [],
  );
  assert.equal((await client.request("GET", "/readyz")).status, 200);
  assert.equal(
    server.query(
      "SELECT count(*) FROM millrace.blocks b WHERE NOT EXISTS (SELECT 1 FROM millrace.event_rows r WHERE r.block_id = b.id)",
    ),
    "0",
  );
  await hub.stop();
}

test("the line to PostgreSQL is cut in the middle of batches: the hub lives, each is there once", {
  skip,
}, async (context) => {
  // So many, and then the line is well: on a slow machine nothing might ever come through otherwise.
  let [connections, cuts] = [0, 0];
  const here = await scene(context, (random) =>
    connections++ < BAD_CONNECTIONS
      ? random.pick(["pass", "pass", "pass", "cut-request", "cut-answer", "delay"])
      : "pass",
  );
  const { proxy, batches, random } = here;
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  let isDone = false;
  const cutting = (async () => {
    while (!isDone && cuts < CUTS) {
      cuts++;
      await sleep(random.integer(20, 400));
      proxy.cut();
    }
  })();
  const refused: number[] = [];
  try {
    for (const batch of batches) refused.push((await deliver(here, batch)).length - 1);
  } finally {
    isDone = true;
    await cutting;
  }
  await assertWhole(here);
  context.diagnostic(`${cuts} cuts of ${connections} connections; refused ${refused.join(" ")} times`);
});

test("PostgreSQL is killed and stopped in the middle of batches: the hub lives, each is there once", {
  skip,
}, async (context) => {
  const here = await scene(context, () => "pass");
  const { server, batches, random } = here;
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const refused: number[] = [];
  for (const [index, batch] of batches.entries()) {
    const delivered = deliver(here, batch);
    await sleep(random.integer(0, 40));
    delivered.catch(() => undefined);
    if (index % 2 === 0) {
      await (random.chance(0.5) ? server.kill() : server.stop());
      await sleep(random.integer(0, 300));
      await server.start();
    }
    refused.push((await delivered).length - 1);
  }
  await assertWhole(here);
  context.diagnostic(`refused ${refused.join(" ")} times`);
});

test("a server that says nothing any more is given up, and the next statement finds another connection", {
  skip,
}, async (context) => {
  const server = await PostgresServer.start(context);
  // Time enough for a connection and an answer where many share the machine.
  const database = await PostgresDatabase.create(server.url(), 1, 4_000);
  context.after(() => database.close());
  const silent = { code: "E_STORE_UNAVAILABLE", message: /said nothing for 4 s/ };
  await assert.rejects(database.rows("SELECT pg_sleep(50)"), silent);
  await assert.rejects(
    database.transaction((session) => session.rows("SELECT pg_sleep(50)")),
    silent,
  );
  assert.equal((await database.rows<{ one: number }>("SELECT 1 AS one"))[0]?.one, 1);
});
