import assert from "node:assert/strict";
import { test } from "node:test";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";

const CONFIG = `
streams:
  s: { key: device, time: { field: ts, unit: s }, watermark: { bound: 0s, maxAhead: 36500d }, lateness: 0s }
queries:
  q: { from: s, window: { tumbling: 10s }, select: { top: max(temp) } }
  above: { from: q, window: { tumbling: 20s }, select: { top: max(top) } }
alerts:
  high: { from: above, when: top > 90, for: 2 }
`;

test("alerts over a query on a query judge each result once, after reloads and after a replay without a checkpoint", async (context) => {
  const node = new NodeProcess({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const steps = async (): Promise<string[]> =>
    (await client.alerts({ revisions: "all" })).map(
      ({ state, since, at, revision }) => `${state} ${since.slice(17, 19)}-${at.slice(14, 19)} ${revision}`,
    );
  await node.start();
  await client.send(
    "s",
    [1, 21, 41].map((ts) => ({ device: "a", ts, temp: 95 })),
  );
  await node.restart("SIGKILL");
  const { text } = await client.request("GET", "/v1/config");
  for (let times = 0; times < 2; times++)
    assert.equal((await client.request("PUT", "/v1/config", text)).status, 200);
  // Results that end what is firing and begin anew in one step: looked at twice, they would be another alert.
  await client.send("s", [
    { device: "a", ts: 42, temp: 95 },
    { device: "a", ts: 61, temp: 1 },
    { device: "a", ts: 81, temp: 1 },
  ]);
  await client.watermark("s", { end: true });
  const all = ["pending 00-00:20 0", "firing 00-00:40 1", "resolved 00-01:20 2"];
  assert.deepEqual(await steps(), all);
  for (let times = 0; times < 2; times++) {
    await node.restart("SIGKILL");
    assert.deepEqual(await steps(), all);
  }
  const { alerts } = await client.json<{ alerts: { ignoredRevisions: number }[] }>("/v1/status");
  assert.deepEqual(
    alerts.map(({ ignoredRevisions }) => ignoredRevisions),
    [0],
  );
  await node.stop();
});
