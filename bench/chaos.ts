import { runChaos } from "../test/support/chaos-fleet.ts";
import { HUB_STORE } from "../test/support/hub-database.ts";
import { Random } from "../test/support/random.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";

/** The chaos run for as long as one likes: kills, a hostile network, and at the end all is as it must be. */

const DEFAULT_MINUTES = 10;

export async function run({ settings }: BenchOptions): Promise<BenchReport> {
  const minutes = Number(settings.get("minutes") ?? DEFAULT_MINUTES);
  const store = settings.get("store") ?? HUB_STORE;
  const seed = settings.get("seed");
  const random = new Random(seed === undefined ? Date.now() : Number(seed));
  const startMs = performance.now();
  const notes = [`--store ${store} --seed ${random.seed}`];
  const tell = (line: string): void => {
    process.stderr.write(`${line}\n`);
  };
  try {
    const options = { seconds: minutes * 60, store, random, tell };
    const report = await withCleanups((cleanup) => runChaos(options, cleanup));
    const { edges, kills, earlyDeaths, outages, level, duplicates, mishaps } = report;
    notes.push(
      `${Math.round((performance.now() - startMs) / 1_000)} s with the comparison`,
      `kills ${JSON.stringify(kills)}, of them ${earlyDeaths} while it started; ${outages} outages`,
      `what befell exchanges: ${JSON.stringify(mishaps)}; the small disk came to "${level}"`,
      `${duplicates} batches came to the hub again`,
      "events and results compared one by one with what was acknowledged; 0 lost, 0 twice, 0 differing",
    );
    return { name: "chaos", rows: edges.map((edge) => ({ ...edge })), notes };
  } catch (cause) {
    const failures = [cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)];
    return { name: "chaos", rows: [], notes, failures };
  }
}
