import { valueSlots } from "./alert/event-rows.ts";
import type { QueryPlan, StreamSetup } from "./messages.ts";

/** The fields of events that a stream's key, queries and alerts read; null: all there are. */
export function fieldsRead({ plan, queries, alerts = [] }: StreamSetup): readonly string[] | null {
  const names = new Set(plan.key);
  for (const query of queries) {
    const own = fieldsOf(query);
    if (own === null) return null;
    for (const name of own) names.add(name);
  }
  for (const alert of alerts) for (const name of [...alert.by, ...valueSlots(alert)].flat()) names.add(name);
  return [...names];
}

function fieldsOf({ by, select, expressions }: QueryPlan): readonly string[] | null {
  if (select === "*") return null;
  const selected = select.flatMap(({ field }) => (field === null ? [] : [field]));
  return [...by.flat(), ...selected, ...(expressions?.inputs ?? [])];
}
