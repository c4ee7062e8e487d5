import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ChaosProxy } from "../support/chaos-proxy.ts";
import { all, assertSame, synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";

/** What was stored before sync was switched on, over a bad line, on a node that is killed in the middle. */

const KILLS = Number(process.env.MILLRACE_KILLS ?? 4);
const WINDOWS = 700;
const START_MS = Date.UTC(2026, 0, 1);
const CONFIG = `
node: { id: press-1 }
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1s, maxAhead: 36500d }, lateness: 10s }
queries:
  per_device: { from: machines, window: { tumbling: 1s }, by: [device], select: { n: count(), mean: avg(temp) } }
  all: { from: machines, window: { tumbling: 10s }, select: { n: count() } }
alerts:
  hot: { from: per_device, when: mean > 70, severity: critical }
`;

function eventsOf(from: number, windows: number): object[] {
  return Array.from({ length: windows * 7 }, (_, index) => {
    const n = from * 7 + index;
    return { ts: START_MS + Math.floor(n / 7) * 1_000, device: `m${n % 7}`, temp: 50 + ((n * 37) % 30), n };
  });
}

test("results and alerts from before sync was switched on reach the hub, each once, though the node is killed", async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const hub = new NodeProcess({ config: null, command: "hub" }, context);
  await hub.start();
  const proxy = await ChaosProxy.start(() => hub.url, random, context);
  const edge = new NodeProcess({ config: CONFIG }, context);
  const [atEdge, atHub] = [new HttpClient(() => edge.url), new HttpClient(() => hub.url)];
  context.after(() => atEdge.close());
  context.after(() => atHub.close());
  await edge.start();
  for (let from = 0; from < WINDOWS; from += 100) await atEdge.send("machines", eventsOf(from, 100));
  await all(atEdge, "/v1/queries/per_device/results");
  await edge.stop();
  const sync = `sync: { url: "${proxy.url}", bandwidth: 128kbps, batch: { events: 200, every: 200ms }, largest: { events: 400 }, retry: { first: 50ms, longest: 500ms }, probe: 100ms, breaker: { open: 300ms } }\n`;
  writeFileSync(edge.configFile, readFileSync(edge.configFile, "utf8") + sync);
  await edge.start();
  const held = async (): Promise<number> =>
    (await all(atHub, "/v1/queries/per_device/results?revisions=all")).length;
  let [killedBetween, before] = [0, 0];
  for (let kill = 0; kill < KILLS; kill++) {
    // Old windows change and new ones come while the old ones are on their way.
    await atEdge.send("machines", eventsOf(WINDOWS + kill * 20, 20));
    await sleep(random.integer(50, 700));
    // The line is narrow: what comes in a life is a small part of it, however fast or slow the machine is.
    while ((await held()) === before) await sleep(20);
    await edge.kill("SIGKILL");
    const rows = await held();
    before = rows;
    if (rows > 0 && rows < WINDOWS * 7) killedBetween++;
    await edge.start();
  }
  await atEdge.watermark("machines", { end: true });
  await synced(edge, atEdge);
  const lists = { streams: ["machines"], queries: ["per_device", "all"] };
  const rows = await assertSame(atEdge, atHub, "press-1", lists);
  assert.ok(rows > 2 * 7 * WINDOWS, `${rows} rows were compared`);
  assert.ok((await all(atHub, "/v1/alerts?revisions=all")).length > 0, "alerts fired before and after");
  assert.ok(killedBetween > 0, "a kill came when some of it was there");
  context.diagnostic(`${rows} rows, ${killedBetween} of ${KILLS} kills in the middle`);
});
