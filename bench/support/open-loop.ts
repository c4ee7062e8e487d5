import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../../test/support/http-client.ts";
import { type NodeProcess, spawnNode } from "../../test/support/node-process.ts";
import type { Cleanup } from "../../test/support/temp-dir.ts";
import { Child } from "./child.ts";
import { fleetConfig } from "./fleet.ts";
import type { LiveMessage, WindowArrivals } from "./live-listener.ts";
import type { OpenLoopMessage, OpenLoopOptions } from "./open-loop-client.ts";
import { describeThreads, type ProcessUsage, readThreadCpuMs, readUsage } from "./proc.ts";
import { waitUntilSettled } from "./settled.ts";

/** A node that is sent a constant rate whatever it answers, and everything that was seen of it. */

const SAMPLE_MS = 1_000;
const CONNECTIONS = 32;
const BODIES = 200;
/** For results that are on their way over the live feed when the node has nothing more to do. */
const LAST_RESULTS_MS = 1_000;

export interface OpenLoopShape {
  readonly eventsPerSecond: number;
  readonly eventsPerBody: number;
  readonly devices: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  /** Of the tumbling windows: a few must close within the measured stretch. */
  readonly windowMs: number;
  /** How far the watermark is behind the newest event. */
  readonly boundMs: number;
}

export type OpenLoopDone = Extract<OpenLoopMessage, { kind: "done" }>;

export interface OpenLoopRun {
  readonly done: OpenLoopDone;
  /** Events a second that were sent within the measured stretch. */
  readonly eventsPerSecond: number;
  /** From the moment each body was due until it was acknowledged. */
  readonly ackMs: readonly number[];
  readonly results: ResultLatencies;
  /** CPU time of the node, by elapsed time. */
  readonly serverCores: number;
  readonly clientCores: number;
  /** Once a second. */
  readonly residentBytes: readonly number[];
  readonly threads: string;
  /** What was lost, or not seen. */
  readonly failures: readonly string[];
}

/** Of each row of each window that closed in the measured stretch. */
export interface ResultLatencies {
  /** From the moment the body was due that moved the watermark past the window's end. */
  readonly sinceDue: readonly number[];
  /** From the acknowledgement of that body. */
  readonly sinceAck: readonly number[];
  readonly windows: number;
}

interface Observed {
  readonly samples: readonly ProcessUsage[];
  readonly elapsedMs: number;
  readonly threads: string;
  readonly done: OpenLoopDone;
}

