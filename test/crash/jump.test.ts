import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import Database from "better-sqlite3";
import { HttpClient } from "../support/http-client.ts";
import { spawnNode } from "../support/node-process.ts";

const KEYS = 2_000;
const SLIDES = 600;
const CONFIG = `
streams: { s: { key: device, time: { field: ts, unit: s }, watermark: { bound: 0s, maxAhead: 36500d } } }
queries:
  slide: { from: s, window: { sliding: 10m, every: 1s }, select: { n: count(), last: max(v) } }
  few: { from: s, window: { sliding: 10m, every: 1s }, select: { last: max(v) }, having: last >= ${KEYS - 1} }
  above: { from: slide, by: [], window: { tumbling: 1m }, select: { rows: count(), n: sum(n) } }
`;

interface Totals {
  readonly rows: number;
  readonly keys: number;
  readonly windows: number;
  readonly revised: number;
}

test("a watermark that jumps over 600 windows of 2,000 keys gives 1.2 million results in a heap of 96 MB, through a kill", async (context) => {
  const environment = { NODE_OPTIONS: "--max-old-space-size=96" };
  const node = await spawnNode({ config: CONFIG, environment }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const events = Array.from({ length: KEYS }, (_, v) => ({ device: `d${v}`, ts: 999_960, v }));
  await client.send("s", events);
  await client.send("s", [{ device: "other", ts: 1_010_000, v: 0 }]);
  // Some of it is written, most of it is not.
  while (totals(node.dataDir, "slide").rows <= 20_000) {
    assert.ok(node.isRunning, node.tail());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await node.kill("SIGKILL");
  const written = totals(node.dataDir, "slide").rows;
  assert.ok(written < KEYS * SLIDES, `${written} rows were written before the kill`);
  await node.start();
  await client.watermark("s", { time: 1_010_000_000 });
  assert.deepEqual(totals(node.dataDir, "slide"), {
    rows: KEYS * SLIDES,
    keys: KEYS,
    windows: SLIDES,
    revised: 0,
  });
  assert.deepEqual(totals(node.dataDir, "few"), { rows: SLIDES, keys: 1, windows: SLIDES, revised: 0 });
  const above = await client.results("above");
  const sum = (name: string): number => above.reduce((all, { values }) => all + values[name]!, 0);
  assert.deepEqual([above.length, sum("rows"), sum("n")], [10, KEYS * SLIDES, KEYS * SLIDES]);
  await node.stop();
});

function totals(dataDir: string, query: string): Totals {
  const file = readdirSync(dataDir).find((name) => name.endsWith(".db"));
  const database = new Database(join(dataDir, file!), { readonly: true });
  try {
    return database
      .prepare(
        "SELECT count(*) AS rows, count(DISTINCT key) AS keys, count(DISTINCT start_us) AS windows, coalesce(sum(revision), 0) AS revised FROM results WHERE query = ?",
      )
      .get(query) as Totals;
  } finally {
    database.close();
  }
}
