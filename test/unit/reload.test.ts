import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const STREAM = "machines: { key: device, watermark: { bound: 0s, maxAhead: 36500d }, lateness: 0s }";
const BASE = Date.UTC(2026, 0, 1);

function config(queries: string, head = ""): string {
  return `${head}\nstreams:\n  ${STREAM}\nqueries:\n  ${queries.trim().split("\n").join("\n  ")}\n`;
}

const N = "n: { from: machines, window: { tumbling: 10s }, select: { n: count() } }";

interface Started {
  readonly node: NodeProcess;
  readonly client: HttpClient;
  put(text: string, headers?: Record<string, string>): ReturnType<HttpClient["request"]>;
}

async function start(
  context: TestContext,
  text: string,
  environment: Record<string, string> = {},
): Promise<Started> {
  const node = new NodeProcess({ config: text, environment }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  return { node, client, put: (body, headers = {}) => client.request("PUT", "/v1/config", body, headers) };
}

/** Events at so many seconds, of one device. */
function at(...seconds: readonly number[]): object[] {
  return seconds.map((second) => ({
    device: "d",
    ts: new Date(BASE + second * 1_000).toISOString(),
    v: second,
  }));
}

async function counts(client: HttpClient, query: string): Promise<[number, number | null][]> {
  const rows = await client.results(query);
  return rows.map(({ window, values }) => [(Date.parse(window.start) - BASE) / 1_000, values.n ?? null]);
}

async function names(client: HttpClient): Promise<string[]> {
  const { queries } = await client.json<{ queries: { query: string }[] }>("/v1/queries");
  return queries.map(({ query }) => query);
}

async function backfilled(client: HttpClient, query: string): Promise<Record<string, unknown>> {
  for (const deadline = performance.now() + 240_000; performance.now() < deadline; await sleep(10)) {
    const { backfill } = await client.json<{ backfill: Record<string, unknown> | null }>(
      `/v1/queries/${query}`,
    );
    if (backfill?.state === "done" || backfill?.state === "failed") return backfill;
  }
  throw new Error(`the backfill of ${query} does not end`);
}

test("PUT /v1/config: a query comes without the others losing a window, and gives whole windows only", async (context) => {
  const { client, put } = await start(context, config(N));
  await client.send("machines", at(1, 12));
  const answer = await put(
    config(`${N}\nm: { from: machines, window: { tumbling: 10s }, select: { n: count() } }`),
  );
  assert.equal(answer.status, 200, answer.text);
  const { version, ...change } = JSON.parse(answer.text) as Record<string, unknown>;
  assert.deepEqual(change, { added: ["m"], changed: [], removed: [], backfilling: [] });
  assert.equal(version, 2);
  await client.send("machines", at(13, 25, 41));
  assert.deepEqual(await counts(client, "n"), [
    [0, 1],
    [10, 2],
    [20, 1],
  ]);
  assert.deepEqual(
    await counts(client, "m"),
    [[20, 1]],
    "its first window had an event before the query was there",
  );
});

test("a backfill gives what the query would have given, in any order of arrival, and goes on live", async (context) => {
  const { client, put, node } = await start(context, config(N));
  await client.send("machines", at(1, 2));
  await client.send("machines", at(30, 12));
  await client.send("machines", at(14, 35, 44));
  const m = "m: { from: machines, window: { tumbling: 10s }, select: { n: count() }, backfill: BACK }";
  assert.equal((await put(config(`${N}\n${m.replace("BACK", "all")}`))).status, 200);
  const { state, blocks, events } = await backfilled(client, "m");
  assert.deepEqual({ state, blocks, events }, { state: "done", blocks: 3, events: 7 });
  const { results } = await client.json<{ results: number }>("/v1/queries/m");
  assert.equal(results, (await counts(client, "m")).length, "rows, and not lines that have heads among them");
  await client.send("machines", at(45, 56));
  const live = await counts(client, "n");
  assert.deepEqual(await counts(client, "m"), [
    [0, 2],
    [10, 2],
    [30, 2],
    [40, 2],
  ]);
  // Live, one event came when its window was closed: it is in the side output, and makes the difference.
  assert.deepEqual(live, [
    [0, 2],
    [10, 1],
    [30, 2],
    [40, 2],
  ]);
  await node.restart("SIGKILL");
  await client.send("machines", at(67));
  assert.deepEqual(await counts(client, "m"), [
    [0, 2],
    [10, 2],
    [30, 2],
    [40, 2],
    [50, 1],
  ]);
  // Another definition with a backfill of a part: what it was before stays in front of that.
  const changed = m.replace("BACK", "27s").replace("select: {", "where: v > 43, select: {");
  const answer = await put(config(`${N}\n${changed}`));
  assert.equal(answer.status, 200, answer.text);
  await backfilled(client, "m");
  await client.send("machines", at(99));
  assert.deepEqual(await counts(client, "m"), [
    [0, 2],
    [10, 2],
    [30, 2],
    [40, 2],
    [50, 1],
    [60, 1],
  ]);
  const all = (await client.results("m", { revisions: "all" })).length;
  assert.equal(all, 6, "rows of the definition before are gone where the new one gives its own");
});

test("a backfill goes back from the newest event that was acknowledged, though its block may still wait for others", async (context) => {
  const long = "n: { from: machines, window: { tumbling: 1h }, select: { n: count() } }";
  const { client, put } = await start(context, config(long));
  const m = "m: { from: machines, window: { tumbling: 10s }, select: { n: count() }, backfill: 20s }";
  // The window thread gets the first at once, and the second with what comes soon after it.
  await client.send("machines", at(1));
  await client.send("machines", at(3_000));
  assert.equal((await put(config(`${long}\n${m}`))).status, 200);
  await backfilled(client, "m");
  await client.send("machines", at(3_100));
  assert.deepEqual(await counts(client, "m"), [[3_000, 1]]);
});

test("what is wrong or cannot be changed is refused whole, with its line", async (context) => {
  const text = config(N);
  const { client, put } = await start(context, text);
  const before = await client.json("/v1/config");
  const bad = await put(text.replace("count()", "cuont()").replace("n: {", "k: {"));
  assert.equal(bad.status, 422);
  const { errors } = JSON.parse(bad.text) as { errors: { line: number; path: string; message: string }[] };
  assert.deepEqual(
    errors.map(({ line, path }) => [line, path]),
    [[5, "queries.k.select.n"]],
  );
  const moved = await put(config(N, "data: /elsewhere"));
  // --data on the command line holds in any case.
  assert.equal(moved.status, 200, moved.text);
  for (const head of [
    "limits: { maxStreams: 7 }",
    "node: { id: other }",
    "workers: { ingest: 7 }",
    "checkpoint: { every: 11s }",
  ]) {
    const fixed = await put(config(N, head));
    assert.equal(fixed.status, 422, head);
    assert.match(fixed.text, /cannot be changed while the node runs/);
  }
  assert.deepEqual(await client.json("/v1/config"), before);
  const metrics = await client.request("GET", "/metrics");
  assert.match(metrics.text, /millrace_config_reloads\{outcome="refused"\} 5/);
  assert.match(metrics.text, /millrace_config_version 2/);
});

test("GET /v1/config gives a document that PUT takes back unchanged", async (context) => {
  const rich = `
http: { admin: { token: \${MILLRACE_TEST_TOKEN} } }
streams:
  ${STREAM}
  other: { time: { field: at, unit: ms }, fields: { a: int, s: string }, extra: keep }
queries:
  a: { from: machines, where: v > 1, derive: { w: v * 2 }, window: { sliding: 1m, every: 10s }, early: 5s, select: { n: count(), h: histogram(w, 1, 2), p: quantile(w, 0.5) }, having: n > 0 }
  b: { from: other, window: { tumbling: 1d, timezone: Europe/Berlin }, by: [], lateness: 1h, backfill: 7d, select: { t: topk(s, 3), z: twa(a, step) } }
`;
  const { client, put } = await start(context, rich, { MILLRACE_TEST_TOKEN: "secret-token" });
  const shown = await client.request("GET", "/v1/config");
  assert.doesNotMatch(shown.text, /secret-token/);
  assert.equal((await put(shown.text)).status, 401);
  assert.equal((await put(shown.text, { authorization: "Bearer wrong-token" })).status, 401);
  const answer = await put(shown.text, { authorization: "Bearer secret-token" });
  assert.equal(answer.status, 200, answer.text);
  const { added, changed, removed } = JSON.parse(answer.text) as Record<string, unknown>;
  assert.deepEqual({ added, changed, removed }, { added: [], changed: [], removed: [] });
  assert.equal((await client.request("GET", "/v1/config")).text, shown.text);
});

test("a node without configuration: its document may be put back, and its queries go on", async (context) => {
  const node = new NodeProcess({ config: null }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  await client.send("anything", [{ device: "d", ts: "2026-01-01T00:00:01Z", v: 1 }]);
  const shown = await client.request("GET", "/v1/config");
  const answer = await client.request("PUT", "/v1/config", shown.text);
  assert.equal(answer.status, 200, answer.text);
  await client.send("anything", [{ device: "d", ts: "2026-01-01T00:00:02Z", v: 2 }]);
  await client.watermark("anything", { end: true });
  const [row] = await client.results("anything_1m");
  assert.equal(row?.values.count, 2);
});

test("a removed query's results stay readable; its name may come back", async (context) => {
  const m = "m: { from: machines, window: { tumbling: 10s }, select: { n: count() } }";
  const { client, put, node } = await start(context, config(`${N}\n${m}`));
  await client.send("machines", at(1, 12));
  assert.equal((await put(config(N))).status, 200);
  assert.deepEqual(await names(client), ["n"]);
  assert.deepEqual(await counts(client, "m"), [[0, 1]]);
  await client.send("machines", at(13, 25));
  await node.restart("SIGKILL");
  assert.deepEqual(await counts(client, "m"), [[0, 1]]);
  assert.equal((await client.request("GET", "/v1/queries/never/results")).status, 404);
  assert.equal((await put(config(`${N}\n${m}`))).status, 200);
  await client.send("machines", at(26, 37, 49));
  assert.deepEqual(await counts(client, "m"), [
    [0, 1],
    [30, 1],
  ]);
  assert.deepEqual(await counts(client, "n"), [
    [0, 1],
    [10, 2],
    [20, 2],
    [30, 1],
  ]);
});

test("what was put holds after a restart, until the file is changed; SIGHUP goes back to the file", async (context) => {
  const dir = makeTempDir(context);
  const file = join(dir, "own.yaml");
  const { node, client, put } = await start(context, config(N));
  assert.equal(
    (await put(config(`${N}\nm: { from: machines, window: { tumbling: 10s }, select: { n: count() } }`)))
      .status,
    200,
  );
  await node.restart("SIGTERM");
  assert.deepEqual(await names(client), ["n", "m"]);
  process.kill(node.pid, "SIGHUP");
  while (node.lastEntry("configuration changed")?.from !== "its file") await sleep(10);
  assert.deepEqual(await names(client), ["n"]);
  await node.restart("SIGKILL");
  assert.deepEqual(await names(client), ["n"]);
  writeFileSync(node.configFile, config(N.replace("n: {", "k: {")));
  process.kill(node.pid, "SIGHUP");
  while (node.lastEntry("configuration changed")?.version !== 4) await sleep(10);
  assert.deepEqual(await names(client), ["k"]);
  writeFileSync(node.configFile, "streams: { machines: { kee: 1 } }");
  process.kill(node.pid, "SIGHUP");
  while (node.lastEntry("the configuration was refused; nothing changed") === null) await sleep(10);
  assert.deepEqual(await names(client), ["k"]);
  assert.ok(file);
});

test("a restart with another file changes the queries at the end of the log, not in its past", async (context) => {
  const { node, client } = await start(context, config(N));
  await client.send("machines", at(1, 12));
  await node.kill("SIGKILL");
  writeFileSync(
    node.configFile,
    config(`${N}\nm: { from: machines, window: { tumbling: 10s }, select: { n: count() } }`),
  );
  await node.start();
  await client.send("machines", at(13, 25, 41));
  assert.deepEqual(await counts(client, "n"), [
    [0, 1],
    [10, 2],
    [20, 1],
  ]);
  assert.deepEqual(await counts(client, "m"), [[20, 1]]);
});

test("changes while many send: each query with a backfill has what the first has", async (context) => {
  const { client, put } = await start(context, config(N));
  let isDone = false;
  let second = 0;
  const senders = Array.from({ length: 6 }, async () => {
    while (!isDone) {
      const batch = Array.from({ length: 50 }, () => at(second++)[0]!);
      await client.send("machines", batch);
    }
  });
  // Senders overtake each other, so some bound is needed.
  let queries = N;
  const added: string[] = [];
  for (let index = 0; index < 8; index++) {
    added.push(`q${index}`);
    queries += `\nq${index}: { from: machines, window: { tumbling: 10s }, select: { n: count() }, lateness: 7d, backfill: all }`;
    const answer = await put(config(queries));
    assert.equal(answer.status, 200, answer.text);
    await backfilled(client, `q${index}`);
  }
  isDone = true;
  await Promise.all(senders);
  await client.watermark("machines", { end: true });
  for (const query of added) {
    const total = (await counts(client, query)).reduce((sum, [, n]) => sum + (n ?? 0), 0);
    assert.equal(total, second, query);
  }
});

test("queries on queries: one that comes has whole windows only", async (context) => {
  const h = "h: { from: n, window: { tumbling: 30s }, by: [device], select: { n: sum(n) }, lateness: 0s }";
  const { client, put, node } = await start(context, config(N));
  await client.send("machines", at(1, 12));
  const answer = await put(config(`${N}\n${h}`));
  assert.equal(answer.status, 200, answer.text);
  await client.send("machines", at(13, 25, 41, 52, 71));
  await node.restart("SIGKILL");
  await client.send("machines", at(105, 130));
  assert.deepEqual(await counts(client, "h"), [
    [30, 2],
    [60, 1],
    [90, 1],
  ]);
});
