import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { startFieldNode } from "../support/field-node.ts";
import { REPOSITORY_ROOT } from "../support/node-process.ts";

const run = promisify(execFile);
const CLI_FILE = join(REPOSITORY_ROOT, "host/cli/bin.js");
const CONFIG = `
streams:
  machines: { key: device, time: { field: ts, unit: s }, watermark: { bound: 0s }, lateness: 0s }
queries:
  sums: { from: machines, window: { tumbling: 10s }, select: { n: count(), total: sum(v) } }
`;

test("late-invisible: a late event is kept with its reason, listed, counted, and can be applied to its window", async (context) => {
  const { client, node } = await startFieldNode(CONFIG, context);
  const millrace = async (...args: string[]): Promise<string> =>
    (await run(process.execPath, [CLI_FILE, ...args, "--url", node.url])).stdout;
  await client.send("machines", [
    { device: "a", ts: 1, v: 1 },
    { device: "a", ts: 30, v: 1 },
  ]);
  await client.send("machines", [
    { device: "a", ts: 5, v: 10 },
    { device: "b", ts: 6, v: 20 },
    { device: "a", ts: 31, v: 1 },
  ]);
  await node.restart("SIGKILL");
  const stream = await client.json<{ accepted: number; late: number }>("/v1/streams/machines");
  assert.deepEqual([stream.accepted, stream.late], [5, 2]);
  assert.match(
    (await client.request("GET", "/metrics")).text,
    /^millrace_late_events_total\{stream="machines"\} 2$/m,
  );
  const listed = (await millrace("late", "machines"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as object);
  assert.deepEqual(
    listed.map((row) => ({ ...row, at: "" })),
    [
      { event: { ts: "1970-01-01T00:00:05.000Z", device: "a", v: 10 }, reason: "late", at: "" },
      { event: { ts: "1970-01-01T00:00:06.000Z", device: "b", v: 20 }, reason: "late", at: "" },
    ],
  );

  // Who reads on from where the last page ended misses nothing that is set aside later.
  const page = await client.request("GET", "/v1/streams/machines/late?limit=1");
  await client.send("machines", [{ device: "c", ts: 2, v: 3 }]);
  const next = /<([^>]+)>/.exec(String(page.headers.link))?.[1] ?? "";
  assert.equal((await client.request("GET", next)).text.trim().split("\n").length, 1);
  assert.equal((await client.late("machines")).length, 3);

  assert.deepEqual(JSON.parse(await millrace("late", "machines", "--apply", "--json")), {
    applied: 3,
    revisions: 3,
    waiting: 0,
    unreadable: 0,
    refused: [],
  });
  const rows = (await client.results("sums", { to: "10000000" })).map(({ key, values, revision, kind }) => [
    key.device,
    values,
    revision,
    kind,
  ]);
  assert.deepEqual(rows, [
    ["a", { n: 2, total: 11 }, 1, "late"],
    ["b", { n: 1, total: 20 }, 0, "late"],
    ["c", { n: 1, total: 3 }, 0, "late"],
  ]);
  assert.match(await millrace("late", "machines", "--apply"), /^0 late events applied, 0 results revised/);
});
