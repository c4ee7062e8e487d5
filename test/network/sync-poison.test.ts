import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import Database from "better-sqlite3";
import { all, sinkState, synced } from "../support/fleet.ts";
import { freePort } from "../support/free-port.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";

const START_MS = Date.UTC(2026, 0, 1);

test("a block that the hub will not have is parked alone, everything else flows, and it can be sent again", async (context) => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const config = `
node: { id: press-1 }
checkpoint: { every: 3600s }
streams: { machines: { key: device, time: { field: ts, unit: ms }, watermark: { maxAhead: 36500d } } }
sync: { url: "${url}", batch: { events: 100000, every: 1s }, retry: { first: 20ms, longest: 200ms }, probe: 100ms, breaker: { open: 200ms } }
`;
  const edge = new NodeProcess({ config }, context);
  await edge.start();
  const atEdge = new HttpClient(() => edge.url);
  context.after(() => atEdge.close());
  const good: number[] = [];
  // A new block each, since each is acknowledged before the next is sent; nobody listens at the hub's address yet.
  for (let block = 0; block < 16; block++) {
    const events = Array.from({ length: 10 }, (_, n) => ({
      ts: START_MS + block * 1_000 + n,
      device: "m",
      n: block * 10 + n,
    }));
    await atEdge.send("machines", events);
    if (block !== 5) good.push(...events.map(({ n }) => n));
  }
  await edge.stop();
  const file = join(edge.dataDir, "millrace.db");
  const db = new Database(file);
  const seqs = db.prepare("SELECT seq, data FROM blocks ORDER BY seq").all() as {
    seq: number;
    data: Buffer;
  }[];
  assert.equal(seqs.length, 16);
  const bad = seqs[5]!;
  const damaged = Buffer.from(bad.data);
  damaged[damaged.length - 3]! ^= 0x55;
  db.prepare("UPDATE blocks SET data = ? WHERE seq = ?").run(damaged, bad.seq);
  db.close();

  const hub = new NodeProcess({ config: null, command: "hub", listen: url.slice("http://".length) }, context);
  await hub.start();
  const atHub = new HttpClient(() => hub.url);
  context.after(() => atHub.close());
  await edge.start();
  await synced(edge, atEdge, 1);
  const numbers = async (): Promise<number[]> =>
    (await all(atHub, "/v1/streams/machines/events")).map(({ n }) => Number(n)).sort((a, b) => a - b);
  assert.deepEqual(await numbers(), good);
  const parked = (await all(atEdge, "/v1/dlq")).filter(({ code }) => code === "E_SYNC_REJECTED");
  assert.equal(parked.length, 1);
  assert.equal(parked[0]?.rows, 10);
  assert.equal(parked[0]?.stream, "machines");
  assert.match(String(parked[0]?.message), /block \d+ of stream machines cannot be taken/);
  assert.equal((await sinkState(atEdge)).breaker, "closed", "what the hub refuses does not open the breaker");

  // Mended, it goes through.
  await edge.stop();
  const mended = new Database(file);
  mended.prepare("UPDATE blocks SET data = ? WHERE seq = ?").run(bad.data, bad.seq);
  mended.close();
  await edge.start();
  assert.equal((await sinkState(atEdge)).backlog.parked, 1, "a restart leaves it parked");
  const answer = await atEdge.request("POST", "/v1/dlq/replay");
  assert.deepEqual(JSON.parse(answer.text), { batches: 1 });
  await synced(edge, atEdge);
  assert.deepEqual(
    await numbers(),
    Array.from({ length: 160 }, (_, n) => n),
  );
  assert.deepEqual(await all(atEdge, "/v1/dlq"), []);
  await edge.stop();
  await hub.stop();
});
