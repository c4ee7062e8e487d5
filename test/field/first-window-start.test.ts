import assert from "node:assert/strict";
import { test } from "node:test";
import { startFieldNode } from "../support/field-node.ts";

const CONFIG = `
streams:
  machines: { key: device, time: { field: ts }, watermark: { bound: 0s } }
queries:
  by_7s: { from: machines, window: { tumbling: 7s }, select: { n: count() } }
  by_minute: { from: machines, window: { tumbling: 1m, offset: 15s }, select: { n: count() } }
`;

test("first-window-start: every window is aligned to the epoch, the first too, whenever the node started", async (context) => {
  const { client } = await startFieldNode(CONFIG, context);
  const nowMs = Date.now();
  await client.send("machines", [
    { device: "a", ts: nowMs },
    { device: "a", ts: "1969-12-31T23:59:58Z" },
  ]);
  await client.watermark("machines", { end: true });
  const starts = async (query: string): Promise<number[]> =>
    (await client.results(query)).map(({ window }) => Date.parse(window.start));
  assert.deepEqual(await starts("by_7s"), [-7_000, Math.floor(nowMs / 7_000) * 7_000]);
  const aligned = Math.floor((nowMs - 15_000) / 60_000) * 60_000 + 15_000;
  assert.deepEqual(await starts("by_minute"), [-45_000, aligned]);
});
