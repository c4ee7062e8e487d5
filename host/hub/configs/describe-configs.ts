import { formatTime } from "../../../workers/time-format.ts";
import type { ConfigReport, EdgeRecord, Rollout, VersionNote } from "./config-records.ts";
import type { WantedVersion } from "./config-registry.ts";

export function describeVersion({ version, digest, signature, atUs, by, address }: VersionNote) {
  return { version, digest, isSigned: signature !== null, at: formatTime(atUs), by, address };
}

export function describeRollout(rollout: Rollout) {
  const { version, previous, state, step, stepSinceUs, steps, maxFailures, reason, offered, excused } =
    rollout;
  return {
    version,
    previous,
    state,
    step: step + 1,
    stepSince: formatTime(stepSinceUs),
    steps: steps.map(({ percent, waitMs }) => ({ percent, waitSeconds: waitMs / 1_000 })),
    maxFailures,
    reason,
    edges: offered,
    excused,
  };
}

function describeReport({ scope, version, state, reason, atUs }: ConfigReport) {
  return { of: scope, version, state, reason, at: formatTime(atUs) };
}

/** How an edge's configuration stands; null: nothing is known of it here. */
export function describeEdgeConfig({ group, report }: EdgeRecord, wanted: WantedVersion | null) {
  if (group === null && report === null && wanted === null) return null;
  return {
    group,
    wanted: wanted === null ? null : { of: wanted.scope, version: wanted.note.version },
    isInForce: wanted !== null && report?.etag === wanted.etag && report.state === "applied",
    report: report === null ? null : describeReport(report),
  };
}
