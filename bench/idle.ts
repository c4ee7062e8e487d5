import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { START_ENVIRONMENT, START_FLAGS } from "../host/cli/node-flags.ts";
import { HttpClient } from "../test/support/http-client.ts";
import { REPOSITORY_ROOT } from "../test/support/node-process.ts";
import { type Cleanup, makeTempDir } from "../test/support/temp-dir.ts";
import { type BenchOptions, type BenchReport, quantileOf } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";
import { makeFleetBodies, stampBody } from "./support/fleet.ts";
import { describeThreads, readThreadCpuMs, readUsage } from "./support/proc.ts";

/**
 * What a node costs while nothing happens: the time and processor time of a start, processor time and memory at rest, and what
 * has to be shipped. As users run it: the compiled form with the flags of `npm start`; `--form source` takes the TypeScript.
 */

const DEFAULT_STARTS = 9;
const DEFAULT_SECONDS = 30;
/** After a start: the heap is collected, threads that nobody needs end. */
const DEFAULT_SETTLE_SECONDS = 10;
const READY_TIMEOUT_MS = 120_000;
/** Load before the second rest, so that there is a stream with windows, a checkpoint and keys. */
const DEVICES = 1_000;
const BODIES = 100;
const EVENTS_PER_BODY = 1_000;
const AIMS = "the aims: start to ready at most 500 ms, at rest at most 0.5 % of a core and RSS 110 MB";

type Row = BenchReport["rows"][number];

interface Started {
  readonly pid: number;
  readonly url: string;
  readonly readyMs: number;
  readonly cpuMs: number;
  stop(): Promise<void>;
}

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups((cleanup) => measure(options, cleanup));
}

async function measure({ seconds, settings }: BenchOptions, cleanup: Cleanup): Promise<BenchReport> {
  const starts = Number(settings.get("starts") ?? DEFAULT_STARTS);
  const restSeconds = seconds ?? DEFAULT_SECONDS;
  const settleSeconds = Number(settings.get("settle") ?? DEFAULT_SETTLE_SECONDS);
  const form = settings.get("form") ?? "compiled";
  if (form !== "compiled" && form !== "source") throw new Error("--form takes compiled or source");
  if (form === "compiled") compile();
  const file = join(REPOSITORY_ROOT, form === "compiled" ? "host/cli/bin.js" : "host/cli/bin.ts");
  const start = (dataDir: string): Promise<Started> => startNode(file, dataDir, cleanup);
  const rest = (what: string, node: Started): Promise<Row> =>
    measureRest(what, node, settleSeconds, restSeconds);

  const rows: Row[] = [];
  const fresh: Started[] = [];
  for (let index = 0; index < starts; index++) {
    const node = await start(makeTempDir(cleanup));
    fresh.push(node);
    await node.stop();
  }
  rows.push(summariseStarts("start, new directory", fresh));
  const dataDir = makeTempDir(cleanup);
  let node = await start(dataDir);
  rows.push(await rest("at rest, new directory", node));
  await sendSome(node.url);
  rows.push(await rest(`at rest, after ${BODIES * EVENTS_PER_BODY} events`, node));
  await node.stop();
  const again: Started[] = [];
  for (let index = 0; index < starts; index++) {
    node = await start(dataDir);
    again.push(node);
    await node.stop();
  }
  rows.push(summariseStarts("start, with those events", again));
  return {
    name: "idle",
    rows: [...rows, ...sizes()],
    notes: [
      AIMS,
      `${form} form; ${starts} starts each, from spawning the process to its ready line; rest of ${restSeconds} s after ${settleSeconds} s, without configuration, nobody asks anything`,
      "processor time is counted in ticks of 10 ms over all threads",
    ],
  };
}

/** Anew, so that host/cli/bin.js takes it for up to date. */
function compile(): void {
  rmSync(join(REPOSITORY_ROOT, "dist/.built"), { force: true });
  execFileSync("npm", ["run", "--silent", "build:js"], { cwd: REPOSITORY_ROOT, stdio: "inherit" });
}

