import type { FieldType, QueryPlan } from "../messages.ts";

export interface Refusal {
  readonly query: string;
  readonly reason: string;
  /** Its windows are not corrected by any release: late events that are in all others count as applied. */
  readonly isForGood: boolean;
}

/** Why the windows of a query cannot be computed anew from stored events; null when they can. */
export function explainRefusal(
  plan: QueryPlan,
  types: ReadonlyMap<string, ReadonlySet<FieldType>>,
  includesSkewed: boolean,
): Refusal | null {
  const query = plan.name;
  const kind = explainKind(plan, includesSkewed);
  if (kind !== null) return { query, reason: kind, isForGood: true };
  // Where blocks are merged, a column takes the wider type: as a text, a number no longer counts, or is another key.
  const changed = fieldsOf(plan, types).find((field) => {
    const had = types.get(field);
    return had?.has("string") === true && had.size > 1;
  });
  if (changed === undefined) return null;
  const reason = `field ${changed} became a text after it had been something else, so its stored values may differ`;
  return { query, reason, isForGood: false };
}

/** Source of the choice: docs/decisions/0014-corrections-of-every-window.md. */
export function explainKind({ window }: QueryPlan, includesSkewed: boolean): string | null {
  if (window.kind === "count")
    return "one more event would shift every later window of its key, those given and those to come; windows of a number of events stay as they are";
  if (window.kind === "none" && includesSkewed)
    return "it gives a row for each event as it comes; clock-skewed events get none afterwards";
  return null;
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
