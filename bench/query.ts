import { setTimeout as sleep } from "node:timers/promises";
import { QueryClient } from "../host/query/query-client.ts";
import { NodeProcess } from "../test/support/node-process.ts";
import { Random } from "../test/support/random.ts";
import { type Cleanup, makeTempDir } from "../test/support/temp-dir.ts";
import { decodeBlock, newBatch, resetBatch } from "../workers/core/codec.ts";
import { instantiateCore } from "../workers/core/module.ts";
import { BlockScanner } from "../workers/query/block-scanner.ts";
import { readEvents } from "../workers/query/events.ts";
import { Reader } from "../workers/store/reader.ts";
import { portableCodec } from "../workers/zstd.ts";
import { type BenchOptions, type BenchReport, quantileOf } from "./report.ts";
import { Child } from "./support/child.ts";
import { withCleanups } from "./support/cleanups.ts";
import { fleetConfig } from "./support/fleet.ts";
import { buildHistory } from "./support/history.ts";
import type { OpenLoopMessage, OpenLoopOptions } from "./support/open-loop-client.ts";
import type { ScanMessage, ScanOptions } from "./support/scan-client.ts";

/**
 * Reading history: how fast stored events are decoded and given out, how long a question for one device and one hour
 * takes, and what a scan without end does to acknowledgements.
 */

const DEFAULT_EVENTS = 20_000_000;
const EVENTS_PER_BLOCK = 40_000;
const START_MS = Date.UTC(2026, 0, 1);
const HOUR_US = 3_600_000_000;
/** In the store of the node that acknowledges, which replays them at its start. */
const MAX_ACK_EVENTS = 8_000_000;
const QUESTIONS = 60;
const PAGE_ROWS = 100_000;
/** As `millrace export` asks for them. */
const SCAN_ROWS = 20_000;
const WARMUP_MS = 2_000;
const AIMS =
  "aims: 5,000,000 events/s decoded per core; a key over 1 h among 100 M events in 100 ms; ack p99 with a scan at most twice that without";

type Row = Record<string, string | number>;

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups((cleanup) => measure(options, cleanup));
}

async function measure({ seconds, settings }: BenchOptions, cleanup: Cleanup): Promise<BenchReport> {
  const events = Number(settings.get("events") ?? DEFAULT_EVENTS);
  const devices = Number(settings.get("devices") ?? 1_000);
  const eventsPerSecond = Number(settings.get("eventrate") ?? 100);
  const rate = Number(settings.get("rate") ?? 20_000);
  const measureMs = (seconds ?? 5) * 1_000;
  const rounds = Number(settings.get("rounds") ?? 2);
  const dir = makeTempDir(cleanup);
  const shape = { events, devices, devicesPerBlock: devices, eventsPerSecond, startMs: START_MS };
  const startedMs = performance.now();
  const { storedBytes } = await buildHistory(dir, { ...shape, eventsPerBlock: EVENTS_PER_BLOCK });
  const buildSeconds = (performance.now() - startedMs) / 1_000;
  const rows: Row[] = [...(await measureScan(dir)), await measurePoints(dir, shape)];
  const acked = makeTempDir(cleanup);
  const ackEvents = Math.min(events, MAX_ACK_EVENTS);
  await buildHistory(acked, { ...shape, events: ackEvents, eventsPerBlock: EVENTS_PER_BLOCK });
  const { acks, notes, failures } = await measureAcks(acked, { rate, measureMs, rounds }, cleanup);
  return {
    name: "query",
    rows: [...rows, ...acks],
    notes: [
      AIMS,
      `${events.toLocaleString("en-US")} events of ${devices} devices at ${eventsPerSecond}/s, ${(events / eventsPerSecond / 3_600).toFixed(1)} h, blocks of ${EVENTS_PER_BLOCK} events, each with all devices; ${(storedBytes / 1e6).toFixed(0)} MB stored, ${(storedBytes / events).toFixed(2)} bytes an event, made in ${buildSeconds.toFixed(0)} s`,
      "decoded, JSON: on one thread, per second of its processor time; point: over the thread that serves, of random devices and hours, every event of the hour; its processor time is of all threads, and tells more where others use the cores",
      ...notes,
    ],
    failures,
  };
}

/** Per second of processor time, so that what else runs on the machine does not count. */
async function measureScan(dir: string): Promise<Row[]> {
  const reader = new Reader(dir);
  const codec = await portableCodec();
  const core = instantiateCore();
  const batch = newBatch(core);
  const blocks = reader.blocksOfStream("fleet").slice(0, 100);
  const decodeAll = (): number => {
    let events = 0;
    for (const { seq } of blocks) {
      const block = reader.block(seq);
      if (block === null) continue;
      resetBatch(core, batch);
      decodeBlock(core, codec.decompress(block.data, block.encodedBytes), batch);
      events += block.count;
    }
    return events;
  };
  const scanner = new BlockScanner(codec);
  const last = Math.max(...blocks.map(({ maxUs }) => maxUs));
  const all = { stream: "fleet", timeField: "ts", keyFields: ["device"], key: null, fromUs: null };
  const writeAll = (): number => {
    let events = 0;
    let after: Parameters<typeof readEvents>[2]["after"] = null;
    do {
      const page = readEvents(reader, scanner, { ...all, toUs: last, limit: PAGE_ROWS, after });
      events += page.ndjson.length === 0 ? 0 : PAGE_ROWS;
      after = page.next;
    } while (after !== null);
    return events;
  };
  const timed = (what: string, work: () => number): Row => {
    work();
    const before = process.cpuUsage();
    const events = work();
    const { user, system } = process.cpuUsage(before);
    return { what, "M events/s": events / (user + system) };
  };
  const rows = [
    timed("read, zstd, decoded", decodeAll),
    timed("the same, ordered and written as JSON, in pages", writeAll),
  ];
  reader.close();
  return rows;
}

