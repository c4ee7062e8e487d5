import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { unpackBatch } from "../../workers/sync/batch-format.ts";
import { decodeResults } from "../../workers/sync/rows.ts";
import { nativeCodec } from "../../workers/zstd.ts";
import { synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import type { Cleanup } from "../support/temp-dir.ts";

const START_MS = Date.UTC(2026, 0, 1);
const HOURS = 24;

interface Arrival {
  readonly kind: string;
  /** Of results: the latest window's start. */
  readonly latestUs: number;
  readonly bytes: number;
}

/** Stands in for a hub: says what came, in its order. Down until it is told otherwise. */
async function recorder(cleanup: Cleanup) {
  const arrivals: Arrival[] = [];
  const state = { isUp: false };
  const codec = nativeCodec();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (!state.isUp) return response.writeHead(503).end();
      if (request.method === "GET") return response.writeHead(200).end("{}");
      const body = Buffer.concat(chunks);
      for (const item of unpackBatch(codec, body).items) {
        const rows = item.kind === "results" ? decodeResults(item.ndjson) : [];
        const latestUs = Math.max(0, ...rows.map((row) => ("startUs" in row ? row.startUs : 0)));
        arrivals.push({ kind: item.kind, latestUs, bytes: body.length });
      }
      return response.writeHead(200).end('{"stored":1,"duplicate":false}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanup.after(() => {
    server.close();
  });
  const address = server.address();
  const port = address === null || typeof address === "string" ? 0 : address.port;
  return { arrivals, state, url: `http://127.0.0.1:${port}` };
}

test("after an outage: alerts first, the newest results next, and stored events go on beside them", async (context) => {
  const hub = await recorder(context);
  const config = `
node: { id: press-1 }
streams: { machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 0s, maxAhead: 36500d }, lateness: 0s } }
queries:
  per_minute: { from: machines, window: { tumbling: 1m }, by: [device], select: { n: count(), mean: avg(temp), top: max(temp), all: quantile(temp, 0.5) } }
alerts: { hot: { from: per_minute, when: mean > 70, severity: critical } }
sync: { url: "${hub.url}", batch: { events: 500, bytes: 16KiB, every: 1s }, bandwidth: 1Mbps, probe: 100ms, breaker: { open: 500ms }, retry: { first: 50ms, longest: 500ms } }
`;
  const edge = new NodeProcess({ config }, context);
  await edge.start();
  const client = new HttpClient(() => edge.url);
  context.after(() => client.close());
  for (let hour = 0; hour < HOURS; hour++) {
    const events = Array.from({ length: 60 * 20 }, (_, n) => ({
      ts: START_MS + hour * 3_600_000 + n * 3_000,
      device: `m${n % 20}`,
      temp: 60 + Math.sin(hour + n) * 25,
    }));
    await client.send("machines", events);
  }
  await client.watermark("machines", { end: true });
  // Some batches were tried meanwhile, and the breaker is open.
  await sleep(1_500);
  assert.equal(hub.arrivals.length, 0);
  hub.state.isUp = true;
  await synced(edge, client);
  const kinds = hub.arrivals.map(({ kind }) => kind);
  const firstOf = (kind: string): number => kinds.indexOf(kind);
  // What was begun before the outage was noticed is a batch of each class at most.
  const begun = 12;
  assert.ok(firstOf("alerts") < begun, `the first alert came ${firstOf("alerts")}th`);
  const results = hub.arrivals.filter(({ kind }) => kind === "results");
  assert.ok(results.length > 4, `${results.length} groups of results`);
  const newest = Math.max(...results.map(({ latestUs }) => latestUs));
  const place = results.findIndex(({ latestUs }) => latestUs === newest);
  assert.ok(place < begun, `the newest results came ${place}th of ${results.length}`);
  const [lastResult, firstEvents] = [kinds.lastIndexOf("results"), firstOf("block")];
  assert.ok(firstEvents >= 0 && firstEvents < Math.max(begun, lastResult), "stored events did not starve");
  await edge.stop();
});
