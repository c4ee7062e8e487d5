import { explainKind } from "../../workers/query/correctable.ts";
import type { CorrectedQuery } from "../../workers/query/corrected-query.ts";
import type { CorrectionTask, LateSelection } from "../../workers/query/correction.ts";
import type { Engine } from "../pipeline/engine.ts";
import { flatten, type QueryTree } from "../pipeline/query-tree.ts";
import type { HistoryReads } from "./reads.ts";

/** A step's late events, the queries as they are now, and up to where their windows are closed. */
export async function correctionTask(
  engine: Pick<Engine, "queryTrees" | "closings" | "tables">,
  reads: Pick<HistoryReads, "lateKeys">,
  selection: LateSelection,
): Promise<CorrectionTask> {
  const trees = engine.queryTrees(selection.stream);
  const used = new Set(trees.flatMap(({ plan }) => plan.expressions?.tables ?? []));
  const tables = engine.tables().filter(({ name }) => used.has(name));
  const plans = trees.flatMap(({ plan }) =>
    plan.keyClock === undefined || explainKind(plan, false) !== null || plan.window.kind === "none"
      ? []
      : [plan],
  );
  const late = plans.length === 0 ? null : await reads.lateKeys({ ...selection, plans, tables });
  const asked = flatten(trees).map(({ plan: { id } }) => {
    const index = plans.findIndex((plan) => plan.id === id);
    return { queryId: id, keys: late?.keys[index] ?? null };
  });
  const closings = await engine.closings(asked);
  const byId = new Map(asked.map(({ queryId }, index) => [queryId, closings[index]!]));
  const place = ({ plan, results, above }: QueryTree): CorrectedQuery => ({
    plan,
    results,
    closing: byId.get(plan.id)!,
    above: above.map(place),
  });
  return { ...selection, queries: trees.map(place), untilId: late?.untilId ?? null, tables };
}