async function measurePoints(
  dir: string,
  { events, devices, eventsPerSecond }: { events: number; devices: number; eventsPerSecond: number },
): Promise<Row> {
  const client = new QueryClient(dir);
  const processorMs: number[] = [];
  const random = new Random(3);
  const spanUs = (events / eventsPerSecond) * 1e6;
  const latencies: number[] = [];
  let found = 0;
  for (let question = -3; question < QUESTIONS; question++) {
    const key = `d${String(random.integer(0, devices - 1)).padStart(5, "0")}`;
    const fromUs = START_MS * 1_000 + Math.floor(random.next() * Math.max(1, spanUs - HOUR_US));
    const started = performance.now();
    const usedBefore = process.cpuUsage();
    let after: string | null = null;
    do {
      const page = await client.events({
        stream: "fleet",
        timeField: "ts",
        keyFields: ["device"],
        fromUs,
        toUs: fromUs + HOUR_US,
        key,
        limit: PAGE_ROWS,
        after,
      });
      after = page.next;
      if (question >= 0) found += Buffer.from(page.ndjson).toString().split("\n").length - 1;
    } while (after !== null);
    if (question < 0) continue;
    latencies.push(performance.now() - started);
    const { user, system } = process.cpuUsage(usedBefore);
    processorMs.push((user + system) / 1_000);
  }
  await client.close();
  const sorted = Float64Array.from(latencies).sort();
  const used = Float64Array.from(processorMs).sort();
  return {
    what: "point: one device, 1 h",
    "p50 ms": quantileOf(sorted, 0.5),
    "p99 ms": quantileOf(sorted, 0.99),
    "processor p50 ms": quantileOf(used, 0.5),
    "processor p99 ms": quantileOf(used, 0.99),
    "events found": Math.round(found / QUESTIONS),
  };
}

async function measureAcks(
  dataDir: string,
  { rate, measureMs, rounds }: { rate: number; measureMs: number; rounds: number },
  cleanup: Cleanup,
): Promise<{ acks: Row[]; notes: string[]; failures: string[] }> {
  const node = new NodeProcess({ config: fleetConfig("1m", "5s"), dataDir }, cleanup);
  await node.start();
  const acks: Row[] = [];
  const failures: string[] = [];
  let scannedBytes = 0;
  // Alternately, so that what else the machine does falls on both.
  for (const isScanning of Array.from({ length: 2 * rounds }, (_, round) => round % 2 === 1)) {
    const scan = isScanning
      ? new Child<ScanMessage>(
          new URL("./support/scan-client.ts", import.meta.url),
          { url: node.url, path: `/v1/streams/fleet/events?limit=${SCAN_ROWS}` } satisfies ScanOptions,
          cleanup,
        )
      : null;
    const options: OpenLoopOptions = {
      url: node.url,
      path: "/v1/streams/fleet/events",
      connections: 16,
      devices: 1_000,
      bodies: 50,
      eventsPerBody: 500,
      bodiesPerSecond: rate / 500,
      warmupMs: WARMUP_MS,
      measureMs,
    };
    const sender = new Child<OpenLoopMessage>(
      new URL("./support/open-loop-client.ts", import.meta.url),
      options,
      cleanup,
    );
    let message = await sender.next();
    while (message.kind !== "done") message = await sender.next();
    scan?.send({ stop: true });
    scannedBytes += (await scan?.next())?.bytes ?? 0;
    const { sent, measureFromMs, refused } = message;
    if (refused > 0) failures.push(`${refused} bodies were refused`);
    const latencies = Float64Array.from(
      sent.filter(([dueMs]) => dueMs >= measureFromMs).map(([dueMs, ackMs]) => ackMs - dueMs),
    ).sort();
    acks.push({
      what: isScanning ? "ack, a scan running" : "ack, no scan",
      "p50 ms": quantileOf(latencies, 0.5),
      "p99 ms": quantileOf(latencies, 0.99),
    });
    await sleep(200);
  }
  const notes = [
    `ack: ${MAX_ACK_EVENTS.toLocaleString("en-US")} events stored at most, ${rate.toLocaleString("en-US")} events/s in bodies of 500, clients on the same cores, the scanning one at the lowest priority; the scans gave ${(scannedBytes / 1e6).toFixed(0)} MB of NDJSON`,
  ];
  await node.stop();
  return { acks, notes, failures };
}
