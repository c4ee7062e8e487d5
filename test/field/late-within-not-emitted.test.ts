import assert from "node:assert/strict";
import { test } from "node:test";
import { startFieldNode } from "../support/field-node.ts";

const CONFIG = `
streams:
  machines: { key: device, time: { field: ts, unit: s }, watermark: { bound: 0s }, lateness: 30s }
queries:
  sums: { from: machines, window: { tumbling: 10s }, select: { n: count(), total: sum(v) } }
`;

test("late-within-not-emitted: an event within lateness is a late revision at once, and in the final view", async (context) => {
  const { client, node } = await startFieldNode(CONFIG, context);
  await client.send("machines", [
    { device: "a", ts: 1, v: 1 },
    { device: "a", ts: 12, v: 1 },
  ]);
  await client.send("machines", [
    { device: "a", ts: 9, v: 5 },
    { device: "b", ts: 8, v: 2 },
  ]);
  const expected = [
    ["a", 0, "on-time", { n: 1, total: 1 }],
    ["a", 1, "late", { n: 2, total: 6 }],
    ["b", 0, "late", { n: 1, total: 2 }],
  ];
  const brief = async (revisions: "all" | "latest"): Promise<unknown[]> =>
    (await client.results("sums", { revisions })).map(({ key, revision, kind, values }) => [
      key.device,
      revision,
      kind,
      values,
    ]);
  for (const signal of [null, "SIGKILL"] as const) {
    if (signal !== null) await node.restart(signal);
    assert.deepEqual(await brief("all"), expected);
    assert.deepEqual(await brief("latest"), expected.slice(1));
    assert.deepEqual(await client.late("machines"), [], "what is within lateness is not set aside");
  }
});
