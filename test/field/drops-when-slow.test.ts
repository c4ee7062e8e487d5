import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { asSent } from "../support/chaos-load.ts";
import { ChaosProxy } from "../support/chaos-proxy.ts";
import { all, pages, synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";

const BODIES = 40;
const EVENTS = 250;

/** telegraf #802, #1976: when an output was slow, metrics were dropped in silence. */
test("drops-when-slow: a slow hub gets everything in the end", async (context) => {
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

/** Events of this size fill the buffer while the line takes next to nothing of them. */
const LETTERS = 12 * 1024;
const LARGE_BODIES = 220;
const LARGE_EVENTS = 10;

/** A full buffer says when to come back: what it holds may be needed by a restart until the next checkpoint. */
async function sendUntilTaken(client: HttpClient, stream: string, events: readonly object[]): Promise<void> {
  for (;;) {
    const { status, text, headers } = await client.post(stream, events);
    if (status === 200) return;
    assert.equal(status, 507, text);
    await sleep(Number(headers["retry-after"]) * 1_000);
  }
}

test("drops-when-slow: what a slow hub leaves no room for is the oldest of the least important, and each event of it is in the ledger", async (context) => {
  const hub = new NodeProcess({ config: null, command: "hub" }, context);
  await hub.start();
  const edge = new NodeProcess(
    {
      config: `
node: { id: press-1 }
buffer: { cap: 16MiB }
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { maxAhead: 36500d }, priority: 1 }
  chatter: { key: device, time: { field: ts, unit: ms }, watermark: { maxAhead: 36500d }, priority: 8 }
sync: { url: "${hub.url}", batch: { events: 500, bytes: 64KiB, every: 1s }, bandwidth: 400kbps }
`,
    },
    context,
  );
  await edge.start();
  const [atEdge, atHub] = [new HttpClient(() => edge.url), new HttpClient(() => hub.url)];
  context.after(() => atEdge.close());
  context.after(() => atHub.close());
  const start = Date.UTC(2026, 0, 1);
  let sent = 0;
  for (let body = 0; body < LARGE_BODIES; body++) {
    const chatter = Array.from({ length: LARGE_EVENTS }, (_, index) =>
      asSent({ n: sent + index, device: "m", ts: start + sent + index, v: 0, letters: LETTERS }),
    );
    await sendUntilTaken(atEdge, "chatter", chatter);
    await sendUntilTaken(atEdge, "machines", [{ ts: start + body, device: "m", n: body }]);
    sent += LARGE_EVENTS;
  }
  // Now the line is good, so that the test need not wait for hours.
  const config = readFileSync(edge.configFile, "utf8").replace(", bandwidth: 400kbps", "");
  writeFileSync(edge.configFile, config);
  await edge.restart("SIGKILL");
  await synced(edge, atEdge);
  const important = await all(atHub, "/v1/streams/machines/events");
  assert.deepEqual(
    important.map(({ n }) => n),
    Array.from({ length: LARGE_BODIES }, (_, n) => n),
    "the stream that matters is whole",
  );
  const seen = new Set<number>();
  for await (const rows of pages(atHub, "/v1/streams/chatter/events", 200))
    for (const row of rows) if (row.downsampled !== true) seen.add(Number(row.n));
  const losses = await all(atHub, "/v1/losses");
  const lost = losses.filter(({ stream, kind }) => stream === "chatter" && kind === "events");
  const inLedger = lost.reduce((sum, { count }) => sum + Number(count), 0);
  assert.ok(inLedger > 0, "there was no room for all");
  assert.equal(seen.size + inLedger, sent, "each event is at the hub or in the ledger");
  // Aggregates that took the place of events, and then had to go themselves, are rows of another kind.
  assert.deepEqual(
    losses.filter(({ stream }) => stream !== "chatter"),
    [],
    "nothing else was lost",
  );
  assert.ok(seen.has(sent - 1), "the newest is kept");
  assert.deepEqual(
    await all(atEdge, "/v1/losses"),
    losses.map(({ edge: _edge, ...loss }) => loss),
  );
});
