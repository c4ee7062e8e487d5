import assert from "node:assert/strict";
import { test } from "node:test";
import { ChaosProxy } from "../support/chaos-proxy.ts";
import { all, synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";

const BODIES = 40;
const EVENTS = 250;

/** telegraf #802, #1976: when an output was slow, metrics were dropped in silence. */
test("drops-when-slow: a slow hub gets everything in the end, and what is not kept would be in the ledger", async (context) => {
  const hub = new NodeProcess({ config: null, command: "hub" }, context);
  await hub.start();
  const proxy = await ChaosProxy.start(
    () => hub.url,
    Random.fromEnvironment(),
    context,
    () => "delay",
  );
  const config = `
node: { id: press-1 }
streams: { machines: { key: device, time: { field: ts, unit: ms }, watermark: { maxAhead: 36500d } } }
sync: { url: "${proxy.url}", batch: { events: 500, every: 1s }, bandwidth: 200kbps }
`;
  const edge = new NodeProcess({ config }, context);
  await edge.start();
  const [atEdge, atHub] = [new HttpClient(() => edge.url), new HttpClient(() => hub.url)];
  context.after(() => atEdge.close());
  context.after(() => atHub.close());
  const random = new Random(7);
  const start = Date.UTC(2026, 0, 1);
  for (let body = 0; body < BODIES; body++) {
    const events = Array.from({ length: EVENTS }, (_, n) => ({
      ts: start + body * EVENTS + n,
      device: `m${n % 9}`,
      n: body * EVENTS + n,
      noise: random.next(),
    }));
    await atEdge.send("machines", events);
  }
  await synced(edge, atEdge);
  const numbers = new Set((await all(atHub, "/v1/streams/machines/events")).map(({ n }) => n));
  assert.equal(numbers.size, BODIES * EVENTS);
  assert.deepEqual(await all(atEdge, "/v1/losses"), [], "nothing was given up");
  assert.deepEqual(await all(atHub, "/v1/losses"), []);
});
