import { join } from "node:path";
import { type Cleanup, makeTempDir } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { Child } from "./support/child.ts";
import { withCleanups } from "./support/cleanups.ts";
import { type ClosedLoopRun, FIRST_EVENT_MS, runClosedLoop } from "./support/closed-loop.ts";
import type { PlainMessage, PlainOptions } from "./support/plain-server.ts";

const DEFAULT_SECONDS = 8;
const DEFAULT_LOAD: PlainLoad = { connections: 4, warmupMs: 1_000 };

/** How it is loaded; who compares gives it what the other gets. */
export interface PlainLoad {
  readonly connections: number;
  readonly warmupMs: number;
}

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
  { connections, warmupMs }: PlainLoad = DEFAULT_LOAD,
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
      connections,
      devices,
      // One for each connection at least.
      bodies: Math.max(64, connections),
      eventsPerBody: 4_000,
      warmupMs,
      measureMs,
      maxEvents: null,
      firstEventMs: FIRST_EVENT_MS,
      msPerBody: 40,
    },
    server.pid,
    cleanup,
  );
}
