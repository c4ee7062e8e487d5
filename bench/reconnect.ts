import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { sinkState, synced } from "../test/support/fleet.ts";
import { HttpClient } from "../test/support/http-client.ts";
import { NodeProcess } from "../test/support/node-process.ts";
import { Random } from "../test/support/random.ts";
import { SlowLine } from "../test/support/slow-line.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import { unpackBatch } from "../workers/sync/batch-format.ts";
import { decodeAlerts, decodeResults } from "../workers/sync/rows.ts";
import { nativeCodec } from "../workers/zstd.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";

/**
 * A day without a hub, then a line of 1 Mbps: what arrives when, and how much of the line is used. `--line cap` (the default) is an
 * edge that is told to use 1 Mbps of a faster line; `--line real` one whose line takes no more, and who does not know.
 */

const START_MS = Date.UTC(2026, 0, 1);
const HOUR_MS = 3_600_000;
const DEFAULT_HOURS = 24;
const DEFAULT_RATE = 20;
const DEVICES = 20;
const LINE_BYTES_PER_SECOND = 125_000;
const DEFAULT_BODY_SECONDS = 300;
/** Of the real line, there and back. */
const ROUND_TRIP_MS = 80;
/** While the day drains, an alert comes up so often. */
const NEWS_MS = 3_000;
const PROBE_MS = 1_000;

interface Arrival {
  readonly atMs: number;
  readonly kind: string;
  readonly latestUs: number;
  readonly news: readonly number[];
}

interface Outage {
  readonly hours: number;
  /** Events a second. */
  readonly rate: number;
  /** Seconds of events in a request. */
  readonly bodySeconds: number;
  readonly line: "cap" | "real";
}

export function run({ settings }: BenchOptions): Promise<BenchReport> {
  const line = settings.get("line") ?? "cap";
  if (line !== "cap" && line !== "real") throw new Error("--line must be cap or real");
  const outage: Outage = {
    line,
    hours: Number(settings.get("hours") ?? DEFAULT_HOURS),
    rate: Number(settings.get("rate") ?? DEFAULT_RATE),
    bodySeconds: Number(settings.get("body") ?? DEFAULT_BODY_SECONDS),
  };
  return withCleanups((cleanup) => measure(outage, cleanup));
}

async function measure(outage: Outage, cleanup: Cleanup): Promise<BenchReport> {
  const { hours, rate, bodySeconds, line } = outage;
  const hub = await startRecorder(cleanup);
  const settings = { bytesPerSecond: LINE_BYTES_PER_SECOND, delayMs: ROUND_TRIP_MS / 2 };
  const url = line === "cap" ? hub.url : (await SlowLine.start(hub.url, settings, cleanup)).url;
  const config = `
node: { id: press-1 }
streams: { machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 5s, maxAhead: 36500d }, lateness: 0s }, news: { key: device } }
queries:
  per_minute: { from: machines, window: { tumbling: 1m }, by: [device], select: { n: count(), mean: avg(temp), top: max(temp), p99: quantile(temp, 0.99) } }
alerts: { hot: { from: per_minute, when: mean > 90, severity: critical }, news: { from: news, when: n >= 0, clear: n < 0 } }
sync: { url: "${url}", ${line === "cap" ? "bandwidth: 1Mbps, " : ""}probe: ${PROBE_MS}ms }
`;
  const edge = new NodeProcess({ config }, cleanup);
  await edge.start();
  const client = new HttpClient(() => edge.url);
  cleanup.after(() => client.close());
  const events = await fill(client, outage);
  await client.watermark("machines", { end: true });
  const { backlog } = await sinkState(client);
  hub.isUp = true;
  const upMs = performance.now();
  const isOver = new AbortController();
  const news = tellNews(client, isOver.signal);
  await synced(edge, client, 0, 4 * 3_600_000);
  isOver.abort();
  const told = await news;
  const { arrivals, bytes } = hub;
  const seconds = (atMs: number): number => Math.round((atMs - upMs) / 100) / 10;
  const of = (kind: string): Arrival[] => arrivals.filter((arrival) => arrival.kind === kind);
  const newestUs = Math.max(...of("results").map(({ latestUs }) => latestUs));
  const newest = of("results").find(({ latestUs }) => latestUs === newestUs)!;
  const firstMs = arrivals[0]!.atMs;
  const oldMs = of("alerts").findLast((arrival) => arrival.news.length === 0)!.atMs;
  const lastMs = Math.max(...of("block").map(({ atMs }) => atMs));
  const share = bytes() / ((lastMs - upMs) / 1_000) / LINE_BYTES_PER_SECOND;
  const [alerts, aggregates] = [seconds(oldMs), seconds(newest.atMs)];
  // The last ones came up when all had drained.
  const delays = told
    .filter((atMs) => atMs < lastMs - NEWS_MS)
    .map((atMs, n) => {
      const arrival = arrivals.find((each) => each.news.includes(n));
      return arrival === undefined ? Number.POSITIVE_INFINITY : Math.round((arrival.atMs - atMs) / 100) / 10;
    });
  const slowest = Math.max(0, ...delays);
  const failures = [
    ...(slowest > 5 ? [`an alert took ${slowest} s while the day drained; the aim is 5`] : []),
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
        "slowest new alert s": slowest,
        "MB on the wire": Math.round(bytes() / 1e4) / 100,
        "line used %": Math.round(share * 1_000) / 10,
      },
    ],
    notes: [
      "seconds since the hub came back, the time until a probe (1 s) has noticed among them",
      line === "cap"
        ? "the line is sync.bandwidth: 1Mbps"
        : `the line itself takes 1 Mbps, ${ROUND_TRIP_MS} ms there and back; sync has no bandwidth set`,
      `new alerts: ${delays.length} that came up while the day drained, in s: ${delays.join(" ")}`,
      `a day of event time, ${rate} events/s of ${DEVICES} devices, is sent in bodies of ${bodySeconds} s as fast as they are taken`,
    ],
    failures,
  };
}

/** Temperatures walk; each device is hot for some minutes a day. */
async function fill(client: HttpClient, { hours, rate, bodySeconds }: Outage): Promise<number> {
  const random = new Random(1);
  const temperatures = Array.from({ length: DEVICES }, () => 50 + random.next() * 20);
  let count = 0;
  for (let atMs = START_MS; atMs < START_MS + hours * HOUR_MS; atMs += bodySeconds * 1_000) {
    const hour = Math.floor((atMs - START_MS) / HOUR_MS);
    const events = Array.from({ length: bodySeconds * rate }, (_, n) => {
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

/** An event that is an alert at once, again and again. @returns when each was sent. */
async function tellNews(client: HttpClient, signal: AbortSignal): Promise<number[]> {
  const told: number[] = [];
  for (;;) {
    await sleep(NEWS_MS, null, { signal }).catch(() => null);
    if (signal.aborted) return told;
    const n = told.push(performance.now()) - 1;
    await client.send("news", [{ device: `news-${n}`, n }]);
  }
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
        const news = item.kind === "alerts" ? newsOf(decodeAlerts(item.ndjson)) : [];
        // What is told of the run itself is no part of the day.
        if (item.kind === "block" && item.stream === "news") continue;
        arrivals.push({ atMs, kind: item.kind, latestUs, news });
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

/** Numbers of the alerts that came up meanwhile. */
function newsOf(rows: readonly { readonly alert: string; readonly key: string }[]): number[] {
  return rows.flatMap(({ alert, key }) => (alert === "news" ? [Number(/news-(\d+)/.exec(key)?.[1])] : []));
}
