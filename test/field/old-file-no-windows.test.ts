import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { startFieldNode } from "../support/field-node.ts";
import { REPOSITORY_ROOT } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const run = promisify(execFile);
const CLI_FILE = join(REPOSITORY_ROOT, "host/cli/bin.js");
const HOURS = 5;

for (const per of ["stream", "source"] as const) {
  test(`old-file-no-windows, watermarks per ${per}: a file's own time closes its windows, and send --end the last`, async (context) => {
    const { client, node } = await startFieldNode(
      `
streams:
  log: { key: device, time: { field: ts }, watermark: { bound: 1m, per: ${per}, idle: 1d } }
queries:
  hourly: { from: log, window: { tumbling: 1h }, select: { n: count() } }
`,
      context,
    );
    const file = join(makeTempDir(context), "2014.ndjson");
    const startMs = Date.UTC(2014, 6, 1);
    const lines = Array.from({ length: HOURS * 60 }, (_, minute) =>
      JSON.stringify({ device: `d${minute % 2}`, ts: new Date(startMs + minute * 60_000).toISOString() }),
    );
    writeFileSync(file, `${lines.join("\n")}\n`);
    const send = (...more: string[]) =>
      run(process.execPath, [CLI_FILE, "send", "log", file, "--url", node.url, ...more]);
    await send();
    const hours = async (): Promise<number[]> => {
      const rows = await client.results("hourly", { key: "d0" });
      return rows.map(({ window }) => (Date.parse(window.start) - startMs) / 3_600_000);
    };
    assert.deepEqual(await hours(), [0, 1, 2, 3], "all but the last, which more events may be coming for");
    await send("--end");
    assert.deepEqual(await hours(), [0, 1, 2, 3, 4]);
    const total = (await client.results("hourly")).reduce((sum, { values }) => sum + (values.n ?? 0), 0);
    assert.equal(total, HOURS * 60, "nothing is left out, and nothing sent again counts twice");
  });
}
