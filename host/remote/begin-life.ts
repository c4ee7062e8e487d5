import type { Logger } from "pino";
import type { ConfigOrigin } from "../pipeline/query-set.ts";
import { MAX_FAILED, MAX_STARTS, type RemoteReport, type RemoteStateRecord } from "./remote-state.ts";

/**
 * Counts a start of the node with a version that is still watched. When the node ended time after time since it is in force,
 * nothing may be left that could watch it: it is given up here, before the node starts with it once more.
 * @returns what to start with instead; null: what is in force.
 */
export async function beginLife(
  record: RemoteStateRecord,
  inForce: ConfigOrigin | null,
  nowUs: number,
  log: Logger,
): Promise<ConfigOrigin | null> {
  const { trial, failed } = record.current;
  if (trial === null) return null;
  const starts = trial.starts + 1;
  const isInForce = inForce?.kind === "put" && inForce.remote?.etag === trial.version.etag;
  if (!isInForce || starts < MAX_STARTS) {
    await record.update({ trial: { ...trial, starts } });
    return null;
  }
  const reason = `the node ended ${starts} times while it was new`;
  const report: RemoteReport = { ...trial.version, state: "rolled-back", reason, atUs: nowUs };
  await record.update({
    trial: null,
    failed: [...failed, report].slice(-MAX_FAILED),
    report,
    isReported: false,
  });
  log.error(
    { of: trial.version.scope, version: trial.version.version, reason },
    "the hub's configuration was rolled back",
  );
  return trial.before;
}
