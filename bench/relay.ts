import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../test/support/free-port.ts";
import { HttpClient } from "../test/support/http-client.ts";
import { NodeProcess } from "../test/support/node-process.ts";
import { machineEvents, type RecordedBatch, recordBatches } from "../test/support/recorded-batches.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";

/** A site relay: how fast it takes batches of several edges while the hub is away, and how fast it sends them on. */

const DEFAULT_EVENTS = 400_000;
const EDGES = 4;
const EVENTS_PER_BODY = 5_000;
const LONGEST_MS = 120_000;

interface RelayState {
  readonly edges: readonly {
    readonly waiting: number;
    readonly received: number;
    readonly forwarded: number;
  }[];
}

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups((cleanup) => measure(options, cleanup));
}

async function measure({ settings }: BenchOptions, cleanup: Cleanup): Promise<BenchReport> {
  const events = Number(settings.get("events") ?? DEFAULT_EVENTS);
  const perEdge = Math.ceil(events / EDGES / EVENTS_PER_BODY);
  const total = EDGES * perEdge * EVENTS_PER_BODY;
  const batches: RecordedBatch[][] = [];
  for (let edge = 0; edge < EDGES; edge++) {
    const sent = Array.from({ length: perEdge }, (_, at) => ({
      stream: "machines" as const,
      events: machineEvents(at * EVENTS_PER_BODY, EVENTS_PER_BODY),
    }));
    batches.push(await recordBatches(`edge-${edge}`, sent, cleanup, EVENTS_PER_BODY));
  }
  const listen = `127.0.0.1:${await freePort()}`;
  const relay = new NodeProcess(
    {
      config: `node: { id: site }\nsync: { url: "http://${listen}", probe: 100ms, retry: { first: 20ms, longest: 200ms }, breaker: { open: 200ms } }\nrelay: true\n`,
    },
    cleanup,
  );
  await relay.start();
  const client = new HttpClient(() => relay.url);
  cleanup.after(() => client.close());

  const receivedMs = await timed(() => Promise.all(batches.map((ofEdge) => post(client, ofEdge))));
  const count = batches.flat().length;
  const hub = new NodeProcess({ config: "relays: { site: any }\n", command: "hub", listen }, cleanup);
  await hub.start();
  const forwardedMs = await timed(() => forwarded(client, count));
  const atHub = new HttpClient(() => hub.url);
  cleanup.after(() => atHub.close());
  const { edges } = await atHub.json<{ edges: { events: number }[] }>("/v1/edges");
  const stored = edges.reduce((sum, edge) => sum + edge.events, 0);
  const bytes = batches.flat().reduce((sum, { body }) => sum + body.length, 0);
  const row = (what: string, ms: number): BenchReport["rows"][number] => ({
    what,
    events: total,
    batches: count,
    bytes,
    seconds: Number((ms / 1_000).toFixed(2)),
    "events/s": Math.round((total / ms) * 1_000),
  });
  return {
    name: "relay",
    rows: [row("taken, fsynced, hub away", receivedMs), row("sent on to a hub on SQLite", forwardedMs)],
    notes: [
      "relay, hub and the sender on one machine; each batch is read to its end at the relay and at the hub",
    ],
    failures: stored === total ? [] : [`the hub holds ${stored} of ${total} events`],
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

/** One after the other, as an edge sends. */
async function post(client: HttpClient, batches: readonly RecordedBatch[]): Promise<void> {
  for (const { edge, key, body } of batches) {
    const headers = {
      "content-type": "application/vnd.millrace.batch",
      "idempotency-key": key,
      "millrace-edge": edge,
    };
    const { status, text } = await client.request("POST", "/v1/sync", body, headers);
    if (status !== 200) throw new Error(`the relay answered ${status}: ${text}`);
  }
}

async function forwarded(client: HttpClient, batches: number): Promise<void> {
  const endMs = performance.now() + LONGEST_MS;
  for (;;) {
    const { relay } = await client.json<{ relay: RelayState }>("/v1/status");
    const sent = relay.edges.reduce((sum, edge) => sum + edge.forwarded, 0);
    if (sent >= batches) return;
    if (performance.now() > endMs) throw new Error(`only ${sent} of ${batches} batches were sent on`);
    await sleep(20);
  }
}
