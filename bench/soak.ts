import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { formatSize, parseSizeBytes } from "../host/config/sizes.ts";
import { HttpClient } from "../test/support/http-client.ts";
import { type NodeProcess, spawnNode } from "../test/support/node-process.ts";
import { type Cleanup, makeTempDir } from "../test/support/temp-dir.ts";
import type { StreamLedger } from "../workers/store/ledger.ts";
import { type BenchOptions, type BenchReport, summariseLatencies } from "./report.ts";
import { Child } from "./support/child.ts";
import { withCleanups } from "./support/cleanups.ts";
import { fleetConfig } from "./support/fleet.ts";
import type { OpenLoopMessage, OpenLoopOptions } from "./support/open-loop-client.ts";
import { greatest, type Stall, slopePerHour, stallsOf } from "./support/soak-figures.ts";
import { SoakSampler } from "./support/soak-sampler.ts";

/**
 * An hour at a constant rate against a cap that is too small for it: what does not grow (memory, the log, the files), whether
 * anybody ever waits, and whether the ledger has every event at the end. Shorter runs have a smaller cap, shorter windows of fewer
 * devices and sooner checkpoints, so that they see the same levels of the buffer.
 */

const DEFAULT_MINUTES = 60;
const DEFAULT_RATE = 300_000;
const EVENTS_PER_BODY = 1_000;
const CONNECTIONS = 32;
const BODIES = 200;
const MIB = 1024 * 1024;
const CAP_MIB_PER_HOUR = 2_048;
const LEAST_CAP_MIB = 16;
/** Windows of a minute in an hour: results are then a small part of what is stored, however long the run. */
const WINDOWS = 60;
const DEVICES_PER_HOUR = 10_000;
const LEAST_DEVICES = 100;
const BOUND_SECONDS = 1;
/** Caches, dictionaries and heaps grow at first: ten minutes of an hour are not counted. */
const WARMUP_SHARE = 1 / 6;
const STALL_MS = 100;
const STALLS_NAMED = 5;
/** RSS is flat when it grows by less than this in an hour. */
const FLAT_MB_PER_HOUR = 20;
/** Within less, a heap's ups and downs look like growth. */
const TELLING_MS = 300_000;
const LONGEST_SETTLING_MS = 120_000;
const BETWEEN_LOOKS_MS = 1_200;
const LOSSES_AT_ONCE = 10_000;
/** What is behind the last checkpoint may not go: with a smaller cap, one must come sooner. */
const CHECKPOINT_SECONDS = 30;

type Done = Extract<OpenLoopMessage, { kind: "done" }>;

interface Status {
  readonly settled: boolean;
  readonly buffer: {
    readonly imbalance: number;
    readonly streams: readonly StreamLedger[];
  } | null;
}

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups((cleanup) => measure(options, cleanup));
}

