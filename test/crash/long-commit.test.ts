import assert from "node:assert/strict";
import { test } from "node:test";
import { inDatabase } from "../support/damage.ts";
import { startFieldNode } from "../support/field-node.ts";

const CONFIG = `
durability: { groupCommit: 400ms }
streams:
  a: { key: k, time: { field: ts }, watermark: { maxAhead: 36500d } }
  b: { key: k, time: { field: ts }, watermark: { maxAhead: 36500d } }
queries:
  q: { from: a, window: { tumbling: 1m }, select: { n: count() } }
`;
const START_MS = Date.UTC(2026, 0, 1);
const REQUESTS = 60;

test("with a long groupCommit requests of a stream gather into few blocks, each answered for itself, keys apart", async (context) => {
  const { node, client } = await startFieldNode(CONFIG, context);
  const answers = await Promise.all(
    Array.from({ length: REQUESTS }, async (_, n) => {
      const stream = n % 3 === 0 ? "b" : "a";
      const events = Array.from({ length: 1 + (n % 4) }, () => ({ k: "d", ts: START_MS + n, n }));
      const key = n % 10 === 7 ? { idempotencyKey: `key-${n}` } : {};
      const { status, text } = await client.post(stream, events, key);
      return { status, accepted: (JSON.parse(text) as { accepted: number }).accepted, wanted: events.length };
    }),
  );
  for (const { status, accepted, wanted } of answers) assert.deepEqual([status, accepted], [200, wanted]);
  const blocks = inDatabase(node.dataDir, (db) =>
    db.prepare("SELECT count(*) FROM blocks").pluck().get(),
  ) as number;
  const keyed = Array.from({ length: REQUESTS }, (_, n) => n).filter((n) => n % 10 === 7).length;
  assert.ok(blocks >= keyed + 2 && blocks < REQUESTS / 2, `${blocks} blocks`);
  const again = await client.post("a", [{ k: "d", ts: START_MS + 7, n: 7 }], { idempotencyKey: "key-7" });
  assert.match(again.text, /"duplicate":true/);
  const all = [...(await client.events("a")), ...(await client.events("b"))];
  assert.equal(
    all.length,
    answers.reduce((sum, { wanted }) => sum + wanted, 0),
  );
});

test("what gathers at a stop is stored and answered before the node ends; what a kill meets was not acknowledged", async (context) => {
  const { node, client } = await startFieldNode(CONFIG.replace("400ms", "2s"), context);
  const sent = [0, 1, 2].map((n) => client.post("a", [{ k: "d", ts: START_MS + n, n }]));
  // One answer of another kind: the requests before it have come in.
  await client.request("GET", "/v1/status");
  await node.stop();
  for (const answer of sent) assert.equal((await answer).status, 200);
  await node.start();
  assert.equal((await client.events("a")).length, 3);
  const lost = client.post("a", [{ k: "d", ts: START_MS + 9, n: 9 }]).then(
    ({ status }) => status,
    () => null,
  );
  await client.request("GET", "/v1/status");
  await node.kill("SIGKILL");
  assert.equal(await lost, null);
  await node.start();
  assert.equal((await client.events("a")).length, 3);
});
