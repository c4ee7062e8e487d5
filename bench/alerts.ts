import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../test/support/http-client.ts";
import { spawnNode } from "../test/support/node-process.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import { type BenchOptions, type BenchReport, summariseLatencies } from "./report.ts";
import { Child } from "./support/child.ts";
import { withCleanups } from "./support/cleanups.ts";
import { fleetConfig } from "./support/fleet.ts";
import type { OpenLoopMessage, OpenLoopOptions } from "./support/open-loop-client.ts";

/**
 * How long after an event was sent the webhook of its alert arrives, beside a constant rate of other events (100,000
 * events/s of 10,000 devices, unless told otherwise). The node posts to a receiver in this process.
 */

const DEFAULT_RATE = 100_000;
const DEFAULT_SECONDS = 20;
const EVENTS_PER_BODY = 1_000;
const DEVICES = 10_000;
const WARMUP_MS = 5_000;
/** Between two events that raise or clear the alert. */
const PROBE_EVERY_MS = 50;

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups((cleanup) => measure(options, cleanup));
}

async function measure({ seconds, settings }: BenchOptions, cleanup: Cleanup): Promise<BenchReport> {
  const rate = Number(settings.get("rate") ?? DEFAULT_RATE);
  const measureMs = (seconds ?? DEFAULT_SECONDS) * 1_000;
  const arrivedMs = new Map<number, number>();
  const hook = await receive(cleanup, (ts) => arrivedMs.set(ts, performance.now()));
  const config = `${fleetConfig("10s", "1s")}
alerts:
  hot: { from: fleet, when: probe > 90, clear: probe < 50, notify: [{ webhook: "${hook}" }] }
limits: { maxWebhooksPerSecond: 1000 }
`;
  const node = await spawnNode({ config }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const load: OpenLoopOptions = {
    url: node.url,
    path: "/v1/streams/fleet/events",
    connections: 32,
    devices: DEVICES,
    bodies: 200,
    eventsPerBody: EVENTS_PER_BODY,
    bodiesPerSecond: rate / EVENTS_PER_BODY,
    warmupMs: WARMUP_MS,
    measureMs,
  };
  new Child<OpenLoopMessage>(new URL("./support/open-loop-client.ts", import.meta.url), load, cleanup);
  await sleep(WARMUP_MS);
  const sentMs = new Map<number, number>();
  const untilMs = performance.now() + measureMs;
  for (let probe = 0; performance.now() < untilMs; probe++) {
    const ts = Date.now() + probe;
    sentMs.set(ts, performance.now());
    await client.send("fleet", [{ device: "probe", ts, probe: probe % 2 === 0 ? 95 : 40 }]);
    await sleep(PROBE_EVERY_MS);
  }
  await sleep(1_000);
  const latencies = [...sentMs].map(([ts, sent]) => (arrivedMs.get(ts) ?? Number.NaN) - sent);
  const missing = latencies.filter(Number.isNaN).length;
  const row = {
    probes: latencies.length,
    ...summariseLatencies(
      "webhook",
      latencies.filter((ms) => !Number.isNaN(ms)),
    ),
  };
  return {
    name: "alerts",
    rows: [row],
    notes: [
      `at ${rate.toLocaleString("en")} events/s of others; the aim is 100 ms from an event's sending to its webhook`,
    ],
    failures: missing === 0 ? [] : [`${missing} webhooks did not come`],
  };
}

/** A receiver that tells the time (ms) of the event that each post is of. */
async function receive(cleanup: Cleanup, onPost: (ts: number) => void): Promise<string> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { at } = JSON.parse(Buffer.concat(chunks).toString()) as { at: string };
      onPost(Date.parse(at));
      response.writeHead(200).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanup.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}
