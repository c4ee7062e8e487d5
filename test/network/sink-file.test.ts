import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { newest, SinkEdge, type SinkRows } from "../support/sink-fixture.ts";
import { makeTempDir } from "../support/temp-dir.ts";

function linesIn(dir: string, kind: string): Record<string, unknown>[] {
  return globSync(`${kind}/**/*.ndjson*`, { cwd: dir }).flatMap((file) => {
    const bytes = readFileSync(join(dir, file));
    const text = file.endsWith(".zst") ? zstdDecompressSync(bytes).toString() : bytes.toString();
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  });
}

function ndjsonOf(dir: string): SinkRows {
  assert.deepEqual(globSync("**/*.partial", { cwd: dir }), []);
  return { events: linesIn(dir, "events"), results: linesIn(dir, "results"), alerts: linesIn(dir, "alerts") };
}

test("files hold what the edge holds, each row once, though it is killed while it sends", async (context) => {
  const dir = join(makeTempDir(context), "archive");
  const edge = new SinkEdge(`file: ${dir}`, context);
  await edge.sendThroughKills(4);
  const rows = await edge.assertHolds(newest(ndjsonOf(dir)));
  assert.ok(rows > 5_000, `${rows} rows were compared`);
  assert.ok(globSync("events/stream=machines/date=*/hour=*/press-1-*.ndjson.zst", { cwd: dir }).length > 0);
  await edge.node.stop();
});
