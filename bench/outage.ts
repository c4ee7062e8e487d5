import { runOutage } from "../test/support/outage.ts";
import { makeTempDir } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";

/** Three days without a hub at the rate of a Pi: what is on disk, what is held, and what became of the rest. */

const MIB = 1024 * 1024;
const HOUR_US = 3_600e6;
const HOURS = 72;
const EVENTS_PER_SECOND = 1_000;
const CAP_MIB = 256;
const STEP_SECONDS = 60;

export function run({ settings }: BenchOptions): Promise<BenchReport> {
  return withCleanups(async (cleanup) => {
    const scale = Number(settings.get("scale") ?? 1);
    const hours = Number(settings.get("hours") ?? HOURS);
    const stepSeconds = Number(settings.get("step") ?? STEP_SECONDS);
    const capBytes = CAP_MIB * MIB * scale;
    const eventsPerSecond = EVENTS_PER_SECOND * scale;
    const startMs = performance.now();
    const report = await runOutage({
      dir: makeTempDir(cleanup),
      capBytes,
      hours,
      eventsPerSecond,
      stepSeconds,
      seed: 1,
    });
    const { last, levels, imbalances, mostDiskBytes, refused, endUs } = report;
    const failures = [
      ...(mostDiskBytes > capBytes ? [`${mostDiskBytes} bytes on disk with a cap of ${capBytes}`] : []),
      ...imbalances.map((each) => `the ledger does not balance: ${JSON.stringify(each)}`),
      ...(refused > 0 ? [`${refused} batches were refused`] : []),
    ];
    const rows = last.ledgers.map(({ stream, accepted, held, downsampled, givenUp }) => {
      const range = report.held.get(stream);
      return {
        stream,
        accepted,
        held,
        "held hours": range == null ? 0 : Math.round((10 * (endUs - range.fromUs)) / HOUR_US) / 10,
        downsampled,
        "given up": givenUp,
        "most on disk MiB": Math.round((10 * mostDiskBytes) / MIB) / 10,
        "cap MiB": Math.round((10 * capBytes) / MIB) / 10,
      };
    });
    const seconds = Math.round((performance.now() - startMs) / 1_000);
    const notes = [
      `${hours} h in ${seconds} s at ${eventsPerSecond} events/s, a commit every ${stepSeconds} s; levels ${levels.join(", ")}`,
      "the clock is compressed, and with --scale rate and cap alike; store, codecs, SQLite and its fsyncs are the real ones;",
      "HTTP, parser, windows and their results are left out",
    ];
    return { name: "outage", rows, notes, failures };
  });
}
