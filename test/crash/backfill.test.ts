import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";

const SELECT = "select: { n: count(), total: sum(v), top: max(v), end: last(v) }";
const ABOVE = "select: { n: count(), total: sum(total), top: max(top), end: last(end) }";

/** Queries by name: what they are from, and all the rest but `backfill`. Those they are from stand in front. */
type Queries = Readonly<Record<string, readonly [from: string, rest: string]>>;

const BY_STREAM: Queries = {
  tumbling: ["load", `window: { tumbling: 10s }, by: [client], ${SELECT}`],
  sessions: ["load", `window: { session: 30ms }, by: [client], lateness: 7s, ${SELECT}`],
  counts: ["load", `window: { count: 7 }, by: [client], ${SELECT}`],
  each: ["load", `window: none, by: [client], ${SELECT}`],
  over_tumbling: ["tumbling", `window: { sliding: 1m, every: 20s }, by: [client], ${ABOVE}`],
  over_sessions: ["sessions", `window: { tumbling: 15s }, by: [], having: n > 3, ${ABOVE}`],
  over_counts: ["counts", `window: { session: 20s }, by: [client], ${ABOVE}`],
  over_over: ["over_tumbling", `window: { count: 3 }, by: [], ${ABOVE}`],
};

const BY_KEY: Queries = {
  tumbling: ["load", `window: { tumbling: 10s }, by: [client], where: v > 3, ${SELECT}`],
  sliding: ["load", `window: { sliding: 30s, every: 10s }, by: [client], ${SELECT}`],
  sessions: ["load", `window: { session: 30ms }, by: [client], ${SELECT}`],
  counts: ["load", `window: { count: 7 }, by: [client], ${SELECT}`],
  each: ["load", `window: none, by: [client], ${SELECT}`],
};

/** Each query as it was from the start and, with `later`, its twin that is backfilled. */
function configOf(per: string, queries: Queries, later: boolean): string {
  const own = Object.entries(queries).map(([name, [from, rest]]) => `  ${name}: { from: ${from}, ${rest} }`);
  const twins = Object.entries(queries).map(([name, [from, rest]]) => {
    const below = from in queries ? `${from}_later` : from;
    return `  ${name}_later: { from: ${below}, ${rest}, backfill: all }`;
  });
  return `
checkpoint: { every: 10s }
streams:
  load:
    key: client
    time: { field: ts, unit: ms }
    watermark: { bound: 5s, per: ${per}, maxAhead: 36500d }
    lateness: 0s
queries:
${[...own, ...(later ? twins : [])].join("\n")}
`;
}

async function compare(context: TestContext, per: string, queries: Queries): Promise<void> {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const node = new NodeProcess({ config: configOf(per, queries, false) }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  let number = 0;
  const send = async (batches: number): Promise<void> => {
    for (let batch = 0; batch < batches; batch++) {
      const events = Array.from({ length: 200 }, () => {
        number++;
        const ts = Date.UTC(2026, 0, 1) + number * 7 - random.integer(0, 1_000);
        return { client: `client-${number % 7}`, ts, v: number };
      });
      await client.send("load", events);
    }
  };
  await send(120);
  const answer = await client.request("PUT", "/v1/config", configOf(per, queries, true));
  assert.equal(answer.status, 200, answer.text);
  const { backfilling } = JSON.parse(answer.text) as { backfilling: string[] };
  assert.equal(backfilling.length, Object.keys(queries).length);
  for (let kill = 0; kill < 4; kill++) {
    await sleep(random.integer(0, 400));
    await node.restart("SIGKILL");
    await send(2);
  }
  for (const query of backfilling) await waitForBackfill(client, query);
  await send(10);
  if (per === "key") await client.watermark("load", { time: "2026-02-01T00:00:00Z" });
  else await client.watermark("load", { end: true });
  await checkTwins(client, queries);
  await node.restart("SIGKILL");
  await checkTwins(client, queries);
  await node.stop();
}

async function checkTwins(client: HttpClient, queries: Queries): Promise<void> {
  for (const name of Object.keys(queries)) {
    // Of windows with the same bounds the revisions tell nothing but that they are others.
    const isCounted = /count|none/.test(queries[name]![1].slice(0, 16));
    const rows = async (query: string): Promise<string[]> =>
      (await client.results(query, { revisions: isCounted ? "all" : "latest" }))
        .map(({ window, key, values }) => JSON.stringify([window, key, values]))
        .toSorted();
    const own = await rows(name);
    assert.ok(own.length > 5, `${name}: ${own.length} results`);
    assert.deepEqual(await rows(`${name}_later`), own, name);
  }
}

async function waitForBackfill(client: HttpClient, query: string): Promise<void> {
  for (;;) {
    const { backfill } = await client.json<{ backfill: { state: string; reason: string | null } | null }>(
      `/v1/queries/${query}`,
    );
    if (backfill === null || backfill.state === "done") return;
    assert.notEqual(backfill.state, "failed", `${query}: ${backfill.reason}`);
    await sleep(20);
  }
}

test("kill -9 while backfills of every kind read, over events and over results: each has what its twin had live", (context) =>
  compare(context, "stream", BY_STREAM));

test("the same where keys have clocks of their own", (context) => compare(context, "key", BY_KEY));
