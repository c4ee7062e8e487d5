import type { QueryPlan } from "../../workers/messages.ts";
import type { Rebuild } from "../../workers/store/rebuild.ts";
import { flatten, queryTrees } from "./query-tree.ts";
import type { RunningStream } from "./stream-registry.ts";

/** Windows of the query that start before it give no results. */
export interface ClosedBefore {
  readonly queryId: number;
  readonly sinceUs: number;
}

/**
 * Where windows stay closed that are made anew of the log alone, without a checkpoint: those that may lack events which are
 * gone, and were given before. They would be given again with less in them. Windows that were never given are, of what is
 * left.
 */
export function closedBefore(streams: Iterable<RunningStream>, { gone, given }: Rebuild): ClosedBefore[] {
  return [...streams].flatMap((stream) => {
    const goneUs = gone.find((each) => each.stream === stream.config.name)?.goneUs;
    if (goneUs === undefined) return [];
    return flatten(queryTrees(stream)).flatMap(({ plan }) => {
      const givenUs = given.find(({ query }) => query === plan.name)?.endUs;
      return givenUs === undefined ? [] : [{ queryId: plan.id, sinceUs: closedUs(plan, goneUs, givenUs) }];
    });
  });
}

function closedUs({ window }: QueryPlan, goneUs: number, givenUs: number): number {
  switch (window.kind) {
    // Which events share a window depends on all before them. Its end is its last event.
    case "count":
      return givenUs + 1;
    case "session":
      return Math.min(givenUs, goneUs + window.gapUs + 1);
    case "none":
      return goneUs + 1;
    default:
      return Math.min(givenUs, goneUs + 1);
  }
}
