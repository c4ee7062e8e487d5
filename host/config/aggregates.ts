import type { AggregateName, FieldType } from "../../workers/messages.ts";

/** Values as they came, or made from them. `structure`: a list or a map. */
type ResultKind = "number" | "bool" | "as-field" | "structure";

/** What an aggregate takes, what it gives (default: a number), and how it is written after its field. */
interface Aggregate {
  readonly takes: readonly FieldType[];
  readonly gives?: ResultKind;
  readonly example?: string;
}

const ANY_TYPE: readonly FieldType[] = ["int", "float", "bool", "string"];
/** Bools are 0 and 1. */
const NUMBERS_AND_BOOLS: readonly FieldType[] = ["int", "float", "bool"];
const NUMBERS: readonly FieldType[] = ["int", "float"];
const BOOLS: readonly FieldType[] = ["bool"];

const AGGREGATES: Readonly<Record<AggregateName, Aggregate>> = {
  count: { takes: ANY_TYPE },
  sum: { takes: NUMBERS_AND_BOOLS },
  avg: { takes: NUMBERS_AND_BOOLS },
  min: { takes: ANY_TYPE, gives: "as-field" },
  max: { takes: ANY_TYPE, gives: "as-field" },
  range: { takes: NUMBERS_AND_BOOLS },
  first: { takes: ANY_TYPE, gives: "as-field" },
  last: { takes: ANY_TYPE, gives: "as-field" },
  variance: { takes: NUMBERS_AND_BOOLS },
  stddev: { takes: NUMBERS_AND_BOOLS },
  quantile: { takes: NUMBERS_AND_BOOLS, example: ", 0.99" },
  distinct: { takes: ANY_TYPE },
  topk: { takes: ANY_TYPE, gives: "structure", example: ", 3" },
  histogram: { takes: NUMBERS, gives: "structure", example: ", 0, 10, 50" },
  delta: { takes: NUMBERS },
  rate: { takes: NUMBERS },
  twa: { takes: NUMBERS_AND_BOOLS },
  integral: { takes: NUMBERS_AND_BOOLS },
  any: { takes: BOOLS, gives: "bool" },
  all: { takes: BOOLS, gives: "bool" },
  mode: { takes: ANY_TYPE, gives: "as-field" },
};

export const AGGREGATE_NAMES = Object.keys(AGGREGATES) as readonly AggregateName[];

const PLURALS: Readonly<Record<FieldType, string>> = {
  int: "numbers",
  float: "numbers",
  bool: "bools",
  string: "strings",
};

export function resultKindOf(fn: AggregateName): ResultKind {
  return AGGREGATES[fn].gives ?? "number";
}

/** A call of the aggregate over a field, to show how it is written. */
export function exampleOf(fn: AggregateName, field: string): string {
  return `${fn}(${field}${AGGREGATES[fn].example ?? ""})`;
}

/** Why the aggregate cannot have a field of that declared type: `what is wrong; what to do`. Null when it can. */
export function explainType(fn: AggregateName, field: string, type: FieldType): string | null {
  const { takes } = AGGREGATES[fn];
  if (takes.includes(type)) return null;
  const taken = [...new Set(takes.map((each) => PLURALS[each]))].join(" and ");
  const others = AGGREGATE_NAMES.filter((name) => name !== "count" && AGGREGATES[name].takes.includes(type));
  const article = type === "int" ? "an" : "a";
  return `${field} is declared as ${article} ${type}, and ${fn}() takes ${taken}; use one of ${["count", ...others].join(", ")}`;
}
