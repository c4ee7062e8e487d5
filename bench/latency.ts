import { type BenchOptions, type BenchReport, type Quantile, summariseLatencies } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";
import { type OpenLoopRun, runOpenLoop } from "./support/open-loop.ts";

/**
 * Latency by rate, to the far tail: acknowledgements and window results at constant rates, sent when they are due whatever
 * comes back, and counted from then.
 */

const DEFAULT_RATES = "1000,10000,100000,500000";
const DEFAULT_SECONDS = 60;
const DEFAULT_WARMUP_SECONDS = 10;
const DEFAULT_WINDOW_SECONDS = 10;
const DEFAULT_DEVICES = 10_000;
const BOUND_MS = 1_000;
/** As many requests at every rate, so that only the events in them differ, and a minute has 30,000 latencies. */
const BODIES_A_SECOND = 500;
const QUANTILES: readonly Quantile[] = [0.5, 0.9, 0.99, 0.999, 0.9999, 1];
/** Below so many, the last quantile is the greatest of them. */
const SAMPLES_FOR_LAST = 10_000;

export async function run({ seconds, settings }: BenchOptions): Promise<BenchReport> {
  const rates = (settings.get("rates") ?? DEFAULT_RATES).split(",").map(Number);
  const unusable = rates.filter((rate) => !(rate > 0));
  if (unusable.length > 0) throw new Error("--rates takes numbers of events a second, with commas");
  const measureMs = (seconds ?? DEFAULT_SECONDS) * 1_000;
  const warmupMs = Number(settings.get("warmup") ?? DEFAULT_WARMUP_SECONDS) * 1_000;
  const windowMs = Number(settings.get("window") ?? DEFAULT_WINDOW_SECONDS) * 1_000;
  const devices = Number(settings.get("devices") ?? DEFAULT_DEVICES);
  const rows: BenchReport["rows"][number][] = [];
  const notes: string[] = [];
  const failures: string[] = [];
  for (const rate of rates) {
    const eventsPerBody = Math.max(1, Math.round(rate / BODIES_A_SECOND));
    const shape = {
      eventsPerSecond: rate,
      eventsPerBody,
      devices,
      warmupMs,
      measureMs,
      windowMs,
      boundMs: BOUND_MS,
    };
    const measured = await withCleanups((cleanup) => runOpenLoop(shape, cleanup));
    rows.push(...rowsOf(rate, eventsPerBody, measured));
    notes.push(noteOf(rate, measured));
    failures.push(...measured.failures.map((failure) => `${rate} events/s: ${failure}`));
  }
  return {
    name: "latency",
    rows,
    notes: [
      `${measureMs / 1_000} s at each rate after ${warmupMs / 1_000} s of warm-up, ${devices} devices, windows of ${windowMs / 1_000} s; requests are sent when due, whatever comes back, over up to 32 connections`,
      "ack: from the moment a request was due. result: each row over the live feed, from the moment the request was due that moved the watermark past the window's end",
      `where there are fewer than ${SAMPLES_FOR_LAST} samples, p99.99 is the greatest of them`,
      ...notes,
    ],
    failures,
  };
}

function rowsOf(rate: number, eventsPerBody: number, measured: OpenLoopRun): BenchReport["rows"] {
  const { eventsPerSecond, ackMs, results, serverCores, done } = measured;
  const row = (of: string, latenciesMs: readonly number[]): BenchReport["rows"][number] => ({
    "due events/s": rate,
    "events/s": Math.round(eventsPerSecond),
    "events a request": eventsPerBody,
    latency: of,
    samples: latenciesMs.length,
    ...summariseLatencies("", latenciesMs, QUANTILES),
    "server cores": serverCores,
    refused: done.refused,
  });
  return [row("ack", ackMs), row("result", results.sinceDue)];
}

function noteOf(rate: number, { results, threads, clientCores, done }: OpenLoopRun): string {
  const sinceAck = Object.entries(summariseLatencies("", results.sinceAck))
    .map(([name, ms]) => `${name.replace(" ms", "")} ${ms.toFixed(1)}`)
    .join(", ");
  return `${rate.toLocaleString("en-US")} events/s: ${results.windows} windows, results since the acknowledgement: ${sinceAck} ms; client ${clientCores.toFixed(2)} cores, longest queue of due requests ${done.longestQueue}; busy threads: ${threads}`;
}
