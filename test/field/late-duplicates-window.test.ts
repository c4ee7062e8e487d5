import assert from "node:assert/strict";
import { test } from "node:test";
import { startFieldNode } from "../support/field-node.ts";

const CONFIG = `
streams:
  machines: { key: device, time: { field: ts, unit: s }, watermark: { bound: 0s }, lateness: 10s }
queries:
  counts: { from: machines, window: { tumbling: 10s }, by: [], select: { n: count() } }
`;

test("late-duplicates-window: late rows revise their window, they never make a second one", async (context) => {
  const { client, node } = await startFieldNode(CONFIG, context);
  const event = (ts: number) => ({ device: "a", ts });
  await client.send("machines", [event(1), event(2), event(3), event(11)]);
  await client.send("machines", [event(4)]);
  await client.send("machines", [event(50)]);
  // Beyond lateness: applied by hand, and still the same window.
  await client.send("machines", [event(5)]);
  const answer = await client.request("POST", "/v1/streams/machines/late/apply");
  assert.equal(answer.status, 200, answer.text);
  await node.restart("SIGKILL");
  const rows = (await client.results("counts", { to: "10000000", revisions: "all" })).map(
    ({ window, key, revision, kind, values }) => [window.start, window.end, key, revision, kind, values.n],
  );
  const window = ["1970-01-01T00:00:00.000Z", "1970-01-01T00:00:10.000Z", {}] as const;
  assert.deepEqual(rows, [
    [...window, 0, "on-time", 3],
    [...window, 1, "late", 4],
    [...window, 2, "late", 5],
  ]);
  assert.equal(
    (await client.results("counts", { to: "10000000" })).length,
    1,
    "upserted by window and key: one row",
  );
});