async function startNode(file: string, dataDir: string, cleanup: Cleanup): Promise<Started> {
  const spawnedMs = performance.now();
  const child = spawn(
    process.execPath,
    [...START_FLAGS, file, "start", "--data", dataDir, "--listen", "127.0.0.1:0"],
    {
      cwd: dataDir,
      env: { ...process.env, ...START_ENVIRONMENT },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const ended = once(child, "exit");
  cleanup.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await ended;
  });
  const lines = createInterface({ input: child.stdout });
  const deadline = setTimeout(() => child.kill("SIGKILL"), READY_TIMEOUT_MS);
  let url: string | null = null;
  for await (const line of lines) {
    const entry = JSON.parse(line) as { msg?: string; url?: string };
    if (entry.msg !== "listening" || entry.url === undefined) continue;
    url = entry.url;
    break;
  }
  clearTimeout(deadline);
  const readyMs = performance.now() - spawnedMs;
  const { pid } = child;
  if (url === null || pid === undefined) throw new Error("the node ended before it was ready");
  const cpuMs = readUsage(pid)?.cpuMs ?? Number.NaN;
  child.stdout.resume();
  const answer = await fetch(`${url}/readyz`);
  if (answer.status !== 200) throw new Error(`/readyz answers ${answer.status} after the ready line`);
  await answer.arrayBuffer();
  return {
    pid,
    url,
    readyMs,
    cpuMs,
    stop: async () => {
      child.kill("SIGTERM");
      const [code] = (await ended) as [number | null];
      if (code !== 0) throw new Error(`the node exited with ${code} at SIGTERM`);
    },
  };
}

function summariseStarts(what: string, started: readonly Started[]): Row {
  const sorted = (values: number[]): number[] => values.toSorted((a, b) => a - b);
  const wall = sorted(started.map(({ readyMs }) => readyMs));
  const cpu = sorted(started.map(({ cpuMs }) => cpuMs));
  return {
    what,
    "ready ms, median": Math.round(quantileOf(wall, 0.5)),
    "ready ms, least": Math.round(quantileOf(wall, 0)),
    "ready ms, most": Math.round(quantileOf(wall, 1)),
    "CPU ms, median": Math.round(quantileOf(cpu, 0.5)),
    "CPU ms, least": Math.round(quantileOf(cpu, 0)),
  };
}

async function measureRest(
  what: string,
  { pid }: Started,
  settleSeconds: number,
  restSeconds: number,
): Promise<Row> {
  await sleep(settleSeconds * 1_000);
  const before = readUsage(pid);
  const threadsBefore = readThreadCpuMs(pid);
  const startMs = performance.now();
  await sleep(restSeconds * 1_000);
  const after = readUsage(pid);
  const threadsAfter = readThreadCpuMs(pid);
  const cpuMs = (after?.cpuMs ?? Number.NaN) - (before?.cpuMs ?? Number.NaN);
  return {
    what,
    "CPU %": (cpuMs / (performance.now() - startMs)) * 100,
    "RSS MB": Math.round((after?.residentBytes ?? Number.NaN) / 1e6),
    threads: threadsAfter.size,
    busy: describeThreads(threadsBefore, threadsAfter, restSeconds),
  };
}

async function sendSome(url: string): Promise<void> {
  const client = new HttpClient(() => url);
  const bodies = makeFleetBodies({
    devices: DEVICES,
    bodies: BODIES,
    eventsPerBody: EVENTS_PER_BODY,
    seed: 1,
  });
  const firstMs = Date.now() - BODIES * 1_000;
  for (const [index, body] of bodies.entries()) {
    stampBody(body, firstMs + index * 1_000, 1_000);
    await client.send("fleet", body.bytes);
  }
  client.close();
}

/** What has to be shipped. */
function sizes(): Row[] {
  const output = execFileSync("npm", ["pack", "--dry-run", "--ignore-scripts", "--json"], {
    cwd: REPOSITORY_ROOT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [pack] = JSON.parse(output) as [{ size: number; unpackedSize: number; entryCount: number }];
  return [
    { what: "build/millrace.wasm", bytes: statSync(join(REPOSITORY_ROOT, "build/millrace.wasm")).size },
    { what: "dist", bytes: sizeOf(join(REPOSITORY_ROOT, "dist")) },
    { what: "package, packed", bytes: pack.size },
    { what: `package, unpacked (${pack.entryCount} files)`, bytes: pack.unpackedSize },
  ];
}

/** Bytes of all files that the compiler wrote, its own notes left out; 0 where it has not run. */
function sizeOf(folder: string): number {
  if (!existsSync(folder)) return 0;
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".js"))
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
}
