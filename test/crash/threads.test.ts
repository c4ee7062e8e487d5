import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess, REPOSITORY_ROOT } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const CONFIG = `
streams: { s: { key: k, time: { field: ts, unit: ms }, watermark: { bound: 1h, maxAhead: 36500d } } }
queries: { q: { from: s, window: { tumbling: 10s }, select: { n: count() } } }
`;

/** A node of which a worker thread ends in the named work, once `arm` was called. */
async function mortalNode(context: TestContext, name: string, settings = "") {
  const file = join(makeTempDir(context), "armed");
  const environment = {
    NODE_OPTIONS: `--import ${join(REPOSITORY_ROOT, "test/support/die.js")}`,
    MILLRACE_DIE: name,
    MILLRACE_DIE_FILE: file,
  };
  const node = new NodeProcess({ config: `${CONFIG}${settings}`, environment }, context);
  await node.start();
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  return { node, client, arm: () => writeFileSync(file, "") };
}

async function countAfterEnd(client: HttpClient): Promise<unknown> {
  await client.watermark("s", { end: true });
  return (await client.results("q")).map(({ values }) => values.n);
}

test("an ingest thread that dies: its batch is refused, another takes its place", async (context) => {
  const { node, client, arm } = await mortalNode(context, "parseBody");
  await client.send("s", [{ k: "a", ts: 1_000 }]);
  arm();
  assert.equal((await client.post("s", [{ k: "a", ts: 2_000 }])).status, 503);
  await client.send("s", [{ k: "a", ts: 2_000 }]);
  await client.send("s", [{ k: "a", ts: 3_000 }]);
  assert.deepEqual(await countAfterEnd(client), [3]);
  await node.stop();
});

test("the query thread that dies: one read fails, the next is answered, and no event is in its way", async (context) => {
  const { node, client, arm } = await mortalNode(context, "codecDecode");
  await client.send("s", [{ k: "a", ts: 1_000 }]);
  arm();
  assert.ok((await client.request("GET", "/v1/streams/s/events")).status >= 500);
  await client.send("s", [{ k: "a", ts: 2_000 }]);
  assert.equal((await client.events("s")).length, 2);
  await node.stop();
});

test("the window thread that dies while it merges small blocks: no other goes on in its place without windows", async (context) => {
  const { node, client, arm } = await mortalNode(context, "codecReserve", "checkpoint: { every: 1s }");
  const expected = 40;
  for (let ts = 0; ts < expected; ts++) await client.send("s", [{ k: "a", ts }]);
  arm();
  assert.equal(await node.exited(), 1, "no event comes meanwhile");
  assert.ok(
    node.lines.some((line) => line.includes('"level":60') && line.includes("a restart")),
    node.tail(),
  );
  await node.start();
  assert.deepEqual(await countAfterEnd(client), [expected]);
  await node.stop();
});

for (const [name, what] of [
  ["windowsMerge", "window thread"],
  ["COMMIT", "storage thread"],
] as const) {
  test(`the ${what} that dies: the node stops and says why; a restart has everything that was acknowledged`, async (context) => {
    const { node, client, arm } = await mortalNode(context, name);
    await client.send("s", [{ k: "a", ts: 1_000 }], { idempotencyKey: "1" });
    arm();
    const answer = await client.post("s", [{ k: "a", ts: 2_000 }], { idempotencyKey: "2" }).catch(() => null);
    if (name === "COMMIT") assert.notEqual(answer?.status, 200, "nothing was stored");
    assert.equal(await node.exited(), 1);
    assert.ok(
      node.lines.some((line) => line.includes('"level":60') && line.includes("a restart")),
      node.tail(),
    );
    await node.start();
    await client.send("s", [{ k: "a", ts: 2_000 }], { idempotencyKey: "2" });
    await client.send("s", [{ k: "a", ts: 3_000 }], { idempotencyKey: "3" });
    assert.deepEqual(await countAfterEnd(client), [3]);
    await node.stop();
  });
}
