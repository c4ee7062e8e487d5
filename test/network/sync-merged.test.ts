import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { unpackBatch } from "../../workers/sync/batch-format.ts";
import { nativeCodec } from "../../workers/zstd.ts";
import { assertSame, synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import type { Cleanup } from "../support/temp-dir.ts";

const codec = nativeCodec();
const EVENTS = 500;
const START_MS = Date.UTC(2026, 0, 1);

const configOf = (url: string, more = ""): string => `
node: { id: press-1 }
streams: { machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1s, maxAhead: 36500d } } }
sync: { url: "${url}", batch: { events: 300, every: 300ms }, retry: { first: 20ms, longest: 50ms }, probe: 100ms, breaker: { open: 200ms }${more} }
`;

function eventsOf(from: number): object[] {
  return Array.from({ length: EVENTS }, (_, index) => {
    const n = from + index;
    return { ts: START_MS + (n >> 4) * 20, device: `m${(n * 31) % 97}`, temp: 50 + ((n * 37) % 300) / 10, n };
  });
}

type Answering = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void;

/** In the place of a hub: `answer` answers batches, and everything else is well. */
async function startHub(answer: Answering, cleanup: Cleanup): Promise<string> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (request.method === "POST" && request.url === "/v1/sync")
        return answer(request, response, Buffer.concat(chunks));
      return response.writeHead(200).end("{}");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanup.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function startEdge(url: string, cleanup: Cleanup, more = "") {
  const edge = new NodeProcess({ config: configOf(url, more) }, cleanup);
  await edge.start();
  const client = new HttpClient(() => edge.url);
  cleanup.after(() => client.close());
  const send = async (from: number): Promise<void> => {
    await client.send("machines", eventsOf(from));
    await synced(edge, client);
  };
  return { edge, client, send };
}

test("blocks are merged once the hub has said that it reads that, and no more when it does not", async (context) => {
  const versions: number[] = [];
  const counts: number[] = [];
  let reads = 1;
  const url = await startHub((_, response, body) => {
    const { items, merged = [] } = unpackBatch(codec, body);
    const version = merged.length > 0 ? 3 : 1;
    versions.push(version);
    if (version > reads) {
      response.writeHead(400).end('{"detail":"of a later release"}');
      return;
    }
    counts.push(
      items.reduce((sum, item) => sum + (item.kind === "block" ? item.count : 0), 0) +
        merged.flatMap(({ parts }) => parts).reduce((sum, { count }) => sum + count, 0),
    );
    const headers = reads === 1 ? {} : { "millrace-batch-version": String(reads) };
    response.writeHead(200, headers).end('{"stored":1,"duplicate":false}');
  }, context);
  const { edge, send } = await startEdge(url, context, ", bandwidth: 1000Mbps");
  await send(0);
  await send(EVENTS);
  assert.deepEqual([...new Set(versions)], [1], "an earlier release says nothing");
  reads = 3;
  await send(2 * EVENTS);
  assert.deepEqual([...new Set(versions)], [1], "not known before an answer says so");
  await send(3 * EVENTS);
  assert.equal(versions.at(-1), 3);
  // Set back to the release before: it refuses, and is then sent what it reads.
  reads = 1;
  versions.length = 0;
  await send(4 * EVENTS);
  assert.deepEqual(versions.slice(0, 2), [3, 1]);
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    5 * EVENTS,
  );
  await edge.stop();
});

test("a hub that has what was merged takes it for the same blocks, however they come again", async (context) => {
  const hub = new NodeProcess({ config: null, command: "hub" }, context);
  await hub.start();
  const atHub = new HttpClient(() => hub.url);
  context.after(() => atHub.close());
  const versions = new Set<number>();
  let mode: "pass" | "swallow" | "plain" = "pass";
  const url = await startHub((request, response, body) => {
    versions.add((unpackBatch(codec, body).merged ?? []).length > 0 ? 3 : 1);
    const headers = Object.fromEntries(
      ["idempotency-key", "millrace-edge", "content-type"].map((name) => [
        name,
        String(request.headers[name]),
      ]),
    );
    void fetch(`${hub.url}/v1/sync`, { method: "POST", headers, body: new Uint8Array(body) }).then(
      async (answer) => {
        const text = await answer.text();
        // The hub has it, and the edge does not know.
        if (mode === "swallow") return response.writeHead(503).end();
        const version = mode === "plain" ? "1" : (answer.headers.get("millrace-batch-version") ?? "1");
        return response.writeHead(answer.status, { "millrace-batch-version": version }).end(text);
      },
    );
  }, context);
  const { edge, client, send } = await startEdge(url, context, ", bandwidth: 1000Mbps");
  await send(0);
  await send(EVENTS);
  assert.ok(versions.has(3), "some were merged");
  // Stored merged with the answer lost; the node starts anew and knows nothing of what the hub reads: it comes plainly.
  mode = "swallow";
  versions.clear();
  await client.send("machines", eventsOf(2 * EVENTS));
  while (!versions.has(3)) await new Promise((resolve) => setTimeout(resolve, 20));
  await edge.kill("SIGKILL");
  versions.clear();
  mode = "plain";
  await edge.start();
  await synced(edge, client);
  assert.deepEqual([...versions], [1]);
  const rows = await assertSame(client, atHub, "press-1", { streams: ["machines"], queries: [] });
  assert.equal(rows, 3 * EVENTS);
  const { edges } = await atHub.json<{ edges: { events: number; conflicts: number }[] }>("/v1/edges");
  assert.deepEqual(
    edges.map(({ events, conflicts }) => [events, conflicts]),
    [[3 * EVENTS, 0]],
  );
  await edge.stop();
  await hub.stop();
});