/** Starts a node, sends at the rate, follows the live feed, and compares what was counted with what was sent. */
export async function runOpenLoop(shape: OpenLoopShape, cleanup: Cleanup): Promise<OpenLoopRun> {
  const config = fleetConfig(`${shape.windowMs}ms`, `${shape.boundMs}ms`);
  const node = await spawnNode({ config }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const live = new Child<LiveMessage>(
    new URL("./live-listener.ts", import.meta.url),
    { url: node.url, query: "temp" },
    cleanup,
  );
  await live.next();
  const load: OpenLoopOptions = {
    ...shape,
    url: node.url,
    path: "/v1/streams/fleet/events",
    connections: CONNECTIONS,
    bodies: BODIES,
    bodiesPerSecond: shape.eventsPerSecond / shape.eventsPerBody,
  };
  const sender = new Child<OpenLoopMessage>(new URL("./open-loop-client.ts", import.meta.url), load, cleanup);
  const { samples, elapsedMs, threads, done } = await observe(node, sender);
  // A result that comes late must not go uncounted.
  await waitUntilSettled(client);
  await sleep(LAST_RESULTS_MS);
  live.send({ stop: true });
  const arrived = await live.next();
  const windows = arrived.kind === "windows" ? arrived.windows : [];
  const results = resultLatencies(done, windows, shape.boundMs);
  const measured = done.sent.filter(([dueMs]) => dueMs >= done.measureFromMs);
  const cpuMs = (samples.at(-1)?.cpuMs ?? Number.NaN) - (samples[0]?.cpuMs ?? Number.NaN);
  const failures = await findLosses(client, done, windows);
  await node.stop();
  if (results.windows === 0) failures.push("no window closed in the measured stretch: take more --seconds");
  return {
    done,
    eventsPerSecond: (measured.length * shape.eventsPerBody) / (shape.measureMs / 1_000),
    ackMs: measured.map(([dueMs, ackMs]) => ackMs - dueMs),
    results,
    serverCores: cpuMs / elapsedMs,
    clientCores: done.cpuMs / elapsedMs,
    residentBytes: samples.map(({ residentBytes }) => residentBytes),
    threads,
    failures,
  };
}

/** Samples the node's usage at the start, once a second, and at the end of the measured stretch. */
async function observe(node: NodeProcess, sender: Child<OpenLoopMessage>): Promise<Observed> {
  const first = await sender.next();
  if (first.kind !== "measuring") throw new Error("the client did not begin");
  const samples: ProcessUsage[] = [];
  const sample = (): void => {
    const usage = readUsage(node.pid);
    if (usage !== null) samples.push(usage);
  };
  const threadsBefore = readThreadCpuMs(node.pid);
  const startedMs = performance.now();
  sample();
  const timer = setInterval(sample, SAMPLE_MS);
  const done = await sender.next();
  clearInterval(timer);
  sample();
  const elapsedMs = performance.now() - startedMs;
  const threads = describeThreads(threadsBefore, readThreadCpuMs(node.pid), elapsedMs / 1_000);
  if (done.kind !== "done") throw new Error("the client did not finish");
  return { samples, elapsedMs, threads, done };
}

function resultLatencies(
  { sent, measureFromMs }: OpenLoopDone,
  windows: readonly WindowArrivals[],
  boundMs: number,
): ResultLatencies {
  const inOrder = sent.toSorted(([a], [b]) => a - b);
  const sinceDue: number[] = [];
  const sinceAck: number[] = [];
  let counted = 0;
  for (const { endMs, arrivedMs } of windows) {
    const mover = inOrder.find(([, , eventMs]) => eventMs - boundMs >= endMs);
    if (mover === undefined || mover[0] < measureFromMs) continue;
    counted++;
    for (const each of arrivedMs) {
      sinceDue.push(each - mover[0]);
      sinceAck.push(each - mover[1]);
    }
  }
  return { sinceDue, sinceAck, windows: counted };
}

/** Ends the stream's time and compares: sent and counted, sent and in windows, results and those over the live feed. */
async function findLosses(
  client: HttpClient,
  { totalEvents }: OpenLoopDone,
  windows: readonly WindowArrivals[],
): Promise<string[]> {
  const failures: string[] = [];
  const { accepted } = await client.json<{ accepted: number }>("/v1/streams/fleet");
  if (accepted !== totalEvents) failures.push(`${totalEvents} acknowledged, ${accepted} counted`);
  await client.watermark("fleet", { end: true });
  const rowsByEnd = new Map<number, number>();
  let inWindows = 0;
  for (const { values, window } of await client.results("temp")) {
    inWindows += values.n ?? 0;
    const endMs = Date.parse(window.end);
    rowsByEnd.set(endMs, (rowsByEnd.get(endMs) ?? 0) + 1);
  }
  const late = (await client.late("fleet")).length;
  if (inWindows !== totalEvents || late > 0) {
    failures.push(`${totalEvents} acknowledged, ${inWindows} in windows, ${late} late`);
  }
  for (const { endMs, arrivedMs } of windows) {
    const rows = rowsByEnd.get(endMs) ?? 0;
    if (arrivedMs.length !== rows) {
      const end = new Date(endMs).toISOString();
      failures.push(`the live feed gave ${arrivedMs.length} of ${rows} results of the window to ${end}`);
    }
  }
  return failures;
}
