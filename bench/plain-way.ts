import { join } from "node:path";
import { type Cleanup, makeTempDir } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { Child } from "./support/child.ts";
import { withCleanups } from "./support/cleanups.ts";
import { type ClosedLoopRun, FIRST_EVENT_MS, runClosedLoop } from "./support/closed-loop.ts";
import type { PlainMessage, PlainOptions } from "./support/plain-server.ts";

const WARMUP_MS = 1_000;
const DEFAULT_SECONDS = 8;

/** The yardstick: what one gets from node:http, JSON.parse, SQLite rows and a Map. */
export async function run({ seconds }: BenchOptions): Promise<BenchReport> {
  const { row } = await withCleanups((cleanup) =>
    measurePlainWay(10_000, (seconds ?? DEFAULT_SECONDS) * 1_000, cleanup),
  );
  return { name: "plain-way", rows: [{ way: "plain, 10,000 devices", ...row }] };
}

export async function measurePlainWay(
  devices: number,
  measureMs: number,
  cleanup: Cleanup,
): Promise<ClosedLoopRun> {
  const options: PlainOptions = {
    file: join(makeTempDir(cleanup), "plain.sqlite"),
    windowMs: 60_000,
    boundMs: 5_000,
  };
  const server = new Child<PlainMessage>(
    new URL("./support/plain-server.ts", import.meta.url),
    options,
    cleanup,
  );
  const { url } = await server.next();
  return runClosedLoop(
    {
      url,
      path: "/events",
      connections: 4,
      devices,
      bodies: 32,
      eventsPerBody: 4_000,
      warmupMs: WARMUP_MS,
      measureMs,
      maxEvents: null,
      firstEventMs: FIRST_EVENT_MS,
      msPerBody: 40,
    },
    server.pid,
    cleanup,
  );
}
