import type { QueryPlan } from "../messages.ts";

/** Event times from `fromUs` on, before `toUs`. */
export interface TimeRange {
  readonly fromUs: number;
  readonly toUs: number;
}

/** Start i64 and length of the key u32: see `Windows.refuse` of the core. */
const HEAD_BYTES = 12;

/**
 * The times whose events can be in the windows of refused groups, joined where they meet: all that is needed to compute
 * these windows anew. null for kinds of windows that cannot be computed from a range of their own.
 */
export function timesOfGroups(plan: QueryPlan, groups: Uint8Array): TimeRange[] | null {
  if (plan.window.kind !== "tumbling") return null;
  const { sizeUs } = plan.window;
  const view = new DataView(groups.buffer, groups.byteOffset, groups.byteLength);
  const starts = new Set<number>();
  for (let at = 0; at < groups.length; at += HEAD_BYTES + view.getUint32(at + 8, true)) {
    starts.add(Number(view.getBigInt64(at, true)));
  }
  return joinRanges([...starts].map((fromUs) => ({ fromUs, toUs: fromUs + sizeUs })));
}

/** Ranges in the order of time; those that meet or overlap become one. */
export function joinRanges(ranges: readonly TimeRange[]): TimeRange[] {
  const joined: TimeRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.fromUs - b.fromUs)) {
    const last = joined.at(-1);
    if (last === undefined || range.fromUs > last.toUs) joined.push(range);
    else if (range.toUs > last.toUs) joined[joined.length - 1] = { fromUs: last.fromUs, toUs: range.toUs };
  }
  return joined;
}
