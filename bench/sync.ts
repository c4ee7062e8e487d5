import { setTimeout as sleep } from "node:timers/promises";
import { zstdCompressSync } from "node:zlib";
import { sinkState } from "../test/support/fleet.ts";
import { freePort } from "../test/support/free-port.ts";
import { HttpClient } from "../test/support/http-client.ts";
import { startHubDatabase } from "../test/support/hub-database.ts";
import { NodeProcess } from "../test/support/node-process.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";
import { FIRST_EVENT_MS, runClosedLoop } from "./support/closed-loop.ts";
import { fleetConfig, makeFleetBodies, stampBody } from "./support/fleet.ts";

/** Catching up: how fast a hub on the same machine gets what an edge has stored meanwhile, and in how many bytes. */

const DEFAULT_EVENTS = 4_000_000;
const AIM = "the aims are 2,000,000 events/s, and a third of the bytes of NDJSON in zstd";
const LONGEST_FILL_MS = 120_000;
const LONGEST_SYNC_MS = 120_000;
const EVENTS_PER_BODY = 4_000;

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups((cleanup) => measure(options, cleanup));
}

async function measure({ settings }: BenchOptions, cleanup: Cleanup): Promise<BenchReport> {
  const events = Number(settings.get("events") ?? DEFAULT_EVENTS);
  const port = await freePort();
  const sync = `sync: { url: "http://127.0.0.1:${port}", probe: 100ms, breaker: { open: 1s }, retry: { first: 100ms, longest: 1s } }`;
  const edge = new NodeProcess({ config: fleetConfig("1m", "5s", sync) }, cleanup);
  await edge.start();
  const client = new HttpClient(() => edge.url);
  cleanup.after(() => client.close());
  const { done } = await runClosedLoop(
    {
      url: edge.url,
      path: "/v1/streams/fleet/events",
      connections: 6,
      devices: 10_000,
      bodies: 64,
      eventsPerBody: EVENTS_PER_BODY,
      warmupMs: 0,
      measureMs: LONGEST_FILL_MS,
      maxEvents: events,
      firstEventMs: FIRST_EVENT_MS,
      msPerBody: 40,
    },
    edge.pid,
    cleanup,
  );
  await edge.stop();
  await edge.start();
  const database = await startHubDatabase(cleanup, settings.get("store") ?? "sqlite");
  const hub = new NodeProcess(
    { config: database.config, command: "hub", listen: `127.0.0.1:${port}` },
    cleanup,
  );
  await hub.start();
  const atHub = new HttpClient(() => hub.url);
  cleanup.after(() => atHub.close());
  const eventsAtHub = async (): Promise<number> => {
    const { edges } = await atHub.json<{ edges: { events: number }[] }>("/v1/edges");
    return edges.reduce((sum, each) => sum + each.events, 0);
  };
  // From the first batch to the last: results are under way beside them.
  let first = 0;
  while (first === 0) {
    await sleep(1);
    first = await eventsAtHub();
  }
  const startedMs = performance.now();
  let arrived = first;
  while (arrived < done.totalEvents && performance.now() - startedMs < LONGEST_SYNC_MS) {
    await sleep(10);
    arrived = await eventsAtHub();
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  const { wireBytes, rows } = (await sinkState(client)) as unknown as {
    wireBytes: number;
    rows: { events: number; results: number };
  };
  const failures =
    arrived === done.totalEvents ? [] : [`${done.totalEvents} events were sent, ${arrived} arrived`];
  const ndjson = ndjsonBytesPerEvent();
  const perEvent = wireBytes / done.totalEvents;
  return {
    name: "sync",
    rows: [
      {
        events: done.totalEvents,
        "catch-up s": Number(seconds.toFixed(2)),
        "events/s": Math.round((done.totalEvents - first) / seconds),
        "result rows meanwhile": rows.results,
        "bytes on the wire an event": Number(perEvent.toFixed(2)),
        "NDJSON + zstd": Number(ndjson.toFixed(2)),
        "times fewer": Number((ndjson / perEvent).toFixed(2)),
      },
    ],
    notes: [
      AIM,
      "edge, hub and its store (--store sqlite or postgres) on one machine, loopback, no cap; 10,000 devices, blocks of 4,000 events; bytes are those of all batches, results among them",
    ],
    failures,
  };
}

/** The same events as they came, in zstd at level 3, a body at a time. */
function ndjsonBytesPerEvent(): number {
  const bodies = makeFleetBodies({ devices: 10_000, bodies: 8, eventsPerBody: EVENTS_PER_BODY, seed: 1 });
  const bytes = bodies.reduce((sum, body, index) => {
    stampBody(body, FIRST_EVENT_MS + index * 40, 40);
    return sum + zstdCompressSync(body.bytes).length;
  }, 0);
  return bytes / (bodies.length * EVENTS_PER_BODY);
}
