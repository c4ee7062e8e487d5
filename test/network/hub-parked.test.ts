import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { HubStore } from "../../host/hub/hub-store.ts";
import { PostgresHubStore } from "../../host/hub/postgres-hub-store.ts";
import { SqliteHubStore } from "../../host/hub/sqlite-hub-store.ts";
import { DEFAULT_BATCH_LIMITS } from "../../workers/sync/batch-format.ts";
import { all } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { PostgresServer, withoutPostgres } from "../support/postgres.ts";
import { machineEvents, type RecordedBatch, recordBatches } from "../support/recorded-batches.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const LIMITS = { limits: DEFAULT_BATCH_LIMITS, maxBlockBytes: 512 * 1024 * 1024 };
const ROOM = { batches: 100, bytes: 1e9 };

function parkedOf({ edge, key, body }: RecordedBatch, source: string) {
  return {
    source,
    edge,
    key,
    code: "E_BATCH_TOO_LARGE",
    detail: "once",
    atUs: 1_000,
    body: new Uint8Array(body),
  };
}

/** Parks within limits; then a hub of the store takes again what it can. */
async function check(context: TestContext, store: HubStore, hub: () => NodeProcess): Promise<void> {
  const batches = await recordBatches(
    "edge-a",
    [{ stream: "machines", events: machineEvents(0, 300) }],
    context,
  );
  const [good] = batches;
  assert.ok(good);
  const damaged = { ...good, edge: "edge-b", body: Buffer.from(good.body) };
  damaged.body[damaged.body.length >> 1]! ^= 0x10;
  for (const [index, batch] of batches.entries())
    assert.equal(await store.park(parkedOf(batch, `s/${index}`), ROOM), true);
  assert.equal(await store.park(parkedOf(damaged, "s/bad"), ROOM), true);
  const count = batches.length + 1;
  assert.equal((await store.parkedTotals()).batches, count);
  assert.equal(
    await store.park(parkedOf(good, "s/0"), { batches: 1, bytes: 1 }),
    true,
    "it is there already",
  );
  assert.equal(await store.park(parkedOf(good, "s/more"), { ...ROOM, batches: count }), false);
  const { bytes } = await store.parkedTotals();
  assert.equal(await store.park(parkedOf(good, "s/more"), { ...ROOM, bytes }), false);
  assert.equal((await store.parkedTotals()).batches, count);
  await store.close();

  const node = hub();
  await node.start();
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const listed = await all(client, "/v1/dlq");
  assert.equal(listed.length, count);
  const replay = async (query = ""): Promise<unknown> => {
    const answer = await client.request("POST", `/v1/dlq/replay${query}`);
    return answer.status === 200 ? (JSON.parse(answer.text) as unknown) : answer.status;
  };
  assert.equal(await replay("?id=x"), 400);
  assert.deepEqual(await replay("?edge=edge-b"), { taken: 0, stored: 0, refused: 1, next: null });
  const first = (await replay(`?id=${String(listed[0]?.id)}`)) as { taken: number };
  assert.equal(first.taken, 1);
  const rest = (await replay()) as { taken: number; refused: number };
  assert.deepEqual([rest.taken, rest.refused], [batches.length - 1, 1]);
  assert.equal((await all(client, "/v1/streams/machines/events")).length, 300);
  const left = await all(client, "/v1/dlq");
  assert.deepEqual(
    left.map(({ edge, source }) => [edge, source]),
    [["edge-b", "s/bad"]],
  );
  assert.match(String(left[0]?.code), /^E_(BATCH_|ZSTD)/, "with the reason of now");
  assert.match((await client.request("GET", "/metrics")).text, /millrace_hub_parked_batches 1\n/);
  await node.stop();
}

test("SQLite: parked batches have a limit, are listed, and are taken again by API", async (context) => {
  const dataDir = makeTempDir(context);
  const store = await SqliteHubStore.open(dataDir, LIMITS);
  await check(context, store, () => new NodeProcess({ config: null, command: "hub", dataDir }, context));
});

test("PostgreSQL: the same", { skip: withoutPostgres() }, async (context) => {
  const server = await PostgresServer.start(context);
  const url = server.url();
  const onFailure = (cause: unknown): void => assert.fail(String(cause));
  const store = await PostgresHubStore.open({ url, retentionUs: null, onFailure, ...LIMITS });
  const config = `store: { postgres: "${url}" }\n`;
  await check(context, store, () => new NodeProcess({ config, command: "hub" }, context));
});
