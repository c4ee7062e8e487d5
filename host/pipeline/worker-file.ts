import { IS_SOURCE, PACKAGE_ROOT } from "../../workers/package-root.ts";

type Worker =
  | "ingest"
  | "window"
  | "storage"
  | "query"
  | "backfill"
  | "scan"
  | "sync"
  | "hub"
  | "hub-postgres";

/** The address of a worker's module: TypeScript in a checkout, JavaScript in the published package. */
export function workerFile(name: Worker): string {
  return threadFile(`workers/${name}`);
}

/** As `workerFile`, for sinks: what they are made of belongs to the host. */
export function sinkFile(): string {
  return threadFile("host/sync/sinks/sink-thread");
}

/**
 * For a pool of threads whose functions wait for nothing: they stay in their event loop between two tasks. As piscina has it by itself
 * they would never get there, and what waits for it (finalizers of N-API, tasks of V8) would only grow.
 */
export const IN_EVENT_LOOP = { atomics: "disabled" } as const;

function threadFile(path: string): string {
  return `${PACKAGE_ROOT}${IS_SOURCE ? path : `dist/${path}`}.${IS_SOURCE ? "ts" : "js"}`;
}
