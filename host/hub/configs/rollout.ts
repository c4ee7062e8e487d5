import { createHash } from "node:crypto";
import type { ConfigReport, Rollout, RolloutStep } from "./config-records.ts";

/** What is known of an edge's configuration; null: nothing. */
export type ReportOf = (edge: string) => ConfigReport | null;

/**
 * The first so many per cent of a group's edges, rounded up, in an order that depends on their names alone: an edge that
 * has its turn in a step has it in all later ones, and the edges that try a version first are always the same.
 */
export function edgesOfStep(edges: readonly string[], percent: number): string[] {
  const place = (edge: string): string => createHash("sha256").update(edge).digest("hex");
  const ordered = edges.map((edge) => ({ edge, place: place(edge) }));
  ordered.sort((a, b) => (a.place < b.place ? -1 : a.place > b.place ? 1 : 0));
  return ordered.slice(0, Math.ceil((edges.length * percent) / 100)).map(({ edge }) => edge);
}

export interface RolloutPlan {
  readonly steps: readonly RolloutStep[];
  readonly maxFailures: number;
}

export function beginRollout(
  plan: RolloutPlan,
  version: number,
  previous: number | null,
  edges: readonly string[],
  nowUs: number,
): Rollout {
  return {
    ...plan,
    version,
    previous,
    state: "running",
    step: 0,
    stepSinceUs: nowUs,
    reason: null,
    offered: edgesOfStep(edges, plan.steps[0]?.percent ?? 100),
    offeredBefore: 0,
    excused: [],
  };
}

/** Offered edges that would not have the version, or did not stay with it. */
export function failedEdges({ offered, version }: Rollout, reportOf: ReportOf): string[] {
  return offered.filter((edge) => {
    const report = reportOf(edge);
    return report?.version === version && (report.state === "refused" || report.state === "rolled-back");
  });
}

/**
 * The rollout as it is to be now: halted when too many have failed; a step further when its wait is over, nobody is still
 * trying, and one of the step's own edges has it in force. Other edges that are not heard of hold nobody up. The same
 * object when nothing changes.
 */
export function advanceRollout(
  rollout: Rollout,
  edges: readonly string[],
  reportOf: ReportOf,
  nowUs: number,
): Rollout {
  if (rollout.state !== "running") return rollout;
  const failed = failedEdges(rollout, reportOf).filter((edge) => !rollout.excused.includes(edge));
  if (failed.length > rollout.maxFailures) {
    const reason = `${failed.length} edges did not take it (${failed.slice(0, 5).join(", ")}), and ${rollout.maxFailures} may`;
    return { ...rollout, state: "halted", reason };
  }
  const step = rollout.steps[rollout.step];
  if (step !== undefined && nowUs - rollout.stepSinceUs < step.waitMs * 1_000) return rollout;
  const states = rollout.offered.map((edge) => {
    const report = reportOf(edge);
    return report?.version === rollout.version ? report.state : null;
  });
  const ofStep = states.slice(rollout.offeredBefore);
  if (states.includes("trying") || (ofStep.length > 0 && !ofStep.includes("applied"))) return rollout;
  const next = rollout.steps[rollout.step + 1];
  if (next === undefined) return { ...rollout, state: "done" };
  const offered = [...new Set([...rollout.offered, ...edgesOfStep(edges, next.percent)])];
  const offeredBefore = rollout.offered.length;
  return { ...rollout, step: rollout.step + 1, stepSinceUs: nowUs, offered, offeredBefore };
}

/** Goes on in spite of the failures there were; the step's wait begins anew. */
export function resumeRollout(rollout: Rollout, reportOf: ReportOf, nowUs: number): Rollout {
  const excused = failedEdges(rollout, reportOf);
  return { ...rollout, state: "running", reason: null, stepSinceUs: nowUs, excused };
}

/**
 * Nobody else gets the version, and those that have it go back; but edges that know it by its signature take no older one
 * after it, so they stay with it until there is a newer.
 */
export function abortRollout(rollout: Rollout, isSigned: boolean, reportOf: ReportOf): Rollout {
  const stay = (edge: string): boolean => isSigned && reportOf(edge)?.version === rollout.version;
  return { ...rollout, state: "aborted", offered: rollout.offered.filter(stay) };
}
