import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { HttpClient, type Result } from "../support/http-client.ts";
import { spawnNode } from "../support/node-process.ts";
import { Random } from "../support/random.ts";
import { makeTempDir } from "../support/temp-dir.ts";
import { millrace } from "./cli-stand-in.ts";

const QUERIES = `
queries:
  minutes: { from: machines, window: { tumbling: 1m }, select: { n: count(), high: max(temp) } }
  fives: { from: minutes, where: n > 1, window: { tumbling: 5m }, select: { minutes: count(), n: sum(n), high: max(high) } }
  busy: { from: fives, window: { session: 5m }, by: [], select: { n: sum(n), rows: count() } }
  weighed: { from: machines, derive: { kg: weights.factor * temp }, window: { tumbling: 1m }, select: { kg: sum(kg) } }
`;
const NAMES = ["minutes", "fives", "busy", "weighed"];
const WEIGHTS = ["device,factor", "d0,2", "d1,3", "d2,5"].join("\n");

async function fill(client: HttpClient): Promise<void> {
  const random = new Random(11);
  const start = Date.UTC(2026, 0, 1);
  for (let body = 0; body < 20; body++) {
    const events = Array.from({ length: 30 }, () => ({
      device: `d${random.integer(0, 3)}`,
      // A break of an hour, so that there are two sessions.
      ts: start + (body < 10 ? 0 : 3_600_000) + body * 60_000 + random.integer(0, 59_999),
      temp: random.integer(-500, 500) / 10,
    }));
    await client.send("machines", events);
  }
  await client.watermark("machines", { end: true });
}

const plain = (rows: readonly Result[]): string[] =>
  rows.map(({ query, window, key, values }) => JSON.stringify([query, window, key, values])).sort();

async function compare(client: HttpClient, context: TestContext, args: readonly string[]): Promise<void> {
  for (const query of NAMES) {
    const { stdout, stderr, code } = await millrace(["replay", "machines", "--query", query, ...args]);
    assert.equal(code, 0, stderr);
    const rows = stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Result);
    const live = await client.results(query);
    assert.ok(live.length > 0);
    assert.deepEqual(plain(rows), plain(live), query);
    const ends = rows.map(({ window }) => window.end);
    assert.deepEqual(ends, ends.toSorted());
  }
  context.diagnostic(args.join(" "));
}

test("a query over a query and one that joins a table are replayed from the data directory alone", async (context) => {
  const file = join(makeTempDir(context), "weights.csv");
  writeFileSync(file, WEIGHTS);
  const tables = `tables: { weights: { file: ${JSON.stringify(file)}, key: device } }`;
  const streams = "streams: { machines: { key: device, watermark: { maxAhead: 36500d } } }";
  const node = await spawnNode({ config: `${tables}\n${streams}${QUERIES}` }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await fill(client);
  await compare(client, context, ["--data", node.dataDir]);
  const ranged = ["--data", node.dataDir, "--from", "2026-01-01T00:05:00Z", "--to", "2026-01-01T00:10:00Z"];
  const { stdout } = await millrace(["replay", "machines", "--query", "fives", ...ranged]);
  const rows = stdout.split("\n").filter(Boolean);
  const whole = (await client.results("fives")).filter(
    ({ window }) => window.start === "2026-01-01T00:05:00.000Z",
  );
  assert.deepEqual(plain(rows.map((line) => JSON.parse(line) as Result)), plain(whole));
});

test("rows of a table that was put are those in force, with a configuration or without", async (context) => {
  const tables = "tables: { weights: { key: device } }";
  const streams = "streams: { machines: { key: device, watermark: { maxAhead: 36500d } } }";
  const node = await spawnNode({ config: `${tables}\n${streams}${QUERIES}` }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const put = await client.request("PUT", "/v1/tables/weights", WEIGHTS, { "content-type": "text/csv" });
  assert.equal(put.status, 200, put.text);
  await fill(client);
  await compare(client, context, ["--data", node.dataDir]);
  await compare(client, context, ["--data", node.dataDir, "-c", node.configFile]);
});

test("an encrypted data directory is replayed with the key of the configuration, and refused without", async (context) => {
  const dir = makeTempDir(context);
  writeFileSync(join(dir, "weights.csv"), WEIGHTS);
  writeFileSync(join(dir, "key"), "7f".repeat(32), { mode: 0o600 });
  const key = `encryption: { keyFile: ${JSON.stringify(join(dir, "key"))} }`;
  const tables = `tables: { weights: { file: ${JSON.stringify(join(dir, "weights.csv"))}, key: device } }`;
  const streams = "streams: { machines: { key: device, watermark: { maxAhead: 36500d } } }";
  const node = await spawnNode({ config: `${key}\n${tables}\n${streams}${QUERIES}` }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await fill(client);
  await compare(client, context, ["--data", node.dataDir, "-c", node.configFile]);
  const { stderr, code } = await millrace(["replay", "machines", "--query", "busy", "--data", node.dataDir]);
  assert.equal(code, 1);
  assert.match(stderr, /E_KEY_MISSING/);
});
