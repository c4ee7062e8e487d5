import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ChaosProxy } from "../support/chaos-proxy.ts";
import { all, sinkState, synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";

const BODIES = 30;
const EVENTS = 200;

/** telegraf #16314, #16615: with the disk buffer on, inputs timed out after a while, and nothing was flushed after the outage. */
test("disk-strategy-stalls: inputs go on through an outage, and sync resumes by itself", async (context) => {
  const hub = new NodeProcess({ config: null, command: "hub" }, context);
  await hub.start();
  const proxy = await ChaosProxy.start(() => hub.url, Random.fromEnvironment(), context);
  proxy.isDown = true;
  const config = `
node: { id: press-1 }
streams: { machines: { key: device, time: { field: ts, unit: ms }, watermark: { maxAhead: 36500d } } }
sync: { url: "${proxy.url}", batch: { events: 500, every: 1s }, probe: 200ms, breaker: { open: 1d } }
`;
  const edge = new NodeProcess({ config }, context);
  await edge.start();
  const [atEdge, atHub] = [new HttpClient(() => edge.url), new HttpClient(() => hub.url)];
  context.after(() => atEdge.close());
  context.after(() => atHub.close());
  let sent = 0;
  const send = async (): Promise<void> => {
    const from = sent;
    sent += EVENTS;
    const start = Date.UTC(2026, 0, 1);
    const events = Array.from({ length: EVENTS }, (_, n) => ({
      ts: start + from + n,
      device: "m",
      n: from + n,
    }));
    await atEdge.send("machines", events);
  };
  for (let body = 0; body < BODIES; body++) await send();
  while ((await sinkState(atEdge)).breaker !== "open") await sleep(100);
  const { state, backlog, lastError } = await sinkState(atEdge);
  assert.equal(state, "unreachable");
  assert.equal(backlog.events, sent, "the status says what waits");
  assert.ok(lastError !== null);
  for (let body = 0; body < BODIES; body++) await send();
  proxy.isDown = false;
  const after = await synced(edge, atEdge);
  assert.equal(after.breaker, "closed", "a look at the hub closed it: by itself it would try again in a day");
  assert.equal((await all(atHub, "/v1/streams/machines/events")).length, sent);
});
