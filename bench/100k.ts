import type { Cleanup } from "../test/support/temp-dir.ts";
import { type BenchOptions, type BenchReport, quantileOf, summariseLatencies } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";
import { runOpenLoop } from "./support/open-loop.ts";

/**
 * The headline: holds a constant rate (100,000 events/s of 10,000 devices for a minute, unless told otherwise) and
 * tells what it costs: CPU and memory of the node, latency of acknowledgements and of window results, loss.
 */

const DEFAULT_RATE = 100_000;
const DEFAULT_SECONDS = 60;
const DEFAULT_WARMUP_SECONDS = 10;
/** Short enough that a minute sees several windows of all devices close. */
const DEFAULT_WINDOW_SECONDS = 10;
const BOUND_MS = 1_000;

const AIMS =
  "aims: at most 0.15 cores, ack p99 10 ms, window result p99 50 ms, RSS 150 MB and flat, nothing lost";

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups((cleanup) => measure(options, cleanup));
}

async function measure({ seconds, settings }: BenchOptions, cleanup: Cleanup): Promise<BenchReport> {
  const rate = Number(settings.get("rate") ?? DEFAULT_RATE);
  const eventsPerBody = Number(settings.get("batch") ?? 1_000);
  const devices = Number(settings.get("devices") ?? 10_000);
  const warmupMs = Number(settings.get("warmup") ?? DEFAULT_WARMUP_SECONDS) * 1_000;
  const measureMs = (seconds ?? DEFAULT_SECONDS) * 1_000;
  const measured = await runOpenLoop(
    {
      eventsPerSecond: rate,
      eventsPerBody,
      devices,
      warmupMs,
      measureMs,
      windowMs: Number(settings.get("window") ?? DEFAULT_WINDOW_SECONDS) * 1_000,
      boundMs: BOUND_MS,
    },
    cleanup,
  );
  const { done, results, failures } = measured;
  const resident = measured.residentBytes.map((bytes) => Math.round(bytes / 1e6));
  return {
    name: "100k",
    rows: [
      {
        "events/s": Math.round(measured.eventsPerSecond),
        "server cores": measured.serverCores,
        ...summariseLatencies("ack", measured.ackMs),
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
      `${rate.toLocaleString("en-US")} events/s due for ${measureMs / 1_000} s after ${warmupMs / 1_000} s of warm-up; ${devices} devices, bodies of ${eventsPerBody} events, ${done.sent.length} bodies in all`,
      "latencies count from the moment a body was due; a window's from the moment the body was due that moved the watermark past its end",
      `results: ${results.sinceDue.length} rows of ${results.windows} windows over the live feed; since that body's acknowledgement p99 ${formatMs(results.sinceAck, 0.99)}, max ${formatMs(results.sinceAck, 1)} ms`,
      `RSS by time, MB: ${everyNth(resident, Math.ceil(resident.length / 20)).join(" ")}`,
      `busy threads: ${measured.threads}`,
      `client: ${measured.clientCores.toFixed(2)} cores, longest queue of due bodies ${done.longestQueue}`,
    ],
    failures,
  };
}

function formatMs(latenciesMs: readonly number[], q: number): string {
  return quantileOf(Float64Array.from(latenciesMs).sort(), q).toFixed(1);
}

function everyNth(values: readonly number[], n: number): number[] {
  return values.filter((_, index) => index % n === 0);
}
