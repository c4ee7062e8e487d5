import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assertSame, synced } from "../support/fleet.ts";
import { freePort } from "../support/free-port.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";

test("an encrypted edge sends what its key opens, and its outbox shows nothing", async (context) => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const config = `
node: { id: press-1 }
encryption: { key: "${"0123456789abcdef".repeat(4)}" }
streams: { machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 0s, maxAhead: 36500d }, lateness: 0s } }
queries: { per_device: { from: machines, window: { tumbling: 1s }, by: [device], select: { n: count() } } }
sync: { url: "${url}", batch: { every: 1s }, retry: { first: 20ms, longest: 200ms }, probe: 100ms, breaker: { open: 200ms } }
`;
  const edge = new NodeProcess({ config }, context);
  await edge.start();
  const atEdge = new HttpClient(() => edge.url);
  context.after(() => atEdge.close());
  const events = Array.from({ length: 500 }, (_, n) => ({
    ts: Date.UTC(2026, 0, 1) + n * 100,
    device: `secret-device-${n % 3}`,
    n,
  }));
  await atEdge.send("machines", events);
  await atEdge.watermark("machines", { end: true });
  await edge.stop();
  const file = readFileSync(join(edge.dataDir, "millrace.db"));
  assert.ok(!file.includes("secret-device"), "the outbox is sealed as all else");
  const hub = new NodeProcess({ config: null, command: "hub", listen: url.slice("http://".length) }, context);
  await hub.start();
  const atHub = new HttpClient(() => hub.url);
  context.after(() => atHub.close());
  await edge.start();
  await synced(edge, atEdge);
  const rows = await assertSame(atEdge, atHub, "press-1", { streams: ["machines"], queries: ["per_device"] });
  assert.ok(rows > 600, `${rows} rows`);
});
