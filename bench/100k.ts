import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../test/support/http-client.ts";
import { type NodeProcess, spawnNode } from "../test/support/node-process.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import { type BenchOptions, type BenchReport, summariseLatencies } from "./report.ts";
import { Child } from "./support/child.ts";
import { withCleanups } from "./support/cleanups.ts";
import { fleetConfig } from "./support/fleet.ts";
import type { LiveMessage, WindowArrivals } from "./support/live-listener.ts";
import type { OpenLoopMessage, OpenLoopOptions, SentBody } from "./support/open-loop-client.ts";
import { describeThreads, type ProcessUsage, readThreadCpuMs, readUsage } from "./support/proc.ts";

/**
 * The headline: holds a constant rate (100,000 events/s of 10,000 devices for a minute, unless told otherwise) and
 * tells what it costs: CPU and memory of the node, latency of acknowledgements and of window results, loss.
 */

const DEFAULT_RATE = 100_000;
const DEFAULT_SECONDS = 60;
const WARMUP_MS = 10_000;
const SAMPLE_MS = 1_000;
/** Short enough that a minute sees several windows of all devices close. */
const WINDOW_MS = 10_000;
const BOUND_MS = 1_000;
/** Time for the last window's results to arrive. */
const LAST_RESULTS_MS = 1_000;

const AIMS =
  "aims: at most 0.4 cores, ack p99 25 ms, window result 100 ms, RSS 250 MB and flat, nothing lost";

type Done = Extract<OpenLoopMessage, { kind: "done" }>;

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups((cleanup) => measure(options, cleanup));
}

