import type { QueryPlan, ResultsSetup } from "../../workers/messages.ts";
import { resultsSetup } from "../config/plans.ts";
import type { RunningStream } from "./stream-registry.ts";

/** A query that is live, with those that are from its results. */
export interface QueryTree {
  readonly plan: QueryPlan;
  /** How its results become events; null: nobody is from it. */
  readonly results: ResultsSetup | null;
  readonly above: readonly QueryTree[];
}

export function queryTrees(stream: RunningStream): QueryTree[] {
  return stream.queries.map(({ plan, asStream }) =>
    asStream === null
      ? { plan, results: null, above: [] }
      : { plan, results: resultsSetup(plan), above: queryTrees(asStream) },
  );
}

/** The trees' queries, each behind what it is from. */
export function flatten(trees: readonly QueryTree[]): QueryTree[] {
  return trees.flatMap((tree) => [tree, ...flatten(tree.above)]);
}
