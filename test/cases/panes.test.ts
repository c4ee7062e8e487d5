import assert from "node:assert/strict";
import { test } from "node:test";
import { HttpClient, type Result } from "../support/http-client.ts";
import { spawnNode } from "../support/node-process.ts";

const CONFIG = `
streams:
  s:
    key: k
    time: { field: ts, unit: iso }
    watermark: { bound: 0s, maxAhead: 36500d }
    lateness: 0s
queries:
  days: { from: s, window: { tumbling: 1d, timezone: Europe/Berlin }, select: { n: count() } }
  week: { from: s, window: { sliding: 3d, every: 1d, timezone: Europe/Berlin }, select: { n: count() } }
  minutes: { from: s, window: { tumbling: 1m }, early: 10s, lateness: 1h, select: { n: count() } }
`;

function brief({ window, values, revision, kind }: Result): string {
  const short = (time: string): string => time.replace(":00.000Z", "");
  return `${short(window.start)} ${short(window.end)} ${String(values["n"])} ${revision} ${kind}`;
}

test("local days through a change of clocks, over a restart", async (context) => {
  const node = await spawnNode({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  // Clocks go back on 2026-10-25: the day has 25 hours.
  await client.send("s", [
    { k: "a", ts: "2026-10-24T21:59:59Z" },
    { k: "a", ts: "2026-10-24T22:00:00Z" },
    { k: "a", ts: "2026-10-25T22:59:59Z" },
  ]);
  await node.restart("SIGKILL");
  await client.send("s", [{ k: "a", ts: "2026-10-25T23:00:00Z" }]);
  await client.send("s", [{ k: "a", ts: "2026-10-24T22:00:00Z" }]);
  // Its day is closed; one of its three windows of three days is open.
  assert.equal((await client.late("s")).length, 1);
  await client.watermark("s", { time: "2026-10-27T23:00:00Z" });
  assert.deepEqual((await client.results("days", { revisions: "all" })).map(brief), [
    "2026-10-23T22:00 2026-10-24T22:00 1 0 on-time",
    "2026-10-24T22:00 2026-10-25T23:00 2 0 on-time",
    "2026-10-25T23:00 2026-10-26T23:00 1 0 on-time",
  ]);
  assert.deepEqual((await client.results("week", { revisions: "all" })).map(brief), [
    "2026-10-21T22:00 2026-10-24T22:00 1 0 on-time",
    "2026-10-22T22:00 2026-10-25T23:00 3 0 on-time",
    "2026-10-23T22:00 2026-10-26T23:00 5 0 on-time",
    "2026-10-24T22:00 2026-10-27T23:00 4 0 on-time",
  ]);
  await client.send("s", [{ k: "a", ts: "2026-10-24T12:00:00Z" }]);
  assert.equal((await client.late("s")).length, 2);
});

test("early results as the watermark moves, the same after a restart", async (context) => {
  const node = await spawnNode({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const expected = [
    "2026-01-01T00:00 2026-01-01T00:01 1 0 early",
    "2026-01-01T00:00 2026-01-01T00:01 3 1 early",
    "2026-01-01T00:00 2026-01-01T00:01 4 2 on-time",
    "2026-01-01T00:00 2026-01-01T00:01 5 3 late",
    "2026-01-01T00:01 2026-01-01T00:02 1 0 early",
  ];
  for (const second of ["05", "06", "12", "13", "60", "14"]) {
    const ts = second === "60" ? "2026-01-01T00:01:00Z" : `2026-01-01T00:00:${second}Z`;
    await client.send("s", [{ k: "a", ts }]);
    if (second === "13") await node.restart("SIGKILL");
  }
  const shown = async (): Promise<string[]> =>
    (await client.results("minutes", { revisions: "all" })).map(brief).toSorted();
  assert.deepEqual(await shown(), expected);
  await node.restart("SIGKILL");
  assert.deepEqual(await shown(), expected);
  const latest = (await client.results("minutes")).map(brief);
  assert.deepEqual(latest, expected.slice(3));
});
