import { setTimeout as sleep } from "node:timers/promises";
import { sinkState } from "../test/support/fleet.ts";
import { HttpClient } from "../test/support/http-client.ts";
import { type NodeProcess, spawnNode } from "../test/support/node-process.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import type { AnsweringHubReady } from "./support/answering-hub.ts";
import { Child } from "./support/child.ts";
import { withCleanups } from "./support/cleanups.ts";
import { FIRST_EVENT_MS, runClosedLoop } from "./support/closed-loop.ts";
import { fleetConfig } from "./support/fleet.ts";
import { readUsage } from "./support/proc.ts";

/** What sync takes of an edge that is fed as fast as it answers: its processor time an event and its rate, with sync and without. */

const DEFAULT_SECONDS = 5;
const DEFAULT_PAIRS = 6;
const WARMUP_MS = 1_000;
/** After a stretch, for what was begun to end: what is sent later falls on nobody's time. */
const PAUSE_MS = 1_500;

/** A node that lives through all stretches, which are warm then but for the first. */
interface Edge {
  readonly sync: "off" | "on";
  readonly node: NodeProcess;
  readonly client: HttpClient;
  readonly hubPid: number | null;
  /** Of the event sent last. */
  eventMs: number;
}

interface Stretch {
  readonly nsPerEvent: number;
  readonly eventsPerSecond: number;
}

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups((cleanup) => measure(options, cleanup));
}

async function measure({ seconds, settings }: BenchOptions, cleanup: Cleanup): Promise<BenchReport> {
  const measureMs = (seconds ?? DEFAULT_SECONDS) * 1_000;
  const pairs = Number(settings.get("pairs") ?? DEFAULT_PAIRS);
  const edges = [await openEdge("off", cleanup), await openEdge("on", cleanup)];
  const rows: Record<string, string | number>[] = [];
  const threads: string[] = [];
  const found: Record<Edge["sync"], Stretch[]> = { off: [], on: [] };
  for (let pair = -1; pair < pairs; pair++) {
    // In turns, so that what else the machine does falls on both.
    for (const edge of pair % 2 === 0 ? edges : edges.toReversed()) {
      const measured = await feed(edge, measureMs, cleanup);
      await sleep(PAUSE_MS);
      if (pair < 0) continue;
      rows.push({ sync: edge.sync, ...measured.row });
      threads.push(`${edge.sync}: ${measured.threads}`);
      found[edge.sync].push(measured.stretch);
    }
  }
  const ratios = (of: keyof Stretch): number[] =>
    found.on.map((stretch, index) => stretch[of] / found.off[index]![of]);
  const percent = (ratio: number): string => `${Math.round(100 * (ratio - 1))} %`;
  const [cost, rate] = [median(ratios("nsPerEvent")), median(ratios("eventsPerSecond"))];
  return {
    name: "sync-cost",
    rows,
    notes: [
      "Edge: all its threads, whatever they do: what reads, packs, sends and books a batch, and what ingest does besides. The hub answers and does nothing else; what it takes to receive is no cost of the edge and is given beside, but it is on these cores, as is the client, and so weighs on events/s.",
      `Both nodes live through the run and are fed in turns. At the median of pairs: ${percent(cost)} more of the edge's processor time an event with sync, ${percent(rate)} of rate. Aim: within 10 %.`,
      "Shares of threads are of one core:",
      ...threads,
    ],
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle]!;
  return (sorted[middle - 1]! + sorted[middle]!) / 2;
}

async function openEdge(sync: Edge["sync"], cleanup: Cleanup): Promise<Edge> {
  let more = "";
  let hubPid: number | null = null;
  if (sync === "on") {
    const file = new URL("./support/answering-hub.ts", import.meta.url);
    const hub = new Child<AnsweringHubReady>(file, {}, cleanup);
    more = `sync: { url: "${(await hub.next()).url}" }`;
    hubPid = hub.pid;
  }
  const node = await spawnNode({ config: fleetConfig("1m", "5s", more) }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  return { sync, node, client, hubPid, eventMs: FIRST_EVENT_MS };
}

async function feed(edge: Edge, measureMs: number, cleanup: Cleanup) {
  const { sync, node, client, hubPid } = edge;
  const hubBefore = hubPid === null ? null : readUsage(hubPid);
  const sentBefore = sync === "on" ? (await sinkState(client)).rows.events : 0;
  const { row, threads, done, eventsPerSecond } = await runClosedLoop(
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
      firstEventMs: edge.eventMs,
      msPerBody: 40,
    },
    node.pid,
    cleanup,
  );
  edge.eventMs = done.lastEventMs;
  const sent = sync === "on" ? (await sinkState(client)).rows.events - sentBefore : 0;
  const hubMs = hubPid === null ? 0 : (readUsage(hubPid)?.cpuMs ?? 0) - (hubBefore?.cpuMs ?? 0);
  const { "server ns/event": nsPerEvent, "server cores": cores, "client cores": clientCores } = row;
  return {
    threads,
    stretch: { nsPerEvent: Number(nsPerEvent), eventsPerSecond },
    row: {
      "events/s": Math.round(eventsPerSecond),
      "edge ns/event": nsPerEvent!,
      "edge cores": cores!,
      "client cores": clientCores!,
      "hub ns/event": Math.round((hubMs * 1e6) / done.totalEvents),
      "sent meanwhile %": Math.round((100 * sent) / done.totalEvents),
    },
  };
}
