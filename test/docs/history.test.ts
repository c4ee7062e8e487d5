import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { HttpClient } from "../support/http-client.ts";
import { REPOSITORY_ROOT, spawnNode } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const run = promisify(execFile);
const page = readFileSync(join(REPOSITORY_ROOT, "docs/history.md"), "utf8");
const examples = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => text);
const COMMAND = `"${process.execPath}" "${join(REPOSITORY_ROOT, "host/cli/bin.js")}"`;

test("the examples of docs/history.md do what they say, and what was restored is what was there", async (context) => {
  const dir = makeTempDir(context);
  const node = await spawnNode({ config: null, dataDir: join(dir, "millrace-data") }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const events = Array.from({ length: 300 }, (_, at) => ({
    device: `press-${at % 3}`,
    ts: new Date(Date.UTC(2026, 0, 1, 8) + at * 1_000).toISOString(),
    temp: at / 10,
  }));
  await client.send("machines", events);
  await client.watermark("machines", { end: true });
  for (const example of examples) {
    await run("sh", ["-ec", example.replaceAll(/^millrace/gm, COMMAND)], {
      cwd: dir,
      env: { ...process.env, MILLRACE_URL: node.url },
    });
  }
  assert.deepEqual(readdirSync(dir).sort(), [
    "again.ndjson",
    "backup-1",
    "machines.parquet",
    "millrace-data",
    "restored",
    "results.csv",
  ]);
  const results = await client.results("machines_1m");
  const replayed = readFileSync(join(dir, "again.ndjson"), "utf8").trim().split("\n");
  const texts = (rows: readonly object[]): string[] => rows.map((row) => JSON.stringify(row)).sort();
  assert.deepEqual(texts(replayed.map((line) => JSON.parse(line) as object)), texts(results));
  assert.equal(readFileSync(join(dir, "results.csv"), "utf8").split("\r\n").length, results.length + 2);
  const restored = await spawnNode({ config: null, dataDir: join(dir, "restored") }, context);
  const other = new HttpClient(() => restored.url);
  context.after(() => other.close());
  assert.deepEqual(await other.events("machines"), await client.events("machines"));
  assert.deepEqual(await other.results("machines_1m"), results);
});
