import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import Database from "better-sqlite3";
import { balanceOf, blockSeqs, flipBlockBit } from "../support/damage.ts";
import { startFieldNode } from "../support/field-node.ts";
import { all, synced } from "../support/fleet.ts";
import { freePort } from "../support/free-port.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";

/** vector #18336, #19379: one undecodable record stopped reading, and the buffer grew until the disk was full. */
test("reader-stuck: what cannot be read is passed over and named, and sync goes on behind it", async (context) => {
  const port = await freePort();
  const config = `
node: { id: press-1 }
streams: { machines: { key: device, time: { field: ts, unit: ms }, watermark: { maxAhead: 36500d } } }
sync: { url: "http://127.0.0.1:${port}", batch: { events: 1000, every: 1s }, retry: { first: 20ms, longest: 200ms }, probe: 100ms, breaker: { open: 200ms } }
`;
  const edge = new NodeProcess({ config }, context);
  await edge.start();
  const atEdge = new HttpClient(() => edge.url);
  context.after(() => atEdge.close());
  const send = (n: number): Promise<unknown> =>
    atEdge.send("machines", [{ ts: Date.UTC(2026, 0, 1) + n, device: "m", n }]);
  for (let n = 0; n < 5; n++) await send(n);
  await edge.stop();
  const db = new Database(join(edge.dataDir, "millrace.db"));
  db.prepare("UPDATE blocks SET data = x'00112233' WHERE seq = (SELECT min(seq) FROM blocks)").run();
  db.close();
  const hub = new NodeProcess({ config: null, command: "hub", listen: `127.0.0.1:${port}` }, context);
  await hub.start();
  const atHub = new HttpClient(() => hub.url);
  context.after(() => atHub.close());
  await edge.start();
  await synced(edge, atEdge, 1);
  for (let n = 5; n < 8; n++) await send(n);
  await synced(edge, atEdge, 1);
  const numbers = (await all(atHub, "/v1/streams/machines/events")).map(({ n }) => n);
  assert.deepEqual(numbers, [1, 2, 3, 4, 5, 6, 7]);
  const named = await all(atEdge, "/v1/dlq");
  assert.deepEqual(
    named.map(({ code, rows, stream }) => [code, rows, stream]),
    [["E_SYNC_REJECTED", 1, "machines"]],
  );
});

test("reader-stuck: a block that cannot be decoded is skipped, put into the ledger, and everything behind it is read and merged", async (context) => {
  const { node, client } = await startFieldNode("checkpoint: { every: 100ms }", context);
  for (let n = 0; n < 30; n++) await client.send("s", [{ ts: Date.UTC(2026, 0, 1) + n, n }]);
  await node.stop();
  // Behind the checkpoint, where a start does not look: it is met by who reads.
  flipBlockBit(node.dataDir, blockSeqs(node.dataDir)[4]!);
  await node.start();
  const numbers = Array.from({ length: 30 }, (_, n) => n).filter((n) => n !== 4);
  assert.deepEqual(
    (await client.events("s")).map(({ n }) => n),
    numbers,
  );
  const losses = async (): Promise<unknown[]> =>
    (await client.request("GET", "/v1/losses")).text
      .split("\n")
      .filter(Boolean)
      .map((line) => (JSON.parse(line) as { reason: string }).reason);
  // It is set aside behind the answer, by the one who writes: which the next write waits for.
  await client.send("s", [{ ts: Date.UTC(2026, 0, 1) + 30, n: 30 }]);
  assert.deepEqual(await losses(), ["corrupt"]);
  assert.equal(node.lines.filter((line) => line.includes("a damaged block was set aside")).length, 1);
  assert.deepEqual(
    (await client.events("s")).map(({ n }) => n),
    [...numbers, 30],
  );
  await node.stop();
  assert.deepEqual(balanceOf(node.dataDir, "s"), { accepted: 31, held: 30, corrupt: 1 });
});
