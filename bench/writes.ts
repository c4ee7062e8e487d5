import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../test/support/http-client.ts";
import { spawnNode } from "../test/support/node-process.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { Child } from "./support/child.ts";
import { withCleanups } from "./support/cleanups.ts";
import { fleetConfig } from "./support/fleet.ts";
import type { OpenLoopMessage, OpenLoopOptions } from "./support/open-loop-client.ts";

/** What a node writes to its disk for what it keeps: an SD card wears by bytes written. */

const RATES = [1_000, 100_000];
const DEFAULT_SECONDS = 30;
const WARMUP_MS = 2_000;

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups(async (cleanup) => {
    const rows = [];
    for (const rate of RATES) rows.push(await measure(rate, options.seconds ?? DEFAULT_SECONDS, cleanup));
    return {
      name: "writes",
      rows,
      notes: [
        "written: bytes of the node that the kernel sends to the disk (write_bytes of /proc/PID/io), write-ahead log,",
        "database, windows' checkpoints and results together; stored: the compressed blocks among it",
      ],
    };
  });
}

async function measure(rate: number, seconds: number, cleanup: Cleanup) {
  const node = await spawnNode({ config: fleetConfig("10s", "1s") }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const eventsPerBody = Math.max(10, rate / 100);
  const load: OpenLoopOptions = {
    url: node.url,
    path: "/v1/streams/fleet/events",
    connections: 8,
    devices: 1_000,
    bodies: 100,
    eventsPerBody,
    bodiesPerSecond: rate / eventsPerBody,
    warmupMs: WARMUP_MS,
    measureMs: seconds * 1_000,
  };
  const before = writtenBytes(node.pid);
  const child = new Child<OpenLoopMessage>(
    new URL("./support/open-loop-client.ts", import.meta.url),
    load,
    cleanup,
  );
  while ((await child.next()).kind !== "done");
  await sleep(500);
  const written = writtenBytes(node.pid) - before;
  const { accepted, storedBytes } = await client.json<{ accepted: number; storedBytes: number }>(
    "/v1/streams/fleet",
  );
  await node.stop();
  return {
    "events/s": rate,
    events: accepted,
    "stored B/event": (storedBytes / accepted).toFixed(1),
    "written B/event": (written / accepted).toFixed(1),
    "written / stored": (written / storedBytes).toFixed(1),
  };
}

function writtenBytes(pid: number): number {
  return Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1] ?? 0);
}
