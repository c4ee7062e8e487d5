import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { HttpClient, type Result } from "../support/http-client.ts";
import { type NodeProcess, spawnNode } from "../support/node-process.ts";
import { Random } from "../support/random.ts";
import { makeTempDir } from "../support/temp-dir.ts";
import { millrace } from "./cli-stand-in.ts";

const QUERIES = `
  tumbling: { from: machines, where: temp > -9000, derive: { twice: temp * 2 }, window: { tumbling: 10s }, select: { n: count(), mean: avg(twice), p: "quantile(temp, 0.9)", last: last(temp) } }
  sliding: { from: machines, window: { sliding: 30s, every: 10s }, by: [], select: { n: count(), total: sum(temp) }, having: n > 20 }
  sessions: { from: machines, window: { session: 2s }, select: { n: count(), high: max(temp) } }
  counts: { from: machines, window: { count: 25 }, select: { low: min(temp) } }
  days: { from: machines, window: { tumbling: 1d, timezone: Europe/Berlin }, select: { n: count() } }
`;
const CONFIG = `
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 60s, maxAhead: 36500d }, lateness: 0s }
  again: { key: device, watermark: { maxAhead: 36500d } }
queries:${QUERIES}
checkpoint: { every: 200ms }
`;
const NAMES = ["tumbling", "sliding", "sessions", "counts", "days"] as const;
const START_MS = Date.UTC(2026, 0, 1);

/** Out of order by up to 40 s, so that blocks overlap in time. */
async function fill(node: NodeProcess, client: HttpClient): Promise<void> {
  const random = new Random(5);
  for (let body = 0; body < 60; body++) {
    const events = Array.from({ length: 40 }, () => ({
      device: `d${random.integer(0, 6)}`,
      ts: START_MS + body * 3_000 + random.integer(0, 40_000),
      temp: random.integer(-500, 500) / 10,
    }));
    await client.send("machines", events);
  }
  await client.watermark("machines", { end: true });
  assert.ok(node.isRunning);
}

const rowsOf = (file: string): Result[] =>
  readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Result);

const byPlace = (rows: readonly Result[]): unknown[] =>
  rows
    .map(({ query, window, key, values }) => ({ query, window, key, values }))
    .sort((a, b) => (JSON.stringify([a.window, a.key]) < JSON.stringify([b.window, b.key]) ? -1 : 1));

test("a replay gives the rows that the windows gave live, whatever blocks the events lie in", async (context) => {
  const node = await spawnNode({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await fill(node, client);
  const dir = makeTempDir(context);
  const replay = (...args: string[]) => millrace(["replay", "machines", "--data", node.dataDir, ...args]);
  const texts = new Map<string, string>();
  for (const name of NAMES) {
    const file = join(dir, `${name}.ndjson`);
    const run = await replay("--query", name, "--into", file, "--json");
    assert.equal(run.code, 0, run.stderr);
    const live = await client.results(name);
    assert.ok(live.length > 0, name);
    assert.deepEqual(byPlace(rowsOf(file)), byPlace(live), name);
    const { events, rows } = JSON.parse(run.stdout) as { events: number; rows: number };
    assert.deepEqual([events, rows], [2_400, live.length]);
    texts.set(name, readFileSync(file, "utf8"));
  }

  // A part of the time: events and windows that lie in it.
  const [from, to] = ["2026-01-01T00:00:30Z", "2026-01-01T00:02:00Z"];
  const part = await replay("--query", "tumbling", "--from", from, "--to", to);
  assert.equal(part.code, 0, part.stderr);
  const within = (await client.results("tumbling")).filter(
    ({ window }) => Date.parse(window.start) >= Date.parse(from) && Date.parse(window.end) <= Date.parse(to),
  );
  assert.ok(within.length > 0);
  assert.deepEqual(
    byPlace(
      part.stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Result),
    ),
    byPlace(within),
  );

  // Into a stream, twice: the second time counts nothing.
  for (let repeat = 0; repeat < 2; repeat++) {
    const run = await replay("--query", "tumbling", "--into-stream", "again", "--url", node.url);
    assert.equal(run.code, 0, run.stderr);
  }
  const live = await client.results("tumbling");
  const events = await client.events("again");
  assert.equal(events.length, live.length);
  const total = (rows: readonly { n?: unknown }[]): number => rows.reduce((sum, { n }) => sum + Number(n), 0);
  assert.equal(total(events), total(live.map(({ values }) => values)));
  assert.deepEqual(
    [...new Set(events.map((event) => (event.window as { end: number }).end))].sort(),
    [...new Set(live.map(({ window }) => Date.parse(window.end) * 1_000))].sort(),
  );

  // Merged blocks give the same, to the byte; and offline, by a definition that the node never had.
  await node.stop();
  await node.start();
  const blocksBefore = 60;
  for (let wait = 0; wait < 500; wait++) {
    const { stdout } = await millrace([
      "backup",
      join(dir, `copy-${wait}`),
      "--data",
      node.dataDir,
      "--json",
    ]);
    if ((JSON.parse(stdout) as { blocks: number }).blocks < blocksBefore) break;
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.ok(wait < 499, "small blocks are merged");
  }
  await node.stop();
  for (const name of NAMES) {
    const run = await replay("--query", name);
    assert.equal(run.stdout, texts.get(name), name);
  }
  const other = join(dir, "other.yaml");
  writeFileSync(
    other,
    `streams: { machines: { key: device } }\nqueries:\n  whole: { from: machines, window: { tumbling: 1h }, by: [], select: { n: count() } }\n`,
  );
  const whole = await replay("-c", other);
  assert.deepEqual(JSON.parse(whole.stdout).values, { n: 2_400 });
});

test("a replay says what it cannot do, and leaves no half file", async (context) => {
  const node = await spawnNode({ config: CONFIG }, context);
  const dir = makeTempDir(context);
  const replay = (...args: string[]) => millrace(["replay", "machines", ...args]);
  for (const [args, code, message] of [
    [
      ["--data", node.dataDir, "--query", "none"],
      1,
      /no query is named none; over stream machines there are tumbling/,
    ],
    [["--data", node.dataDir], 1, /name a query with --query/],
    [["--data", join(dir, "nothing")], 1, /is no data directory/],
    [
      ["--data", node.dataDir, "--query", "counts", "--from", "yesterday"],
      2,
      /--from: "yesterday" is neither/,
    ],
    [["--data", node.dataDir, "--into", "a", "--into-stream", "b"], 2, /not to both/],
  ] as const) {
    const run = await replay(...args);
    assert.match(run.stderr, message);
    assert.equal(run.code, code);
  }
  const empty = await spawnNode({ config: null }, context);
  for (const [args, message] of [
    [["nothing"], /there are no events of a stream nothing/],
    [["nothing", "--query", "none"], /no query is named none; over stream nothing there are nothing_1m/],
  ] as const) {
    const run = await millrace(["replay", ...args, "--data", empty.dataDir]);
    assert.match(run.stderr, message);
    assert.equal(run.code, 1);
  }
  const lost = join(dir, "none", "rows.ndjson");
  const unwritable = await replay("--data", node.dataDir, "--query", "tumbling", "--into", lost);
  assert.match(unwritable.stderr, /^millrace: .*rows\.ndjson cannot be written \(ENOENT\)/);
  assert.equal(unwritable.code, 1);
  assert.deepEqual(readdirSync(dir), []);
});
