/** The address of a worker's module: TypeScript in a checkout, JavaScript in the published package. */
export function workerFile(
  name: "ingest" | "window" | "storage" | "query" | "backfill" | "scan" | "sync" | "hub" | "hub-postgres",
): string {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return new URL(`../../workers/${name}.${extension}`, import.meta.url).href;
}
