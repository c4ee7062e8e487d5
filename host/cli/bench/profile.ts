import { STAGES, type Stage } from "../../pipeline/stages.ts";

/** What `/metrics` tells of a node's work since its start. */
export interface Usage {
  /** User and system time of all threads. */
  readonly cpuNs: number;
  readonly residentBytes: number;
  readonly stageNs: ReadonlyMap<string, number>;
  readonly stageEvents: ReadonlyMap<string, number>;
  /** CPU time by threads' names; empty where that is not known. */
  readonly threadNs: ReadonlyMap<string, number>;
}

/** One stage between two readings. */
export interface StageLine {
  readonly stage: Stage;
  /** Where its time goes. */
  readonly threads: string;
  /** By event acknowledged. */
  readonly nsPerEvent: number;
  /** What went through it: events; of `emit`, rows of results. */
  readonly count: number;
  readonly nsEach: number | null;
}

export interface Profile {
  readonly stages: readonly StageLine[];
  /** Of all stages, ns by event. */
  readonly sumNs: number;
  /** Of the process, by event. */
  readonly cpuNs: number;
  /** CPU time by event of threads that took any, by name, the busiest first. */
  readonly threads: readonly { readonly thread: string; readonly cpuNs: number }[];
}

const THREADS: Readonly<Record<Stage, string>> = {
  socket: "main",
  copy: "main",
  parse: "lane",
  encode: "lane",
  compress: "lane",
  commit: "storage",
  apply: "lane",
  merge: "window",
  emit: "window, storage, main",
};

/** Reads the Prometheus text of `/metrics`. What is not there counts as NaN, or as no stage. */
export function readUsage(text: string, threadNs: ReadonlyMap<string, number> = new Map()): Usage {
  const value = (name: string): number =>
    Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? Number.NaN);
  const byStage = (name: string, scale: number): Map<string, number> =>
    new Map(
      [...text.matchAll(new RegExp(`^${name}\\{stage="(\\w+)"\\} (\\S+)$`, "gm"))].map(
        ([, stage = "", number]) => [stage, Number(number) * scale],
      ),
    );
  return {
    cpuNs: value("millrace_process_cpu_seconds_total") * 1e9,
    residentBytes: value("millrace_process_resident_memory_bytes"),
    stageNs: byStage("millrace_stage_seconds_total", 1e9),
    stageEvents: byStage("millrace_stage_events_total", 1),
    threadNs,
  };
}

/** The budget of an event between two readings, within which `events` were acknowledged. */
export function profileOf(before: Usage, after: Usage, events: number): Profile {
  const grown = (name: "stageNs" | "stageEvents", stage: Stage): number =>
    (after[name].get(stage) ?? 0) - (before[name].get(stage) ?? 0);
  const stages = STAGES.map((stage) => {
    const ns = grown("stageNs", stage);
    const count = grown("stageEvents", stage);
    const nsEach = count === 0 ? null : ns / count;
    return { stage, threads: THREADS[stage], nsPerEvent: ns / events, count, nsEach };
  });
  return {
    stages,
    sumNs: stages.reduce((sum, { nsPerEvent }) => sum + nsPerEvent, 0),
    cpuNs: (after.cpuNs - before.cpuNs) / events,
    threads: threadsOf(before, after, events),
  };
}

function threadsOf(before: Usage, after: Usage, events: number): Profile["threads"] {
  return [...after.threadNs]
    .map(([thread, ns]) => ({ thread, cpuNs: (ns - (before.threadNs.get(thread) ?? 0)) / events }))
    .filter(({ cpuNs }) => cpuNs > 0)
    .toSorted((a, b) => b.cpuNs - a.cpuNs);
}

/** As a table, with what to make of it. */
export function formatProfile({ stages, sumNs, cpuNs, threads }: Profile): string {
  const line = (stage: string, ns: number, share: string, each: string, where: string): string =>
    `${stage.padEnd(12)}${ns.toFixed(1).padStart(9)}${share.padStart(8)}${each.padStart(9)}  ${where}`.trimEnd();
  return [
    `${"stage".padEnd(12)}${"ns/event".padStart(9)}${"share".padStart(8)}${"ns each".padStart(9)}  thread`,
    ...stages.map(({ stage, nsPerEvent, nsEach, threads }) =>
      line(
        stage,
        nsPerEvent,
        `${((nsPerEvent / sumNs) * 100).toFixed(1)} %`,
        nsEach?.toFixed(1) ?? "-",
        threads,
      ),
    ),
    line("sum", sumNs, "", "", "by the clock: waiting for the disk (commit) or for a core is in it"),
    line("process CPU", cpuNs, "", "", "of all threads: handing over, checkpoints, merging, collection too"),
    ...threads.map(({ thread, cpuNs: ns }) => line(`  ${thread}`.slice(0, 12), ns, "", "", "")),
  ].join("\n");
}
