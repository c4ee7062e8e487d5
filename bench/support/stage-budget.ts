/**
 * What an event costs each kind of thread, and what follows from it for other numbers of cores: a pipeline is as fast as its
 * slowest stage, and all stages together get no more than the cores there are.
 */
export interface StageBudget {
  /** ns of CPU an event on the main thread: sockets, copies, order. */
  readonly mainNs: number;
  /** On the ingest workers, all of them together. */
  readonly ingestNs: number;
  /** On the window worker. */
  readonly windowNs: number;
  readonly storageNs: number;
  /** Everything else in the process: the garbage collector's helpers, compaction. */
  readonly otherNs: number;
}

export interface Shape {
  readonly cores: number;
  readonly ingestWorkers: number;
  readonly windowWorkers: number;
  /** ns of CPU an event that a client takes from the same cores; 0 when it has its own. */
  readonly clientNs: number;
  /** What an event costs the window stage when `windowWorkers` share it, by what it costs one alone. */
  readonly windowFactor: number;
}

export type Limit = "main" | "ingest" | "window" | "storage" | "cores";

export interface Prediction {
  readonly eventsPerSecond: number;
  /** What the rate ends at. */
  readonly limit: Limit;
}

export const FORMULA =
  "events/s = 1e9 / max(main, ingest / ingest workers, window × factor / window workers, storage, (main + ingest + window × factor + storage + other + client) / cores), all in ns of CPU an event";

const ZERO_SHARE = 1e-9;

export function predict(budget: StageBudget, shape: Shape): Prediction {
  const windowNs = budget.windowNs * shape.windowFactor;
  const sumNs =
    budget.mainNs + budget.ingestNs + windowNs + budget.storageNs + budget.otherNs + shape.clientNs;
  const needs: readonly (readonly [Limit, number])[] = [
    ["main", budget.mainNs],
    ["ingest", budget.ingestNs / shape.ingestWorkers],
    ["window", windowNs / shape.windowWorkers],
    ["storage", budget.storageNs],
    ["cores", sumNs / shape.cores],
  ];
  const [limit, ns] = needs.reduce((most, need) => (need[1] > most[1] ? need : most));
  return { eventsPerSecond: 1e9 / Math.max(ns, ZERO_SHARE), limit };
}

/** From CPU time by the threads' names, as the node gives them. */
export function budgetOf(threadCpuMs: ReadonlyMap<string, number>, events: number): StageBudget {
  const nsOf = (name: string): number => ((threadCpuMs.get(name) ?? 0) * 1e6) / events;
  const [mainNs, ingestNs, windowNs, storageNs] = [
    nsOf("MainThread"),
    nsOf("ingest"),
    nsOf("window"),
    nsOf("storage"),
  ];
  const allNs = ([...threadCpuMs.values()].reduce((sum, ms) => sum + ms, 0) * 1e6) / events;
  return {
    mainNs,
    ingestNs,
    windowNs,
    storageNs,
    otherNs: allNs - mainNs - ingestNs - windowNs - storageNs,
  };
}
