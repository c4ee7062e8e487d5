import type { HubCompaction } from "./compaction.ts";
import type { Expired, HubRetention, RetentionRules } from "./retention.ts";

/** What one portion of upkeep did. */
export interface Tended {
  readonly expired: Expired | null;
  /** Blocks that became one. */
  readonly merged: number;
  readonly usedBytes: number;
  /** Nothing more is to be done now. */
  readonly isDone: boolean;
}

/** Does the first thing that there is to do: what is to go goes before anything is merged. Takes some milliseconds. */
export function tend(
  retention: HubRetention,
  compaction: HubCompaction,
  rules: RetentionRules,
  nowUs: number,
): Tended {
  const expired = retention.expire(rules, nowUs);
  const merged = expired === null ? compaction.mergeSome(nowUs) : 0;
  const isVacuumed = expired === null && merged === 0 && retention.vacuum();
  const isDone = expired === null && merged === 0 && !isVacuumed;
  return { expired, merged, usedBytes: retention.usedBytes, isDone };
}
