import { availableParallelism } from "node:os";
import { HttpClient } from "../test/support/http-client.ts";
import { spawnNode } from "../test/support/node-process.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { Child } from "./support/child.ts";
import { withCleanups } from "./support/cleanups.ts";
import { type ClosedLoopRun, FIRST_EVENT_MS, runClosedLoop } from "./support/closed-loop.ts";
import { fleetConfig } from "./support/fleet.ts";
import type { MergeMessage, MergeOptions } from "./support/merge-worker.ts";
import { budgetOf, FORMULA, predict, type StageBudget } from "./support/stage-budget.ts";

/**
 * How the pipeline grows with threads: its rate and what an event costs each kind of thread, with 1, 2 and 3 ingest workers;
 * merging shared by 1 and 2 window workers; and what follows for machines of more cores than this one.
 */

const INGEST_WORKERS = "1,2,3";
const WINDOW_WORKERS = [1, 2] as const;
const PREDICTED_CORES = [4, 8] as const;
const DEFAULT_SECONDS = 6;
const DEFAULT_WARMUP_SECONDS = 3;
const EVENTS_PER_BODY = 4_000;
const CONNECTIONS = 8;
const DEVICES = 10_000;
/** Event time passes at the pace of 100,000 events/s. */
const MS_PER_BODY = 40;

type Row = BenchReport["rows"][number];

interface Merging {
  readonly workers: number;
  readonly eventsPerSecond: number;
  readonly nsPerEvent: number;
}

export async function run({ seconds, settings }: BenchOptions): Promise<BenchReport> {
  const measureMs = (seconds ?? DEFAULT_SECONDS) * 1_000;
  const warmupMs = Number(settings.get("warmup") ?? DEFAULT_WARMUP_SECONDS) * 1_000;
  const counts = (settings.get("ingest") ?? INGEST_WORKERS).split(",").map(Number);
  const failures: string[] = [];
  const runs: { workers: number; run: ClosedLoopRun; budget: StageBudget }[] = [];
  for (const workers of counts) {
    const run = await withCleanups((cleanup) => runNode(workers, warmupMs, measureMs, cleanup, failures));
    runs.push({ workers, run, budget: budgetOf(run.threadCpuMs, run.done.events) });
  }
  const merging: Merging[] = [];
  for (const workers of WINDOW_WORKERS) {
    merging.push(await withCleanups((cleanup) => mergeAlone(workers, measureMs, cleanup)));
  }
  const first = runs[0];
  if (first === undefined) throw new Error("--ingest takes numbers of workers, with commas");
  const clientNs = (first.run.done.cpuMs * 1e6) / first.run.done.events;
  const factorOf = (workers: number): number => {
    const [alone, shared] = [1, workers].map((n) => merging.find((each) => each.workers === n)?.nsPerEvent);
    return (shared ?? Number.NaN) / (alone ?? Number.NaN);
  };
  const cores = availableParallelism();
  const seen = runs.map(({ workers, run, budget }): Row => {
    const shape = { cores, ingestWorkers: workers, windowWorkers: 1, clientNs, windowFactor: 1 };
    const { eventsPerSecond, limit } = predict(first.budget, shape);
    return {
      what: "seen, client on the same cores",
      cores,
      "ingest workers": workers,
      "window workers": 1,
      "events/s": Math.round(run.eventsPerSecond),
      "× first": run.eventsPerSecond / first.run.eventsPerSecond,
      "predicted events/s": Math.round(eventsPerSecond),
      "limited by": limit,
      ...nsColumns(budget),
      "server cores": sumOf(run.threadCpuMs) / run.done.elapsedMs,
      "client cores": run.done.cpuMs / run.done.elapsedMs,
    };
  });
  const merged = merging.map(
    ({ workers, eventsPerSecond, nsPerEvent }): Row => ({
      what: "merging alone",
      cores,
      "window workers": workers,
      "events/s": Math.round(eventsPerSecond),
      "× first": eventsPerSecond / (merging[0]?.eventsPerSecond ?? Number.NaN),
      "window ns": nsPerEvent,
    }),
  );
  return {
    name: "scale",
    rows: [...seen, ...merged, ...predictions(first.budget, factorOf)],
    notes: notesOf(first.workers, clientNs, factorOf(2), runs),
    failures,
  };
}

function nsColumns({ mainNs, ingestNs, windowNs, storageNs, otherNs }: StageBudget): Row {
  return {
    "main ns": mainNs,
    "ingest ns": ingestNs,
    "window ns": windowNs,
    "storage ns": storageNs,
    "other ns": otherNs,
  };
}

