import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { sinkState, synced } from "../test/support/fleet.ts";
import { HttpClient } from "../test/support/http-client.ts";
import { NodeProcess } from "../test/support/node-process.ts";
import { Random } from "../test/support/random.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import { unpackBatch } from "../workers/sync/batch-format.ts";
import { decodeResults } from "../workers/sync/rows.ts";
import { nativeCodec } from "../workers/zstd.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";

/** A day without a hub, then a line of 1 Mbps: what arrives when, and how much of the line is used. */

const START_MS = Date.UTC(2026, 0, 1);
const HOUR_MS = 3_600_000;
const DEFAULT_HOURS = 24;
const DEFAULT_RATE = 20;
const DEVICES = 20;
const LINE_BYTES_PER_SECOND = 125_000;
const BODY_SECONDS = 300;
const PROBE_MS = 1_000;

interface Arrival {
  readonly atMs: number;
  readonly kind: string;
  readonly latestUs: number;
}

export function run({ settings }: BenchOptions): Promise<BenchReport> {
  const hours = Number(settings.get("hours") ?? DEFAULT_HOURS);
  const rate = Number(settings.get("rate") ?? DEFAULT_RATE);
  return withCleanups((cleanup) => measure(hours, rate, cleanup));
}

async function measure(hours: number, rate: number, cleanup: Cleanup): Promise<BenchReport> {
  const hub = await startRecorder(cleanup);
  const config = `
node: { id: press-1 }
streams: { machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 5s, maxAhead: 36500d }, lateness: 0s } }
queries:
  per_minute: { from: machines, window: { tumbling: 1m }, by: [device], select: { n: count(), mean: avg(temp), top: max(temp), p99: quantile(temp, 0.99) } }
alerts: { hot: { from: per_minute, when: mean > 90, severity: critical } }
sync: { url: "${hub.url}", bandwidth: 1Mbps, probe: ${PROBE_MS}ms }
`;
  const edge = new NodeProcess({ config }, cleanup);
  await edge.start();
  const client = new HttpClient(() => edge.url);
  cleanup.after(() => client.close());
  const events = await fill(client, hours, rate);
  await client.watermark("machines", { end: true });
  const { backlog } = await sinkState(client);
  hub.isUp = true;
  const upMs = performance.now();
  await synced(edge, client);
  const { arrivals, bytes } = hub;
  const seconds = (atMs: number): number => Math.round((atMs - upMs) / 100) / 10;
  const of = (kind: string): Arrival[] => arrivals.filter((arrival) => arrival.kind === kind);
  const newestUs = Math.max(...of("results").map(({ latestUs }) => latestUs));
  const newest = of("results").find(({ latestUs }) => latestUs === newestUs)!;
  const firstMs = arrivals[0]!.atMs;
  const lastMs = arrivals.at(-1)!.atMs;
  const share = bytes() / ((lastMs - upMs) / 1_000) / LINE_BYTES_PER_SECOND;
  const [alerts, aggregates] = [seconds(of("alerts").at(-1)!.atMs), seconds(newest.atMs)];
  const failures = [
    ...(alerts > 5 ? [`alerts took ${alerts} s; the aim is 5`] : []),
    ...(aggregates > 60 ? [`the newest aggregates took ${aggregates} s; the aim is 60`] : []),
    ...(share < 0.9 ? [`${Math.round(share * 100)} % of the line were used; the aim is 90`] : []),
  ];
  return {
    name: "reconnect",
    rows: [
      {
        "outage h": hours,
        events,
        "result rows": backlog.results,
        "alert steps": backlog.alerts,
        "first s": seconds(firstMs),
        "all alerts s": alerts,
        "newest results s": aggregates,
        "all results s": seconds(of("results").at(-1)!.atMs),
        "all events s": seconds(of("block").at(-1)!.atMs),
        "MB on the wire": Math.round(bytes() / 1e4) / 100,
        "line used %": Math.round(share * 1_000) / 10,
      },
    ],
    notes: [
      "seconds since the hub came back, the time until a probe (1 s) has noticed among them; the line is sync.bandwidth: 1Mbps",
      `a day of event time, ${rate} events/s of ${DEVICES} devices, is sent in bodies of ${BODY_SECONDS} s as fast as they are taken`,
    ],
    failures,
  };
}

/** Temperatures walk; each device is hot for some minutes a day. */
async function fill(client: HttpClient, hours: number, rate: number): Promise<number> {
  const random = new Random(1);
  const temperatures = Array.from({ length: DEVICES }, () => 50 + random.next() * 20);
  let count = 0;
  for (let atMs = START_MS; atMs < START_MS + hours * HOUR_MS; atMs += BODY_SECONDS * 1_000) {
    const hour = Math.floor((atMs - START_MS) / HOUR_MS);
    const events = Array.from({ length: BODY_SECONDS * rate }, (_, n) => {
      const device = n % DEVICES;
      temperatures[device] = temperatures[device]! + (random.next() - 0.5) * 0.4;
      const extra = hour % DEVICES === device && atMs % HOUR_MS === 0 ? 50 : 0;
      const temp = Math.round((temperatures[device]! + extra) * 100) / 100;
      return {
        ts: atMs + Math.floor((n * 1_000) / rate),
        device: `m${device}`,
        temp,
        rpm: random.integer(1_180, 1_520),
      };
    });
    await client.send("machines", events);
    count += events.length;
  }
  return count;
}

/** Stands in for a hub, and notes what came when. Answers 503 until it is up. */
async function startRecorder(cleanup: Cleanup) {
  const arrivals: Arrival[] = [];
  const codec = nativeCodec();
  let bytes = 0;
  const recorder = { arrivals, bytes: () => bytes, isUp: false, url: "" };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      if (recorder.isUp) bytes += chunk.length;
    });
    request.on("end", () => {
      if (!recorder.isUp) return response.writeHead(503).end();
      if (request.method === "GET") return response.writeHead(200).end("{}");
      const atMs = performance.now();
      for (const item of unpackBatch(codec, Buffer.concat(chunks)).items) {
        const rows = item.kind === "results" ? decodeResults(item.ndjson) : [];
        const latestUs = rows.reduce((most, row) => Math.max(most, "startUs" in row ? row.startUs : 0), 0);
        arrivals.push({ atMs, kind: item.kind, latestUs });
      }
      return response.writeHead(200).end('{"stored":1,"duplicate":false}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanup.after(() => {
    server.closeAllConnections();
    server.close();
  });
  recorder.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return recorder;
}
