import assert from "node:assert/strict";
import { test } from "node:test";
import { balanceOf, blockSeqs, flipBlockBit, inDatabase, rotCheckpoints } from "../support/damage.ts";
import { startFieldNode } from "../support/field-node.ts";

const CONFIG = `
checkpoint: { every: 1h }
streams:
  s: { key: k, time: { field: ts }, watermark: { bound: 1h, maxAhead: 36500d } }
queries:
  q: { from: s, window: { tumbling: 10s }, select: { n: count() } }
`;
const START_MS = Date.UTC(2026, 0, 1);

interface Loss {
  readonly stream: string;
  readonly from: string;
  readonly to: string;
  readonly count: number;
  readonly reason: string;
}

test("hard-reset-loop: damaged blocks never keep the node from starting: set aside, named, the rest served and counted", async (context) => {
  const { node, client } = await startFieldNode(CONFIG, context);
  const times = Array.from({ length: 10 }, (_, n) => START_MS + n * 1_000);
  for (const ts of times) await client.send("s", [{ k: "a", ts }]);
  await node.kill("SIGKILL");
  const seqs = blockSeqs(node.dataDir);
  for (const [n, at] of [
    [2, 0.1],
    [5, 0.5],
    [8, 0.99],
  ] as const)
    flipBlockBit(node.dataDir, seqs[n]!, at);

  await node.start();
  const kept = (await client.events("s")).map(({ ts }) => Date.parse(String(ts)));
  assert.deepEqual(
    kept,
    times.filter((_, n) => ![2, 5, 8].includes(n)),
  );
  const losses = (await client.request("GET", "/v1/losses")).text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Loss);
  assert.deepEqual(
    losses.map(({ stream, from, to, count, reason }) => [
      stream,
      Date.parse(from),
      Date.parse(to),
      count,
      reason,
    ]),
    [2, 5, 8].map((n) => ["s", times[n], times[n], 1, "corrupt"]),
  );
  const named = node.lines.filter((line) => line.includes("a damaged block was set aside"));
  assert.equal(named.length, 3);
  await client.send("s", [{ k: "a", ts: START_MS + 9_999 }]);
  await client.watermark("s", { end: true });
  assert.deepEqual(
    (await client.results("q")).map(({ values }) => values.n),
    [8],
    "windows have what is left, and go on",
  );
  await node.stop();
  assert.deepEqual(balanceOf(node.dataDir, "s"), { accepted: 11, held: 8, corrupt: 3 });
  const bytes = inDatabase(node.dataDir, (db) =>
    db.prepare("SELECT seq FROM corrupt_blocks WHERE length(data) > 0 ORDER BY seq").pluck().all(),
  );
  assert.deepEqual(bytes, [seqs[2], seqs[5], seqs[8]], "their bytes are kept for a look at them");
  await node.start();
  assert.equal((await client.events("s")).length, 8, "and the next start finds nothing to do");
});

test("hard-reset-loop: a damaged checkpoint gives way to its spare, and without one to the whole log", async (context) => {
  const { node, client } = await startFieldNode(CONFIG, context);
  for (let n = 0; n < 4; n++) {
    await client.send("s", [{ k: "a", ts: START_MS + n * 1_000 }]);
    await node.stop();
    await node.start();
  }
  for (const where of ["segment = (SELECT max(last_segment) FROM checkpoints)", "1"]) {
    await node.kill("SIGKILL");
    rotCheckpoints(node.dataDir, where);
    const before = node.lines.length;
    await node.start();
    assert.ok(node.lines.slice(before).some((line) => line.includes("a checkpoint is damaged")));
  }
  await client.watermark("s", { end: true });
  assert.deepEqual(
    (await client.results("q")).map(({ values }) => values.n),
    [4],
  );
});
