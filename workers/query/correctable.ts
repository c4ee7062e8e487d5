import type { FieldType, QueryPlan } from "../messages.ts";
import { timesOfWindow } from "./late-groups.ts";

/** Why the windows of a query cannot be computed anew from stored events; null when they can. */
export function explainRefusal(
  plan: QueryPlan,
  types: ReadonlyMap<string, ReadonlySet<FieldType>>,
): string | null {
  if (plan.keyClock !== undefined)
    return "its windows close by the clocks of keys, which are not corrected by this release";
  if (timesOfWindow(plan, 0) === null)
    return `windows of kind ${plan.window.kind} are not corrected by this release`;
  const [table] = plan.expressions?.tables ?? [];
  if (table !== undefined)
    return `it uses table ${table}, whose rows may be others now than when events came`;
  // Where blocks are merged, a column takes the wider type: as a text, a number no longer counts, or is another key.
  const changed = fieldsOf(plan, types).find((field) => {
    const had = types.get(field);
    return had?.has("string") === true && had.size > 1;
  });
  return changed === undefined
    ? null
    : `field ${changed} became a text after it had been something else, so its stored values may differ`;
}

/** The fields that results depend on. */
function fieldsOf(
  { by, select, expressions }: QueryPlan,
  types: ReadonlyMap<string, ReadonlySet<FieldType>>,
): readonly string[] {
  const keys = [...by.flat(), ...(expressions?.inputs ?? [])];
  if (select === "*") return [...keys, ...types.keys()];
  return [...keys, ...select.flatMap(({ field }) => (field === null ? [] : [field]))];
}
