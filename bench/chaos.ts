import { runChaos } from "../test/support/chaos-fleet.ts";
import { Random } from "../test/support/random.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";

/** The chaos run for as long as one likes: kills, a hostile network, and at the end everything equal. */

const DEFAULT_MINUTES = 10;
const DEFAULT_EDGES = 5;
/** A kill comes every 4 s on average: half of the longest life, the pause, and the start. */
const LONGEST_LIFE_MS = 5_000;
const CYCLE_MS = 4_000;
/** Some 20 events a batch: 500 events/s an edge at most. */
const PAUSE_MS = 40;

export async function run({ settings }: BenchOptions): Promise<BenchReport> {
  const minutes = Number(settings.get("minutes") ?? DEFAULT_MINUTES);
  const edges = Number(settings.get("edges") ?? DEFAULT_EDGES);
  const seed = settings.get("seed");
  const random = new Random(seed === undefined ? Date.now() : Number(seed));
  const kills = Math.max(1, Math.round((minutes * 60_000) / CYCLE_MS));
  const startMs = performance.now();
  const notes = [`--seed ${random.seed}; ${kills} kills`];
  try {
    const options = { edges, kills, longestLifeMs: LONGEST_LIFE_MS, pauseMs: PAUSE_MS, random };
    const report = await withCleanups((cleanup) => runChaos(options, cleanup));
    const seconds = Math.round((performance.now() - startMs) / 1_000);
    notes.push(`${seconds} s with the comparison; the hub was started ${report.hubStarts} times`);
    notes.push(`what befell connections: ${JSON.stringify(report.mishaps)}`);
    notes.push(
      "rows: events, results of all revisions, alerts and losses, each compared; 0 lost, 0 twice, 0 differing",
    );
    return { name: "chaos", rows: report.edges.map((edge) => ({ ...edge })), notes };
  } catch (cause) {
    const failures = [cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)];
    return { name: "chaos", rows: [], notes, failures };
  }
}
