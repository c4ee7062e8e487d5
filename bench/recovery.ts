import { HttpClient } from "../test/support/http-client.ts";
import { spawnNode } from "../test/support/node-process.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";
import { FIRST_EVENT_MS, runClosedLoop } from "./support/closed-loop.ts";
import { fleetConfig } from "./support/fleet.ts";
import { readUsage } from "./support/proc.ts";

/** Recovery: how fast the log is replayed when a node is killed long after its last checkpoint. */

const DEFAULT_EVENTS = 6_000_000;
const AIM = "the aim is 10,000,000 events/s replayed";
const LONGEST_FILL_MS = 120_000;

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups((cleanup) => measure(options, cleanup));
}

async function measure({ settings }: BenchOptions, cleanup: Cleanup): Promise<BenchReport> {
  const events = Number(settings.get("events") ?? DEFAULT_EVENTS);
  const config = fleetConfig("1m", "5s", "checkpoint: { every: 1h }");
  const node = await spawnNode({ config }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const { done } = await runClosedLoop(
    {
      url: node.url,
      path: "/v1/streams/fleet/events",
      connections: 6,
      devices: 10_000,
      bodies: 64,
      eventsPerBody: 4_000,
      warmupMs: 0,
      measureMs: LONGEST_FILL_MS,
      maxEvents: events,
      firstEventMs: FIRST_EVENT_MS,
      msPerBody: 40,
    },
    node.pid,
    cleanup,
  );
  await node.kill("SIGKILL");
  const startedMs = performance.now();
  await node.start();
  const readyMs = performance.now() - startedMs;
  const usage = readUsage(node.pid);
  const recovered = node.lastEntry("recovered");
  const replayed = Number(recovered?.events ?? Number.NaN);
  const failures: string[] = [];
  if (replayed !== done.totalEvents)
    failures.push(`${done.totalEvents} events acknowledged, ${replayed} replayed`);
  await client.watermark("fleet", { end: true });
  let inWindows = 0;
  for (const { values } of await client.results("temp")) inWindows += values.n ?? 0;
  if (inWindows !== done.totalEvents)
    failures.push(`${done.totalEvents} events acknowledged, ${inWindows} in windows`);
  await node.restart("SIGTERM");
  const afterCheckpointMs = performance.now();
  await node.restart("SIGTERM");
  return {
    name: "recovery",
    rows: [
      {
        "events replayed": replayed,
        "replay s": Number(recovered?.seconds ?? Number.NaN),
        "events/s": Number(recovered?.eventsPerSecond ?? Number.NaN),
        "ready after ms": Math.round(readyMs),
        "processor ms until then": usage?.cpuMs ?? Number.NaN,
        "stop and start after a checkpoint ms": Math.round(performance.now() - afterCheckpointMs),
      },
    ],
    notes: [
      AIM,
      "kill -9, then the time from the start of the process to its ready line; 10,000 devices, blocks of 4,000 events",
    ],
    failures,
  };
}