async function measure({ seconds, settings }: BenchOptions, cleanup: Cleanup): Promise<BenchReport> {
  const allMs = (seconds ?? Number(settings.get("minutes") ?? DEFAULT_MINUTES) * 60) * 1_000;
  const rate = Number(settings.get("rate") ?? DEFAULT_RATE);
  const devices = Number(settings.get("devices") ?? defaultDevices(allMs));
  const capBytes = parseSizeBytes(settings.get("cap") ?? defaultCap(allMs));
  if (!(allMs > 0) || !(rate > 0) || capBytes === null)
    throw new Error("--minutes and --rate take numbers above 0, --cap a size such as 2GiB");
  const windowSeconds = Math.max(1, Math.round(allMs / 1_000 / WINDOWS));
  const capSeconds = (capBytes / (CAP_MIB_PER_HOUR * MIB)) * 3_600 * (DEFAULT_RATE / rate);
  const checkpointSeconds = Math.max(1, Math.min(CHECKPOINT_SECONDS, Math.round(capSeconds / 60)));
  const config = `${fleetConfig(`${windowSeconds}s`, `${BOUND_SECONDS}s`)}
buffer: { cap: ${formatSize(capBytes)} }
checkpoint: { every: ${checkpointSeconds}s }
`;
  const node = await spawnNode({ config }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const warmupMs = allMs * WARMUP_SHARE;
  const sampler = await SoakSampler.start(node, client, makeTempDir(cleanup));
  const done = await send(node, { rate, devices, warmupMs, measureMs: allMs - warmupMs }, cleanup);
  await sampler.stop();
  const { ledger, failures } = await balance(client, done, node);
  if (sampler.mostFileBytes > capBytes)
    failures.push(`${sampler.mostFileBytes} bytes on disk with a cap of ${capBytes}`);

  const sent = done.sent.filter(([dueMs]) => dueMs >= done.measureFromMs);
  const stalls = stallsOf(sent, STALL_MS);
  const usage = sampler.usage.filter(({ atMs }) => atMs >= done.measureFromMs);
  const resident = usage.map(({ atMs, residentBytes }) => [atMs, residentBytes / 1e6] as const);
  const slope = slopePerHour(resident);
  const cpuMs = (usage.at(-1)?.cpuMs ?? Number.NaN) - (usage[0]?.cpuMs ?? Number.NaN);
  const elapsedMs = (usage.at(-1)?.atMs ?? Number.NaN) - (usage[0]?.atMs ?? Number.NaN);
  const loop = sampler.loop.filter(({ atMs }) => atMs >= done.measureFromMs);
  const disk = sampler.disk.filter(({ atMs }) => atMs >= done.measureFromMs);
  const longestStallMs = greatest(stalls.map(({ longestMs }) => longestMs));
  const row = {
    "events/s": Math.round((sent.length * EVENTS_PER_BODY) / ((allMs - warmupMs) / 1_000)),
    "server cores": cpuMs / elapsedMs,
    ...summariseLatencies(
      "ack",
      sent.map(([dueMs, ackMs]) => ackMs - dueMs),
    ),
    stalls: stalls.length,
    "longest stall ms": stalls.length === 0 ? 0 : longestStallMs,
    "others' fsync max ms": greatest(disk.map(({ tookMs }) => tookMs)),
    "loop delay max ms": greatest(loop.map(({ longestDelayMs }) => longestDelayMs)),
    "RSS warm MB": Math.round(resident[0]?.[1] ?? Number.NaN),
    "RSS end MB": Math.round(resident.at(-1)?.[1] ?? Number.NaN),
    "RSS max MB": Math.round(greatest(sampler.usage.map(({ residentBytes }) => residentBytes / 1e6))),
    "RSS MB/h": slope,
    "malloc warm MB": (usage[0]?.nativeHeapBytes ?? Number.NaN) / 1e6,
    "malloc end MB": (usage.at(-1)?.nativeHeapBytes ?? Number.NaN) / 1e6,
    "WAL max MiB": sampler.mostWalBytes / MIB,
    "files max MiB": sampler.mostFileBytes / MIB,
    refused: done.refused,
  };
  const { accepted, held, downsampled, givenUp } = ledger;
  return {
    name: "soak",
    rows: [row],
    notes: [
      `the aims: RSS flat (within ${FLAT_MB_PER_HOUR} MB an hour after warm-up), no stall above ${STALL_MS} ms, the log bounded`,
      `seen: RSS ${tellSlope(slope, elapsedMs)}, ${stalls.length === 0 ? "no stall" : `${stalls.length} STALLS`}, the log at most ${(sampler.mostWalBytes / MIB).toFixed(1)} MiB`,
      `${rate.toLocaleString("en-US")} events/s due for ${allMs / 1_000} s, the first ${warmupMs / 1_000} s of them warm-up; ${devices} devices, bodies of ${EVENTS_PER_BODY} events; windows of ${windowSeconds} s; cap ${formatSize(capBytes)}, a checkpoint every ${checkpointSeconds} s`,
      "latencies count from the moment a body was due; a stall is a stretch in which every body that was due waited longer than that; others' fsync: 4 KiB of another process on the same disk, twice a second",
      `the longest stalls: ${describeStalls(stalls, sampler, done.measureFromMs - warmupMs)}`,
      `ledger: ${accepted} accepted = ${held} held + ${downsampled} downsampled + ${givenUp} given up + ${ledger.evicted + ledger.expired + ledger.corrupt} others`,
      `levels of the buffer by time: ${runsOf(sampler.loop.map(({ level }) => level)).join(" ")}`,
      `RSS by time, MB: ${everyNth(sampler.usage.map(({ residentBytes }) => Math.round(residentBytes / 1e6))).join(" ")}`,
      `malloc by time, MB: ${everyNth(sampler.usage.map(({ nativeHeapBytes }) => Math.round(nativeHeapBytes / 1e6))).join(" ")}`,
      `client: ${(done.cpuMs / elapsedMs).toFixed(2)} cores, longest queue of due bodies ${done.longestQueue}`,
    ],
    failures,
  };
}

/** In proportion to an hour's. */
function defaultCap(allMs: number): string {
  return `${Math.max(LEAST_CAP_MIB, Math.round((CAP_MIB_PER_HOUR * allMs) / 3_600_000))}MiB`;
}

function tellSlope(mbPerHour: number, measuredMs: number): string {
  if (measuredMs < TELLING_MS) return "too short a run to tell";
  return mbPerHour <= FLAT_MB_PER_HOUR ? "flat" : "NOT flat";
}

function defaultDevices(allMs: number): number {
  return Math.max(LEAST_DEVICES, Math.round((DEVICES_PER_HOUR * allMs) / 3_600_000));
}

async function send(
  node: NodeProcess,
  load: { rate: number; devices: number; warmupMs: number; measureMs: number },
  cleanup: Cleanup,
): Promise<Done> {
  const { rate, ...shape } = load;
  const options: OpenLoopOptions = {
    ...shape,
    url: node.url,
    path: "/v1/streams/fleet/events",
    connections: CONNECTIONS,
    bodies: BODIES,
    eventsPerBody: EVENTS_PER_BODY,
    bodiesPerSecond: rate / EVENTS_PER_BODY,
  };
  const file = new URL("./support/open-loop-client.ts", import.meta.url);
  const sender = new Child<OpenLoopMessage>(file, options, cleanup);
  for (;;) {
    const message = await sender.next();
    if (message.kind === "done") return message;
  }
}

/** Every acknowledged event is in one place of the ledger, and every loss in a row of its own. */
async function balance(
  client: HttpClient,
  done: Done,
  node: NodeProcess,
): Promise<{ ledger: StreamLedger; failures: string[] }> {
  const { ledger, imbalance, lost } = await settled(client, done.totalEvents);
  const failures: string[] = [];
  const { accepted, held, evicted, downsampled, givenUp, expired, corrupt, late } = ledger;
  if (accepted !== done.totalEvents)
    failures.push(`${done.totalEvents} acknowledged, ${accepted} in the ledger`);
  const sum = held + evicted + downsampled + givenUp + expired + corrupt;
  if (sum !== accepted || imbalance !== 0)
    failures.push(`the ledger does not balance: ${JSON.stringify(ledger)}`);
  if (evicted + expired + corrupt + late > 0) failures.push(`what cannot be: ${JSON.stringify(ledger)}`);
  if (!node.isRunning) failures.push("the node has ended");
  if (lost !== downsampled + givenUp)
    failures.push(`${downsampled + givenUp} events went, the rows of the loss ledger tell of ${lost}`);
  return { ledger, failures };
}

/** The ledger once all is applied and nothing goes any more: it tells the same before and after its losses were read. */
async function settled(
  client: HttpClient,
  events: number,
): Promise<{ ledger: StreamLedger; imbalance: number; lost: number }> {
  const giveUpMs = performance.now() + LONGEST_SETTLING_MS;
  let before: StreamLedger | undefined;
  for (;;) {
    const lost = await lostEvents(client);
    const { settled: isSettled, buffer } = await client.json<Status>("/v1/status");
    const ledger = buffer?.streams.find(({ stream }) => stream === "fleet");
    const isDone = isSettled && ledger?.accepted === events && isDeepStrictEqual(ledger, before);
    if (ledger !== undefined && (isDone || performance.now() > giveUpMs))
      return { ledger, imbalance: buffer?.imbalance ?? Number.NaN, lost };
    if (performance.now() > giveUpMs) throw new Error("the node tells nothing of its buffer");
    before = ledger;
    // Longer than the node waits between two looks at its buffer.
    await sleep(BETWEEN_LOOKS_MS);
  }
}

/** Events that the rows of the loss ledger tell of. */
async function lostEvents(client: HttpClient): Promise<number> {
  const { text } = await client.request("GET", `/v1/losses?stream=fleet&limit=${LOSSES_AT_ONCE}`);
  let count = 0;
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const loss = JSON.parse(line) as { count: number; kind: string };
    if (loss.kind === "events") count += loss.count;
  }
  return count;
}

