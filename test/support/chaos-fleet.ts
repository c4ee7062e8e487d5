import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { runAudit } from "./audit.ts";
import { ChaosProxy, MISHAPS } from "./chaos-proxy.ts";
import { all, assertSame, synced } from "./fleet.ts";
import { HttpClient } from "./http-client.ts";
import { HUB_STORE, startHubDatabase } from "./hub-database.ts";
import { EventClock, LoadClient } from "./load.ts";
import { NodeProcess } from "./node-process.ts";
import { Random } from "./random.ts";
import type { Cleanup } from "./temp-dir.ts";

export interface ChaosOptions {
  readonly edges: number;
  /** Edges and hub, one at a time. */
  readonly kills: number;
  /** The longest time from a start to the next kill; half of it on average. */
  readonly longestLifeMs: number;
  readonly random: Random;
  /** Between an edge's batches, so that long runs do not outgrow the comparison. */
  readonly pauseMs?: number;
}

export interface ChaosReport {
  readonly edges: readonly {
    readonly name: string;
    readonly events: number;
    /** Compared, one by one: events, results of all revisions, alerts, losses. */
    readonly rows: number;
    readonly auditedHours: number;
    readonly starts: number;
  }[];
  readonly hubStarts: number;
  readonly mishaps: Readonly<Record<string, number>>;
}

const MISHAP_SHARE = 0.5;

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

/**
 * Edges under load, a hub, and a proxy between them that cuts, delays, garbles, truncates, repeats and answers in the hub's
 * place, while all of them are killed at random. At the end the hub must hold exactly what each edge holds: row by
 * row, and by the audit.
 */
export async function runChaos(
  { edges: count, kills, longestLifeMs, random, pauseMs = 0 }: ChaosOptions,
  cleanup: Cleanup,
): Promise<ChaosReport> {
  const database = await startHubDatabase(cleanup);
  const hub = new NodeProcess({ config: database.config, command: "hub" }, cleanup);
  await hub.start();
  let isChaos = true;
  const proxy = await ChaosProxy.start(
    () => database.front ?? hub.url,
    random,
    cleanup,
    () => (isChaos && random.chance(MISHAP_SHARE) ? random.pick(MISHAPS) : "pass"),
  );
  const atHub = new HttpClient(() => hub.url);
  cleanup.after(() => atHub.close());
  const edges = await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const node = new NodeProcess({ config: configOf(index, proxy.url) }, cleanup);
      await node.start();
      const client = new HttpClient(() => node.url);
      cleanup.after(() => client.close());
      const load = new LoadClient({
        client,
        stream: "load",
        name: `client-${index}`,
        clock: new EventClock(Date.UTC(2026, 0, 1), 5),
        random: new Random(random.integer(0, 2 ** 31)),
        eventsPerBatch: 40,
        pauseMs,
      });
      return { name: `edge-${index}`, node, client, load, running: load.run() };
    }),
  );
  const killed = [hub, ...database.killable, ...edges.map(({ node }) => node)];
  for (let kill = 0; kill < kills; kill++) {
    await sleep(random.integer(0, longestLifeMs));
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
  const compared: ChaosReport["edges"][number][] = [];
  for (const { name, node, client, load } of edges) {
    await client.watermark("load", { end: true });
    await synced(node, client);
    await database.settled();
    const rows = await assertSame(client, atHub, name, lists);
    const events = load.events.length;
    assert.equal((await all(atHub, `/v1/streams/load/events?edge=${name}`)).length, events);
    const auditedHours = await audited(node, hub, events);
    compared.push({ name, events, rows, auditedHours, starts: node.starts });
  }
  assert.deepEqual(await all(atHub, "/v1/dlq"), []);
  const { edges: known } = await atHub.json<{ edges: Record<string, unknown>[] }>("/v1/edges");
  for (const { copies, conflicts } of known) assert.deepEqual([copies, conflicts], [0, 0]);
  return { edges: compared, hubStarts: hub.starts, mishaps: Object.fromEntries(proxy.counts) };
}

/** @returns hours that are the same; 0 where the hub's store has no audit */
async function audited(node: NodeProcess, hub: NodeProcess, events: number): Promise<number> {
  if (HUB_STORE !== "sqlite") return 0;
  const { exitCode, report } = await runAudit(node.url, hub.url);
  assert.deepEqual([report.findings, report.others, exitCode], [[], [], 0]);
  assert.equal(report.equalEvents, events);
  return report.equalHours;
}
