import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { NodeProcess, REPOSITORY_ROOT } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const CONFIG = `
streams: { s: { key: k, time: { field: ts, unit: ms }, watermark: { bound: 1h, maxAhead: 36500d } } }
queries: { q: { from: s, window: { tumbling: 10s }, select: { n: count() } } }
`;

/** A node in which the named function of the core traps at its next call, once `arm` was called. */
async function trappedNode(context: TestContext, name: string): Promise<{ node: NodeProcess; arm(): void }> {
  const file = join(makeTempDir(context), "armed");
  const environment = {
    NODE_OPTIONS: `--import ${join(REPOSITORY_ROOT, "test/support/trap.js")}`,
    MILLRACE_TRAP: name,
    MILLRACE_TRAP_FILE: file,
  };
  const node = new NodeProcess({ config: CONFIG, environment }, context);
  await node.start();
  return { node, arm: () => writeFileSync(file, "") };
}

async function send(node: NodeProcess, ts: number): Promise<Response> {
  const headers = { "content-type": "application/x-ndjson" };
  const body = `{"k":"a","ts":${ts}}`;
  return fetch(`${node.url}/v1/streams/s/events`, { method: "POST", headers, body });
}

async function countAfterEnd(node: NodeProcess): Promise<unknown> {
  const headers = { "content-type": "application/json" };
  await fetch(`${node.url}/v1/streams/s/watermark`, { method: "POST", headers, body: '{"end":true}' });
  const row = JSON.parse(await (await fetch(`${node.url}/v1/queries/q/results`)).text()) as {
    values: { n: unknown };
  };
  return row.values.n;
}

for (const name of ["parseBody", "localAggregate", "codecEncode"]) {
  test(`a trap in ${name} refuses that batch with 503, and the next is taken`, async (context) => {
    const { node, arm } = await trappedNode(context, name);
    assert.equal((await send(node, 1_000)).status, 200);
    arm();
    const refused = await send(node, 2_000);
    assert.equal(refused.status, 503);
    assert.ok(refused.headers.get("retry-after"));
    assert.equal((await send(node, 2_000)).status, 200);
    assert.equal((await send(node, 3_000)).status, 200);
    assert.equal(await countAfterEnd(node), 3);
    await node.stop();
  });
}

test("a trap in the windows stops the node with a reason; a restart has every event", async (context) => {
  const { node, arm } = await trappedNode(context, "windowsMerge");
  assert.equal((await send(node, 1_000)).status, 200);
  // A read waits until the windows have what was acknowledged before it.
  assert.equal((await fetch(`${node.url}/v1/streams`)).status, 200);
  arm();
  // Stored before the windows see it; whether the answer still comes through is a race with the end of the process.
  await send(node, 2_000).catch(() => null);
  assert.equal(await node.exited(), 1);
  assert.ok(node.lines.some((line) => line.includes("a restart replays the log")));
  await node.start();
  assert.equal((await send(node, 3_000)).status, 200);
  assert.equal(await countAfterEnd(node), 3);
});
