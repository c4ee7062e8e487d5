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

function threadFile(path: string): string {
  return `${PACKAGE_ROOT}${IS_SOURCE ? path : `dist/${path}`}.${IS_SOURCE ? "ts" : "js"}`;
}