async function measure({ seconds, settings }: BenchOptions, cleanup: Cleanup): Promise<BenchReport> {
  const rate = Number(settings.get("rate") ?? DEFAULT_RATE);
  const eventsPerBody = Number(settings.get("batch") ?? 1_000);
  const devices = Number(settings.get("devices") ?? 10_000);
  const measureMs = (seconds ?? DEFAULT_SECONDS) * 1_000;
  const config = fleetConfig(`${WINDOW_MS / 1_000}s`, `${BOUND_MS / 1_000}s`);
  const node = await spawnNode({ config }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const load: OpenLoopOptions = {
    url: node.url,
    path: "/v1/streams/fleet/events",
    connections: 32,
    devices,
    bodies: 200,
    eventsPerBody,
    bodiesPerSecond: rate / eventsPerBody,
    warmupMs: WARMUP_MS,
    measureMs,
  };
  // The stream must be known before its live feed can be followed.
  const live = new Child<LiveMessage>(
    new URL("./support/live-listener.ts", import.meta.url),
    { url: node.url, query: "temp" },
    cleanup,
  );
  await live.next();
  const sender = new Child<OpenLoopMessage>(
    new URL("./support/open-loop-client.ts", import.meta.url),
    load,
    cleanup,
  );
  const { samples, threads, done } = await observe(node, sender);
  await sleep(LAST_RESULTS_MS);
  live.send({ stop: true });
  const arrived = await live.next();
  const windows = arrived.kind === "windows" ? arrived.windows : [];
  const measured = done.sent.filter(([dueMs]) => dueMs >= done.measureFromMs);
  const elapsedMs = SAMPLE_MS * (samples.length - 1);
  const cpuMs = (samples.at(-1)?.cpuMs ?? Number.NaN) - (samples[0]?.cpuMs ?? Number.NaN);
  const resident = samples.map(({ residentBytes }) => Math.round(residentBytes / 1e6));
  const results = resultLatencies(done.sent, windows, done.measureFromMs);
  const failures = await findLosses(client, done);
  return {
    name: "100k",
    rows: [
      {
        "events/s": Math.round((measured.length * eventsPerBody) / (measureMs / 1_000)),
        "server cores": cpuMs / elapsedMs,
        ...summariseLatencies(
          "ack",
          measured.map(([dueMs, ackMs]) => ackMs - dueMs),
        ),
        ...summariseLatencies("result", results.sinceDue),
        "RSS start MB": resident[0] ?? 0,
        "RSS end MB": resident.at(-1) ?? 0,
        "RSS max MB": Math.max(...resident),
        refused: done.refused,
        lost: failures.length === 0 ? 0 : "see below",
      },
    ],
    notes: [
      AIMS,
      `${rate.toLocaleString("en-US")} events/s due for ${measureMs / 1_000} s after ${WARMUP_MS / 1_000} s of warm-up; ${devices} devices, bodies of ${eventsPerBody} events, ${done.sent.length} bodies in all`,
      "latencies count from the moment a body was due; a window's from the moment the body was due that moved the watermark past its end",
      `results: ${results.sinceDue.length} rows of ${results.windows} windows over the live feed; since that body's acknowledgement p99 ${formatMs(results.sinceAck, 0.99)}, max ${formatMs(results.sinceAck, 1)} ms`,
      `RSS by time, MB: ${everyNth(resident, Math.ceil(resident.length / 20)).join(" ")}`,
      `busy threads: ${threads}`,
      `client: ${(done.cpuMs / elapsedMs).toFixed(2)} cores, longest queue of due bodies ${done.longestQueue}`,
    ],
    failures,
  };
}

/** Samples the node's usage once a second while the sender measures. */
async function observe(
  node: NodeProcess,
  sender: Child<OpenLoopMessage>,
): Promise<{ samples: ProcessUsage[]; threads: string; done: Done }> {
  const first = await sender.next();
  if (first.kind !== "measuring") throw new Error("the client did not begin");
  const samples: ProcessUsage[] = [];
  const sample = (): void => {
    const usage = readUsage(node.pid);
    if (usage !== null) samples.push(usage);
  };
  const threadsBefore = readThreadCpuMs(node.pid);
  sample();
  const timer = setInterval(sample, SAMPLE_MS);
  const done = await sender.next();
  clearInterval(timer);
  const threads = describeThreads(threadsBefore, readThreadCpuMs(node.pid), samples.length - 1);
  if (done.kind !== "done") throw new Error("the client did not finish");
  return { samples, threads, done };
}

/** From the body that moved the watermark past a window's end to each of the window's rows. */
function resultLatencies(
  sent: readonly SentBody[],
  windows: readonly WindowArrivals[],
  measureFromMs: number,
): { sinceDue: number[]; sinceAck: number[]; windows: number } {
  const inOrder = sent.toSorted(([a], [b]) => a - b);
  const sinceDue: number[] = [];
  const sinceAck: number[] = [];
  let counted = 0;
  for (const { endMs, arrivedMs } of windows) {
    const mover = inOrder.find(([, , eventMs]) => eventMs - BOUND_MS >= endMs);
    if (mover === undefined || mover[0] < measureFromMs) continue;
    counted++;
    for (const each of arrivedMs) {
      sinceDue.push(each - mover[0]);
      sinceAck.push(each - mover[1]);
    }
  }
  return { sinceDue, sinceAck, windows: counted };
}

async function findLosses(client: HttpClient, done: Done): Promise<string[]> {
  const failures: string[] = [];
  const { accepted } = await client.json<{ accepted: number }>("/v1/streams/fleet");
  if (accepted !== done.totalEvents) failures.push(`${done.totalEvents} acknowledged, ${accepted} counted`);
  await client.watermark("fleet", { end: true });
  let inWindows = 0;
  for (const { values } of await client.results("temp")) inWindows += values.n ?? 0;
  const late = (await client.late("fleet")).length;
  if (inWindows !== done.totalEvents || late > 0) {
    failures.push(`${done.totalEvents} acknowledged, ${inWindows} in windows, ${late} late`);
  }
  return failures;
}

function formatMs(latenciesMs: readonly number[], q: number): string {
  const sorted = latenciesMs.toSorted((a, b) => a - b);
  return (sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN).toFixed(1);
}

function everyNth(values: readonly number[], n: number): number[] {
  return values.filter((_, index) => index % n === 0);
}
