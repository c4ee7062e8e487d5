import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { diagnose } from "../../workers/store/repair/doctor.ts";
import { inDatabase, overwritePage } from "../support/damage.ts";
import { startFieldNode } from "../support/field-node.ts";
import { HttpClient } from "../support/http-client.ts";
import { NoWrites } from "../support/no-writes.ts";
import { spawnNode } from "../support/node-process.ts";

const START_MS = Date.UTC(2026, 0, 1);
const PATIENCE_MS = 240_000;
const CONFIG = `
streams:
  s: { key: k, time: { field: ts }, watermark: { bound: 0s, maxAhead: 36500d } }
queries:
  q: { from: s, window: { tumbling: 10s }, select: { n: count() } }
`;

test("damage that a commit meets stops the node with a reason; the next start saves what is there", async (context) => {
  const { node, client } = await startFieldNode(CONFIG, context);
  const times = Array.from({ length: 20 }, (_, n) => START_MS + n * 1_000);
  for (const ts of times) await client.send("s", [{ k: "a", ts }]);
  await node.restart("SIGTERM");
  const page = inDatabase(
    node.dataDir,
    (db) =>
      db.prepare("SELECT rootpage FROM sqlite_master WHERE name = 'dead_letters'").pluck().get() as number,
  );
  // Of a table that nothing has looked into since the start: it is met when a row is to go there.
  overwritePage(node.dataDir, page);
  const fresh = new HttpClient(() => node.url);
  context.after(() => fresh.close());
  const answer = await fresh.post("s", "no event\n");
  assert.equal(answer.status, 503, answer.text);
  assert.match(answer.text, /database disk image is malformed/);
  assert.equal(await node.exited(), 1);
  assert.ok(node.lines.some((line) => line.includes("the store is lost to this process")));
  assert.ok(node.lines.some((line) => line.includes("the node cannot go on and stops")));
  await node.start();
  assert.ok(node.lines.some((line) => line.includes("the database was made anew")));
  const again = new HttpClient(() => node.url);
  context.after(() => again.close());
  assert.deepEqual(
    (await again.events("s")).map(({ ts }) => Date.parse(String(ts))),
    times,
  );
  assert.equal((await again.post("s", "no event\n")).status, 422, "it is set aside now");
  await again.watermark("s", { end: true });
  assert.deepEqual(
    (await again.results("q")).map(({ values }) => values.n),
    [10, 10],
  );
});

test("a disk that goes read-only while the node runs: 503 with a reason, and it goes on by itself", async (context) => {
  const disk = NoWrites.prepare(context);
  if (disk === null) return context.skip("it needs Linux and a C compiler");
  const { dataDir, environment } = disk;
  const node = await spawnNode({ config: CONFIG, dataDir, environment }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  let taken = 0;
  const post = async (): Promise<{ status: number; text: string }> => {
    const answer = await client.post("s", [{ k: "a", ts: START_MS + taken * 1_000 }]);
    if (answer.status === 200) taken++;
    return answer;
  };
  for (let n = 0; n < 5; n++) assert.equal((await post()).status, 200);
  disk.begin();
  const refused = await post();
  assert.equal(refused.status, 503, refused.text);
  assert.match(refused.text, /does not take what is written.*goes on by itself/);
  for (let n = 0; n < 5; n++) {
    assert.equal((await post()).status, 503);
    await sleep(300);
  }
  assert.equal((await client.events("s")).length, 5, "what is stored can be read");
  assert.ok(node.isRunning);
  disk.end();
  const until = performance.now() + PATIENCE_MS;
  while ((await post()).status !== 200) {
    assert.ok(performance.now() < until, node.tail());
    await sleep(50);
  }
  for (let n = 0; n < 5; n++) assert.equal((await post()).status, 200);
  await client.watermark("s", { end: true });
  const results = await client.results("q");
  assert.equal(
    results.reduce((sum, { values }) => sum + values.n!, 0),
    taken,
  );
  await node.kill("SIGKILL");
  await node.start();
  assert.equal((await client.events("s")).length, taken);
  await node.stop();
  const look = await diagnose({ dir: dataDir, masters: null, mode: "look", nowUs: Date.now() * 1_000 });
  assert.deepEqual(look.findings, []);
});
