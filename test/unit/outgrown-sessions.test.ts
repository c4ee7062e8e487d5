import assert from "node:assert/strict";
import { test } from "node:test";
import { standing } from "../support/alert-fixture.ts";
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

test("an alert over sessions that have grown together does not settle on one of them, with a checkpoint or without", (context) => {
  for (const hasCheckpoint of [false, true]) {
    const node = new StoredNode(
      makeTempDir(context),
      `${CONFIG.replace("lateness: 5s", "lateness: 60s")}alerts: { many: { from: sessions, when: n < 3 } }\n`,
    );
    const at = (device: string, ...times: number[]) => times.map((ts) => ({ device, ts }));
    node.send(at("a", 0), 0);
    node.send(at("a", 31), 0);
    node.send(at("b", 65), 0);
    // They become one, which ends behind a watermark that has passed the ends of both, and the lateness.
    node.send([...at("a", 20, 50, 75, 100, 125, 150, 175, 195), ...at("b", 200)], 0);
    if (hasCheckpoint) node.checkpoint();
    node.watermark("end");
    const told = node.alerts.filter(({ key }) => key === '{"device":"a"}');
    assert.deepEqual(
      told.slice(0, 2).map(({ state, sinceUs, isRetracted }) => [state, sinceUs / SECOND_US, isRetracted]),
      [
        ["firing", 0, false],
        ["resolved", 0, true],
      ],
    );
    assert.deepEqual(standing(told), []);
    node.close();
  }
});
