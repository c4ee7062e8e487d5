import { HttpClient } from "../test/support/http-client.ts";
import { spawnNode } from "../test/support/node-process.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";
import { FIRST_EVENT_MS, runClosedLoop } from "./support/closed-loop.ts";
import { fleetConfig } from "./support/fleet.ts";

/**
 * Small requests: devices that send one event, or gateways that send a hundred, each request acknowledged after its fsync.
 * Closed loop, so that the latency at few connections and the rate at many show.
 */

const DEFAULT_SECONDS = 4;
const WARMUP_MS = 1_500;
const DEVICES = 10_000;
const SIZES = [
  { eventsPerBody: 1, connections: [1, 10, 100, 1_000] },
  { eventsPerBody: 100, connections: [1, 10, 100] },
];

interface Size {
  readonly eventsPerBody: number;
  readonly connections: number;
  readonly measureMs: number;
}

export async function run({ seconds, settings }: BenchOptions): Promise<BenchReport> {
  const measureMs = (seconds ?? DEFAULT_SECONDS) * 1_000;
  const wanted = settings.get("connections");
  const rows: Record<string, string | number>[] = [];
  const failures: string[] = [];
  for (const { eventsPerBody, connections } of SIZES) {
    for (const count of wanted === undefined ? connections : [Number(wanted)]) {
      const size = { eventsPerBody, connections: count, measureMs };
      const measured = await withCleanups((cleanup) => measure(size, cleanup));
      rows.push(measured.row);
      failures.push(...measured.failures);
    }
  }
  return {
    name: "small",
    rows,
    notes: [
      "the aims: 20,000 requests/s of one event each, 1,000,000 events/s in bodies of 100",
      `events of 5 fields and ${DEVICES.toLocaleString("en-US")} devices, HTTP/1.1 with keep-alive, one request at a time on each connection; every window on, every answer after its fsync`,
    ],
    failures,
  };
}

async function measure(
  { eventsPerBody, connections, measureMs }: Size,
  cleanup: Cleanup,
): Promise<{ row: Record<string, string | number>; failures: string[] }> {
  const node = await spawnNode({ config: fleetConfig("1m", "5s") }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const { done, eventsPerSecond, row, threads } = await runClosedLoop(
    {
      url: node.url,
      path: "/v1/streams/fleet/events",
      connections,
      devices: DEVICES,
      bodies: Math.max(64, connections * 2),
      eventsPerBody,
      warmupMs: WARMUP_MS,
      measureMs,
      maxEvents: null,
      firstEventMs: FIRST_EVENT_MS,
      msPerBody: 1,
    },
    node.pid,
    cleanup,
  );
  const { accepted } = await client.json<{ accepted: number }>("/v1/streams/fleet");
  const sent = done.totalEvents;
  return {
    row: {
      "events a request": eventsPerBody,
      connections,
      "requests/s": Math.round(eventsPerSecond / eventsPerBody),
      ...row,
      threads,
    },
    failures: accepted === sent ? [] : [`${sent} events were acknowledged, ${accepted} are counted`],
  };
}
