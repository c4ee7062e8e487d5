import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { blockSeqs, giveUpUpTo, rotCheckpoints } from "../support/damage.ts";
import { startFieldNode } from "../support/field-node.ts";
import type { HttpClient } from "../support/http-client.ts";
import type { NodeProcess } from "../support/node-process.ts";

/** Windows of every kind; hours are open at the crash, all others were given. */
const CONFIG = `
checkpoint: { every: 50ms }
streams:
  s: { key: k, time: { field: ts, unit: ms }, watermark: { bound: 0s, maxAhead: 36500d }, lateness: 1h }
queries:
  tumbling: { from: s, window: { tumbling: 10s }, select: { n: count() } }
  sliding: { from: s, window: { sliding: 20s, every: 10s }, select: { n: count() } }
  sessions: { from: s, window: { session: 5s }, select: { n: count() } }
  counts: { from: s, window: { count: 7 }, select: { n: count() } }
  hours: { from: s, window: { tumbling: 1h }, select: { n: count() } }
`;
const QUERIES = ["tumbling", "sliding", "sessions", "counts"];
const START_MS = Date.UTC(2026, 0, 1);
const BLOCKS = 120;

interface Result {
  readonly window: { readonly start: string; readonly end: string };
  readonly key: object;
  readonly revision: number;
  readonly values: { readonly n: number };
}

/** Rows by window, key and revision. */
async function given(client: HttpClient, query: string): Promise<Map<string, number>> {
  const { text } = await client.request("GET", `/v1/queries/${query}/results?revisions=all&limit=10000`);
  const rows = text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Result);
  return new Map(
    rows.map(({ window, key, revision, values }) => [
      `${window.start} ${window.end} ${JSON.stringify(key)} ${revision}`,
      values.n,
    ]),
  );
}

async function allGiven(client: HttpClient): Promise<Map<string, Map<string, number>>> {
  const all = new Map<string, Map<string, number>>();
  for (const query of QUERIES) all.set(query, await given(client, query));
  return all;
}

/** Two minutes, a block a second, with late ones that revise what was given. */
async function fill(context: TestContext): Promise<{ node: NodeProcess; client: HttpClient }> {
  const { node, client } = await startFieldNode(CONFIG, context);
  for (let n = 0; n < BLOCKS; n++) {
    const ts = START_MS + n * 1_000;
    await client.send("s", [
      { k: "a", ts },
      { k: "b", ts: n % 10 === 5 ? ts - 12_000 : ts },
    ]);
    if (n % 30 === 0)
      await client.watermark("s", { time: new Date(ts).toISOString() }).catch(() => undefined);
  }
  await node.stop();
  return { node, client };
}

for (const share of [0, 0.25, 0.5, 0.9]) {
  test(`without any checkpoint and with ${share * 100} % of the blocks gone, what was given stays as it is`, async (context) => {
    const { node, client } = await fill(context);
    await node.start();
    const before = await allGiven(client);
    for (const query of QUERIES) assert.ok(before.get(query)!.size > 0, query);
    await node.stop();
    const seqs = blockSeqs(node.dataDir);
    if (share > 0) giveUpUpTo(node.dataDir, seqs[Math.floor(seqs.length * share) - 1]!);
    rotCheckpoints(node.dataDir);
    await node.start();
    assert.ok(node.lines.some((line) => line.includes("a checkpoint is damaged")));
    const compare = async (what: string): Promise<void> => {
      const after = await allGiven(client);
      for (const query of QUERIES) {
        const rows = after.get(query)!;
        for (const [row, n] of before.get(query)!)
          assert.equal(rows.get(row), n, `${what}: ${query}: ${row}`);
      }
    };
    await compare("after the start");
    // Late, but not too late: of a window of which events are gone, when some are.
    await client.send("s", [{ k: "a", ts: START_MS + 1_500 }]);
    await compare("after a late event");
    const after = await allGiven(client);
    const of = (rows: Map<string, number>): number[] =>
      [...rows].filter(([row]) => row.includes("00:00:00") && row.includes('"a"')).map(([, n]) => n);
    const revised = Math.max(...of(after.get("tumbling")!));
    assert.equal(
      revised,
      share === 0 ? 11 : 10,
      "a window that lacks events is not revised by what is left of it",
    );
    // What comes now is counted whole.
    for (let n = 0; n < 30; n++) await client.send("s", [{ k: "a", ts: START_MS + 200_000 + n * 1_000 }]);
    await client.watermark("s", { end: true });
    await compare("at the end");
    const last = await given(client, "tumbling");
    const fresh = [...last].filter(([row]) => row >= new Date(START_MS + 200_000).toISOString());
    assert.deepEqual(
      fresh.map(([, n]) => n),
      [10, 10, 10],
    );
    // No event is in two windows that do not overlap by definition.
    for (const query of ["tumbling", "sessions", "counts"]) {
      const latest = new Map<string, number>();
      for (const [row, n] of await given(client, query)) latest.set(row.slice(0, row.lastIndexOf(" ")), n);
      const sum = [...latest].filter(([row]) => row.includes('"a"')).reduce((total, [, n]) => total + n, 0);
      assert.ok(sum <= BLOCKS + 1 + 30, `${query}: ${sum}`);
    }
  });
}

test("a window that is revised before and after blocks were merged and all checkpoints lost: the last word is the newest", async (context) => {
  const { node, client } = await startFieldNode(CONFIG, context);
  for (let n = 0; n < 60; n++) await client.send("s", [{ k: "a", ts: START_MS + n * 1_000 }]);
  const late = async (ms: number): Promise<void> => {
    await client.send("s", [{ k: "a", ts: START_MS + ms }]);
  };
  for (const ms of [25_100, 25_200, 25_300]) await late(ms);
  // So that those before are not among the last, which wait for others to be merged with.
  for (let n = 0; n < 30; n++) await client.send("s", [{ k: "b", ts: START_MS + 59_000 }]);
  const isMerged = async (): Promise<boolean> =>
    (await client.json<{ blocks: number }>("/v1/streams/s")).blocks < 30;
  while (!(await isMerged())) await sleep(200);
  const counts = async (): Promise<unknown[]> =>
    (await client.results("tumbling"))
      .filter(({ window }) => window.start.includes("00:00:20"))
      .map(({ values }) => values.n);
  assert.deepEqual(await counts(), [13]);
  await node.kill("SIGKILL");
  rotCheckpoints(node.dataDir);
  await node.start();
  assert.deepEqual(await counts(), [13]);
  await late(25_400);
  assert.deepEqual(await counts(), [14]);
  await node.restart("SIGKILL");
  assert.deepEqual(await counts(), [14]);
  await late(25_500);
  await client.watermark("s", { end: true });
  assert.deepEqual(await counts(), [15]);
  await node.stop();
});