function predictions(budget: StageBudget, factorOf: (windowWorkers: number) => number): Row[] {
  return PREDICTED_CORES.flatMap((cores) =>
    WINDOW_WORKERS.map((windowWorkers) => {
      // What a node has at rest.
      const ingestWorkers = cores - 1;
      const shape = {
        cores,
        ingestWorkers,
        windowWorkers,
        clientNs: 0,
        windowFactor: factorOf(windowWorkers),
      };
      const { eventsPerSecond, limit } = predict(budget, shape);
      return {
        what: "predicted, client elsewhere",
        cores,
        "ingest workers": ingestWorkers,
        "window workers": windowWorkers,
        "predicted events/s": Math.round(eventsPerSecond),
        "limited by": limit,
      };
    }),
  );
}

function notesOf(
  firstWorkers: number,
  clientNs: number,
  factor: number,
  runs: readonly { readonly workers: number; readonly run: ClosedLoopRun }[],
): string[] {
  return [
    `bodies of ${EVENTS_PER_BODY} events of 5 fields, ${DEVICES} devices, ${CONNECTIONS} connections, closed loop, 1-minute windows with a quantile, every answer after its fsync; ns: CPU an event, by thread (/proc, in ticks of 10 ms)`,
    `formula: ${FORMULA}`,
    `the costs are those of the run with ${firstWorkers} ingest worker; client ${clientNs.toFixed(0)} ns; the window stage's factor with 2 workers, from merging alone, ${factor.toFixed(2)}`,
    "assumed: an event costs each stage the same on every number of cores (caches and memory are shared, so it will cost more); cores are equal and whole (not two threads of one); stages overlap fully; the disk keeps up: an fsync's wait is of no core, and group commit makes commits larger where it is slow",
    "a node has one window worker today. Rows of two tell what sharing keys between two would give: each with half of the keys and events of each batch, in a process of its own (merging alone: without firing)",
    ...runs.map(({ workers, run }) => `busy threads, ingest workers ${workers}: ${run.threads}`),
  ];
}

async function runNode(
  ingestWorkers: number,
  warmupMs: number,
  measureMs: number,
  cleanup: Cleanup,
  failures: string[],
): Promise<ClosedLoopRun> {
  const config = `workers: { ingest: ${ingestWorkers} }\n${fleetConfig("1m", "5s")}`;
  const node = await spawnNode({ config }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const run = await runClosedLoop(
    {
      url: node.url,
      path: "/v1/streams/fleet/events",
      connections: CONNECTIONS,
      devices: DEVICES,
      bodies: 64,
      eventsPerBody: EVENTS_PER_BODY,
      warmupMs,
      measureMs,
      maxEvents: null,
      firstEventMs: FIRST_EVENT_MS,
      msPerBody: MS_PER_BODY,
    },
    node.pid,
    cleanup,
  );
  const { accepted } = await client.json<{ accepted: number }>("/v1/streams/fleet");
  const sent = run.done.totalEvents;
  if (accepted !== sent) failures.push(`${sent} events were acknowledged, ${accepted} are counted`);
  for (const thread of ["ingest", "window", "storage"]) {
    if (!run.threadCpuMs.has(thread)) failures.push(`no thread is named ${thread}: where are its costs?`);
  }
  await node.stop();
  return run;
}

async function mergeAlone(workers: number, measureMs: number, cleanup: Cleanup): Promise<Merging> {
  const options: MergeOptions = {
    of: workers,
    keys: DEVICES,
    eventsPerBatch: EVENTS_PER_BODY,
    measureMs,
  };
  const file = new URL("./support/merge-worker.ts", import.meta.url);
  const children = Array.from({ length: workers }, () => new Child<MergeMessage>(file, options, cleanup));
  for (const child of children) await child.next();
  for (const child of children) child.send({ begin: true });
  let eventsPerSecond = 0;
  let cpuMs = 0;
  let events = 0;
  for (const child of children) {
    const done = await child.next();
    if (done.kind !== "done") throw new Error("a merging process did not finish");
    eventsPerSecond += (done.events * 1_000) / done.elapsedMs;
    cpuMs += done.cpuMs;
    events += done.events;
  }
  return { workers, eventsPerSecond, nsPerEvent: (cpuMs * 1e6) / events };
}

const sumOf = (times: ReadonlyMap<string, number>): number =>
  [...times.values()].reduce((sum, ms) => sum + ms, 0);
