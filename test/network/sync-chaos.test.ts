import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { runAudit } from "../support/audit.ts";
import { ChaosProxy, MISHAPS } from "../support/chaos-proxy.ts";
import { all, assertSame, synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { EventClock, LoadClient } from "../support/load.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";

const EDGES = Number(process.env.MILLRACE_EDGES ?? 2);
const KILLS = Number(process.env.MILLRACE_KILLS ?? 8);
const MISHAP_SHARE = 0.5;
const LONGEST_LIFE_MS = 1_500;

/** Connections are closed after each request now and then, so that each of many meets its own mishap. */
const configOf = (edge: number, url: string): string => `
node: { id: edge-${edge} }
checkpoint: { every: 10s }
streams:
  load:
    key: client
    time: { field: ts, unit: ms }
    watermark: { bound: 5s, maxAhead: 36500d }
    lateness: 5s
queries:
  per_client: { from: load, window: { tumbling: 1s }, by: [client], select: { n: count(), total: sum(v) } }
alerts:
  positive: { from: per_client, when: total > 0, severity: critical }
sync:
  url: "${url}"
  batch: { events: 200, every: 1s }
  timeout: 500ms
  retry: { first: 20ms, longest: 300ms }
  breaker: { open: 300ms }
  probe: 100ms
`;

test(`${EDGES} edges, a bad network, ${KILLS} kills of edges and hub: the hub holds what the edges hold`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const hub = new NodeProcess({ config: null, command: "hub" }, context);
  await hub.start();
  let isChaos = true;
  const proxy = await ChaosProxy.start(
    () => hub.url,
    random,
    context,
    () => (isChaos && random.chance(MISHAP_SHARE) ? random.pick(MISHAPS) : "pass"),
  );
  const atHub = new HttpClient(() => hub.url);
  context.after(() => atHub.close());
  const edges = await Promise.all(
    Array.from({ length: EDGES }, async (_, index) => {
      const node = new NodeProcess({ config: configOf(index, proxy.url) }, context);
      await node.start();
      const client = new HttpClient(() => node.url);
      context.after(() => client.close());
      const load = new LoadClient({
        client,
        stream: "load",
        name: `client-${index}`,
        clock: new EventClock(Date.UTC(2026, 0, 1), 5),
        random: new Random(random.integer(0, 2 ** 31)),
        eventsPerBatch: 40,
      });
      return { name: `edge-${index}`, node, client, load, running: load.run() };
    }),
  );
  const killed = [hub, ...edges.map(({ node }) => node)];
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(random.integer(0, LONGEST_LIFE_MS));
    const victim = random.pick(killed);
    proxy.cut();
    await victim.kill("SIGKILL");
    await sleep(random.integer(0, 300));
    await victim.start();
  }
  for (const { load } of edges) load.stop();
  await Promise.all(edges.map(({ running }) => running));
  isChaos = false;
  proxy.cut();
  const lists = { streams: ["load"], queries: ["per_client"] };
  for (const { name, node, client, load } of edges) {
    await client.watermark("load", { end: true });
    const state = await synced(node, client);
    const rows = await assertSame(client, atHub, name, lists);
    assert.equal((await all(atHub, `/v1/streams/load/events?edge=${name}`)).length, load.events.length);
    const { exitCode, report } = await runAudit(node.url, hub.url);
    assert.deepEqual([report.findings, report.others, exitCode], [[], [], 0]);
    assert.equal(report.equalEvents, load.events.length);
    context.diagnostic(`${name}: ${rows} rows the same; ${state.failures} failures since its last start`);
  }
  context.diagnostic(JSON.stringify(Object.fromEntries(proxy.counts)));
  const { edges: known } = await atHub.json<{ edges: Record<string, unknown>[] }>("/v1/edges");
  for (const { copies, conflicts } of known) assert.deepEqual([copies, conflicts], [0, 0]);
});
