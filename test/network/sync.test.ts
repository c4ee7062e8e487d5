import assert from "node:assert/strict";
import { test } from "node:test";
import { ChaosProxy } from "../support/chaos-proxy.ts";
import { all, assertSame, synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";

const configOf = (url: string): string => `
node: { id: press-1 }
checkpoint: { every: 10s }
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1s, maxAhead: 36500d }, lateness: 10s }
queries:
  per_device: { from: machines, window: { tumbling: 10s }, by: [device], select: { n: count(), mean: avg(temp) } }
alerts:
  hot: { from: per_device, when: mean > 60, severity: critical }
sync: { url: "${url}", batch: { events: 500, every: 1s }, retry: { first: 50ms, longest: 1s }, probe: 200ms, breaker: { open: 1s } }
`;

function eventsOf(from: number, count: number): object[] {
  const start = Date.UTC(2026, 0, 1);
  return Array.from({ length: count }, (_, index) => {
    const n = from + index;
    return { ts: start + n * 20, device: `m${n % 7}`, temp: 50 + ((n * 37) % 30), n };
  });
}

test("an edge sends events, results and alerts to a hub, which holds the same", async (context) => {
  const hub = new NodeProcess({ config: null, command: "hub" }, context);
  await hub.start();
  const random = Random.fromEnvironment();
  const proxy = await ChaosProxy.start(() => hub.url, random, context);
  const edge = new NodeProcess({ config: configOf(proxy.url) }, context);
  await edge.start();
  const [atEdge, atHub] = [new HttpClient(() => edge.url), new HttpClient(() => hub.url)];
  context.after(() => atEdge.close());
  context.after(() => atHub.close());
  for (let batch = 0; batch < 20; batch++) await atEdge.send("machines", eventsOf(batch * 300, 300));
  await atEdge.watermark("machines", { end: true });
  await synced(edge, atEdge);
  const lists = { streams: ["machines"], queries: ["per_device"] };
  const rows = await assertSame(atEdge, atHub, "press-1", lists);
  assert.ok(rows > 6_000, `${rows} rows were compared`);
  const [first] = await all(atHub, "/v1/streams/machines/events?limit=1");
  assert.equal(first?.edge, "press-1");
  assert.ok((await all(atHub, "/v1/alerts")).length > 0, "an alert fired");
  const { edges } = await atHub.json<{ edges: Record<string, unknown>[] }>("/v1/edges");
  assert.deepEqual(
    edges.map(({ edge: name, events, accepted, copies, conflicts }) => [
      name,
      events,
      accepted,
      copies,
      conflicts,
    ]),
    [["press-1", 6_000, 6_000, 0, 0]],
  );
  await edge.stop();
  await hub.stop();
});