/** With the level of the buffer then, and what the disk took for others. */
function describeStalls(stalls: readonly Stall[], { loop, disk }: SoakSampler, startMs: number): string {
  const longest = stalls.toSorted((a, b) => b.longestMs - a.longestMs).slice(0, STALLS_NAMED);
  if (longest.length === 0) return "none";
  return longest
    .map(({ fromMs, longestMs, bodies }) => {
      const level = loop.findLast(({ atMs }) => atMs <= fromMs)?.level ?? 0;
      const near = disk.filter(({ atMs }) => atMs >= fromMs - longestMs && atMs <= fromMs + longestMs);
      const others = near.length === 0 ? "-" : Math.round(greatest(near.map(({ tookMs }) => tookMs)));
      const at = ((fromMs - startMs) / 1_000).toFixed(1);
      return `${Math.round(longestMs)} ms at ${at} s (${bodies} bodies, level ${level}, others' fsync ${others} ms)`;
    })
    .join(", ");
}

/** Each value once as long as it stays, with how often it was seen. */
function runsOf(values: readonly number[]): string[] {
  const runs: [value: number, times: number][] = [];
  for (const value of values) {
    const last = runs.at(-1);
    if (last?.[0] === value) last[1]++;
    else runs.push([value, 1]);
  }
  return runs.slice(0, 40).map(([value, times]) => `${value}×${times}`);
}

/** About twenty of them. */
function everyNth(values: readonly number[]): number[] {
  const step = Math.ceil(values.length / 20);
  return values.filter((_, index) => index % step === 0);
}
