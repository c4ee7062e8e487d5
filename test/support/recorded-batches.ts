import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { synced } from "./fleet.ts";
import { HttpClient } from "./http-client.ts";
import { NodeProcess } from "./node-process.ts";
import type { Cleanup } from "./temp-dir.ts";

/** A batch as an edge sent it. */
export interface RecordedBatch {
  readonly edge: string;
  readonly key: string;
  readonly body: Buffer;
}

const configOf = (edge: string, url: string, batchEvents: number): string => `
node: { id: ${edge} }
checkpoint: { every: 10s }
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1s, maxAhead: 36500d }, lateness: 10m }
  doors: { key: door, time: { field: at, unit: ms }, watermark: { bound: 1s, maxAhead: 36500d } }
queries:
  per_device: { from: machines, window: { tumbling: 10s }, by: [device], select: { n: count(), mean: avg(temp) } }
  all: { from: machines, window: { tumbling: 1m }, select: { n: count() } }
alerts:
  hot: { from: per_device, when: mean > 60, severity: critical }
sync: { url: "${url}", batch: { events: ${batchEvents}, every: 1s }, retry: { first: 50ms, longest: 1s }, probe: 200ms }
`;

export interface Sent {
  readonly stream: "machines" | "doors";
  readonly events: readonly object[];
}

/** What a real edge sends of these events, in its order: a stand-in for a hub takes it and keeps the bytes. */
export async function recordBatches(
  edge: string,
  sent: readonly Sent[],
  cleanup: Cleanup,
  batchEvents = 500,
): Promise<RecordedBatch[]> {
  const batches = new Map<string, RecordedBatch>();
  const hub = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const key = String(request.headers["idempotency-key"] ?? "");
      if (request.url === "/v1/sync" && request.method === "POST")
        batches.set(key, {
          edge: String(request.headers["millrace-edge"]),
          key,
          body: Buffer.concat(chunks),
        });
      response.setHeader("content-type", "application/json");
      response.end('{"stored":1,"duplicate":false}');
    });
  });
  hub.listen(0, "127.0.0.1");
  await once(hub, "listening");
  cleanup.after(() => {
    hub.closeAllConnections();
    hub.close();
  });
  const url = `http://127.0.0.1:${(hub.address() as AddressInfo).port}`;
  const node = new NodeProcess({ config: configOf(edge, url, batchEvents) }, cleanup);
  await node.start();
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  for (const { stream, events } of sent) {
    const { accepted } = await client.send(stream, events);
    assert.equal(accepted, events.length);
  }
  await client.watermark("machines", { end: true });
  await synced(node, client);
  await node.stop();
  return [...batches.values()];
}

/** Readings of seven machines, 20 ms apart, with what JSON can hold beside them. */
export function machineEvents(from: number, count: number): object[] {
  const start = Date.UTC(2026, 0, 1, 23, 59);
  return Array.from({ length: count }, (_, index) => {
    const n = from + index;
    const odd: Record<string, unknown> =
      n % 50 === 0
        ? { note: 'a\u0000b\u2028 "é" \\ 😀', big: 2 ** 53 + 2, deep: { a: { b: [1, null, "x"] } } }
        : {};
    return { ts: start + n * 20 - (n % 13) * 70, device: `m${n % 7}`, temp: 50 + ((n * 37) % 30), n, ...odd };
  });
}

export function doorEvents(count: number): object[] {
  const start = Date.UTC(2026, 0, 3);
  return Array.from({ length: count }, (_, n) => ({
    at: start + (n % 5 === 0 ? -40 * 86_400_000 : 0) + Math.floor(n / 3) * 1000,
    ...(n % 3 === 0 ? { site: `s${n % 4}` } : {}),
    door: n % 4 === 0 ? n % 6 : n / 8,
    open: n % 2 === 0,
  }));
}
