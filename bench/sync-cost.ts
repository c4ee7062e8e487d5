import { sinkState } from "../test/support/fleet.ts";
import { HttpClient } from "../test/support/http-client.ts";
import { spawnNode } from "../test/support/node-process.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import type { AnsweringHubReady } from "./support/answering-hub.ts";
import { Child } from "./support/child.ts";
import { withCleanups } from "./support/cleanups.ts";
import { FIRST_EVENT_MS, runClosedLoop } from "./support/closed-loop.ts";
import { fleetConfig } from "./support/fleet.ts";

/** What sync takes of an edge that is fed as fast as it answers: its processor time an event, with sync and without. */

const DEFAULT_SECONDS = 5;
const DEFAULT_PAIRS = 3;
const WARMUP_MS = 2_000;

export async function run({ seconds, settings }: BenchOptions): Promise<BenchReport> {
  const measureMs = (seconds ?? DEFAULT_SECONDS) * 1_000;
  const pairs = Number(settings.get("pairs") ?? DEFAULT_PAIRS);
  const rows: Record<string, string | number>[] = [];
  const notes = [
    "The hub is a process that answers and does nothing else. In pairs, one after the other; aim: at most a tenth more. Shares of threads are of one core:",
  ];
  const costs: Record<"off" | "on", number[]> = { off: [], on: [] };
  for (let pair = 0; pair < pairs; pair++) {
    for (const sync of ["off", "on"] as const) {
      const measured = await withCleanups((cleanup) => measure(sync === "on", measureMs, cleanup));
      rows.push({ sync, ...measured.row });
      costs[sync].push(Number(measured.row["edge ns/event"]));
      notes.push(`${sync}: ${measured.threads}`);
    }
  }
  const [off, on] = [median(costs.off), median(costs.on)];
  const percent = Math.round((100 * (on - off)) / off);
  notes.push(`at the median ${off} ns an event without sync, ${on} with it: ${percent} % more`);
  return { name: "sync-cost", rows, notes };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

async function measure(isOn: boolean, measureMs: number, cleanup: Cleanup) {
  let sync = "";
  if (isOn) {
    const hub = new Child<AnsweringHubReady>(
      new URL("./support/answering-hub.ts", import.meta.url),
      {},
      cleanup,
    );
    sync = `sync: { url: "${(await hub.next()).url}" }`;
  }
  const node = await spawnNode({ config: fleetConfig("1m", "5s", sync) }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const { row, threads, done } = await runClosedLoop(
    {
      url: node.url,
      path: "/v1/streams/fleet/events",
      connections: 6,
      devices: 10_000,
      bodies: 64,
      eventsPerBody: 4_000,
      warmupMs: WARMUP_MS,
      measureMs,
      maxEvents: null,
      firstEventMs: FIRST_EVENT_MS,
      msPerBody: 40,
    },
    node.pid,
    cleanup,
  );
  const { "events/s": rate, "server ns/event": nsPerEvent, "server cores": cores } = row;
  const sent = isOn ? (await sinkState(client)).rows.events : 0;
  return {
    threads,
    row: {
      "events/s": rate!,
      "edge ns/event": nsPerEvent!,
      "edge cores": cores!,
      "sent meanwhile %": Math.round((100 * sent) / done.totalEvents),
    },
  };
}
