import assert from "node:assert/strict";
import { test } from "node:test";
import { StoredNode } from "../support/stored-node.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const SECOND_US = 1_000_000;
const CONFIG = `
streams:
  s:
    key: device
    time: { field: ts, unit: s }
    watermark: { bound: 0s, maxAhead: 36500d }
    lateness: 5s
queries:
  sessions: { from: s, window: { session: 30s }, select: { n: count() } }
  minutes: { from: sessions, window: { tumbling: 1m }, select: { sessions: count(), n: sum(n) } }
`;

test("a session that was shown and has grown since is no event for the query above it", (context) => {
  const node = new StoredNode(makeTempDir(context), CONFIG);
  const rowsOf = (query: string): unknown[] =>
    node
      .results(query, "latest")
      .filter(({ key }) => key === '{"device":"a"}')
      .map(({ startUs, endUs, values }) => [startUs / SECOND_US, endUs / SECOND_US, JSON.parse(values)]);
  node.send([{ device: "a", ts: 0 }], 0);
  node.send([{ device: "b", ts: 32 }], 0);
  assert.deepEqual(rowsOf("sessions"), [[0, 30, { n: 1 }]]);
  // In time for the session, which then ends beyond the watermark; that has passed the old end and the lateness.
  node.send(
    [
      { device: "a", ts: 25 },
      { device: "a", ts: 40 },
      { device: "b", ts: 62 },
    ],
    0,
  );
  assert.deepEqual(rowsOf("sessions"), [[0, 30, { n: 1 }]], "it stands until the longer one is shown");
  node.watermark("end");
  assert.deepEqual(rowsOf("sessions"), [[0, 70, { n: 3 }]]);
  assert.deepEqual(rowsOf("minutes"), [[60, 120, { sessions: 1, n: 3 }]]);
  node.close();
});
