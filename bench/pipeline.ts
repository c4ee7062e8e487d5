import { availableParallelism } from "node:os";
import { HttpClient } from "../test/support/http-client.ts";
import { spawnNode } from "../test/support/node-process.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import { measurePlainWay } from "./plain-way.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";
import { type ClosedLoopRun, FIRST_EVENT_MS, runClosedLoop } from "./support/closed-loop.ts";
import { fleetConfig } from "./support/fleet.ts";

/**
 * HTTP to durable to windows, closed loop: how many events a second are acknowledged, each after its fsync, with a
 * keyed 1-minute window and a quantile on. Server and client are processes of their own on the same machine.
 */

const DEFAULT_SECONDS = 8;
const WARMUP_MS = 3_000;
const EVENTS_PER_BODY = 4_000;
/** So many that neither core waits for a commit: a fleet has more. With fewer, each waits for its own answers. */
const DEFAULT_CONNECTIONS = 16;
/** Bodies that the client has ready, each on its way in one connection at a time. */
const BODIES = 64;
/** Event time passes at the pace of 100,000 events/s. */
const MS_PER_BODY = 40;
/** `--encrypt` runs the same with a key. */
const ENCRYPTION = `encryption: { key: "${"5a".repeat(32)}" }\n`;
const TARGET_EVENTS_PER_SECOND = 3_000_000;

/** Of both processes; with other load on the machine there is less to be had. */
function coresOf({ done, threadCpuMs }: ClosedLoopRun): string {
  const serverMs = [...threadCpuMs.values()].reduce((sum, ms) => sum + ms, 0);
  return ((serverMs + done.cpuMs) / done.elapsedMs).toFixed(2);
}

interface Measured {
  readonly run: ClosedLoopRun;
  readonly stages: string;
  readonly failures: readonly string[];
}

export async function run(options: BenchOptions): Promise<BenchReport> {
  const measureMs = (options.seconds ?? DEFAULT_SECONDS) * 1_000;
  const connections = Number(options.settings.get("connections") ?? DEFAULT_CONNECTIONS);
  const encryption = options.settings.has("encrypt") ? ENCRYPTION : "";
  const measure = (devices: number): Promise<Measured> =>
    withCleanups((cleanup) => measureMillrace({ devices, connections, measureMs, encryption }, cleanup));
  const many = await measure(10_000);
  const few = await measure(100);
  const plain = await withCleanups((cleanup) =>
    measurePlainWay(10_000, measureMs, cleanup, { connections, warmupMs: WARMUP_MS }),
  );
  const ratio = many.run.eventsPerSecond / plain.eventsPerSecond;
  return {
    name: encryption === "" ? "pipeline" : "pipeline, encrypted",
    rows: [
      { way: "millrace, 10,000 devices", ...many.run.row },
      { way: "millrace, 100 devices", ...few.run.row },
      { way: "plain, 10,000 devices", ...plain.row },
    ],
    notes: [
      `${ratio.toFixed(1)} times the plain way; the aim is ${TARGET_EVENTS_PER_SECOND.toLocaleString("en-US")} events/s and 10 times`,
      `bodies of ${EVENTS_PER_BODY} events of 5 fields, ${connections} connections to each server, closed loop`,
      `of ${availableParallelism()} cores server and client kept busy: ${coresOf(many.run)} (10,000 devices), ${coresOf(few.run)} (100), ${coresOf(plain)} (plain)`,
      `stages, ns an event at 10,000 devices: ${many.stages}`,
      `stages, ns an event at 100 devices: ${few.stages}`,
      `busy threads at 10,000 devices: ${many.run.threads}`,
      `busy threads at 100 devices: ${few.run.threads}`,
    ],
    failures: [...many.failures, ...few.failures],
  };
}

async function measureMillrace(
  {
    devices,
    connections,
    measureMs,
    encryption,
  }: { devices: number; connections: number; measureMs: number; encryption: string },
  cleanup: Cleanup,
): Promise<Measured> {
  const node = await spawnNode({ config: encryption + fleetConfig("1m", "5s") }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const run = await runClosedLoop(
    {
      url: node.url,
      path: "/v1/streams/fleet/events",
      connections,
      devices,
      bodies: Math.max(BODIES, connections),
      eventsPerBody: EVENTS_PER_BODY,
      warmupMs: WARMUP_MS,
      measureMs,
      maxEvents: null,
      firstEventMs: FIRST_EVENT_MS,
      msPerBody: MS_PER_BODY,
    },
    node.pid,
    cleanup,
  );
  const status = await client.json<Record<string, unknown>>("/v1/status");
  return {
    run,
    stages: describeStages(status, run.done.totalEvents),
    failures: await checkNothingLost(client, run),
  };
}

/** What was acknowledged is counted by the stream and by the windows. */
async function checkNothingLost(client: HttpClient, run: ClosedLoopRun): Promise<string[]> {
  const failures: string[] = [];
  const sent = run.done.totalEvents;
  const { accepted } = await client.json<{ accepted: number }>("/v1/streams/fleet");
  if (accepted !== sent) failures.push(`${sent} events were acknowledged, ${accepted} are counted`);
  await client.watermark("fleet", { end: true });
  const late = (await client.late("fleet")).length;
  let inWindows = 0;
  for (const { values } of await client.results("temp")) inWindows += values.n ?? 0;
  if (inWindows + late !== sent) {
    failures.push(`${sent} events were acknowledged, ${inWindows} are in windows and ${late} are late`);
  }
  return failures;
}

/** Stage times from the status document, per event. */
function describeStages(status: unknown, events: number): string {
  const stages = findMember(status, "stageNs");
  if (typeof stages !== "object" || stages === null) return "not told by /v1/status";
  return Object.entries(stages)
    .map(([stage, ns]) => `${stage} ${(Number(ns) / events).toFixed(1)}`)
    .join(", ");
}

function findMember(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, member] of Object.entries(value)) {
    if (key === name) return member;
    const found = findMember(member, name);
    if (found !== undefined) return found;
  }
  return undefined;
}
