import type { AggregateName } from "../../workers/messages.ts";

export interface SelectExpression {
  readonly fn: AggregateName;
  readonly field: string | null;
  readonly parameter: number | null;
}

const FUNCTIONS: ReadonlySet<string> = new Set<AggregateName>([
  "count",
  "sum",
  "avg",
  "min",
  "max",
  "range",
  "first",
  "last",
  "variance",
  "stddev",
  "quantile",
]);
const CALL = /^\s*([A-Za-z_]\w*)\s*\(\s*([^(),]*?)\s*(?:,\s*([^(),]*?)\s*)?\)\s*$/;
const FIELD = /^[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*$/;

/** Reads `count()`, `avg(temp)` or `quantile(temp, 0.99)`. @returns the expression, or what is wrong with it. */
export function parseSelect(text: string): SelectExpression | string {
  const match = CALL.exec(text);
  if (match === null) return `"${text}" is not a call such as avg(temp)`;
  const [, fn = "", field = "", parameter] = match;
  if (!FUNCTIONS.has(fn)) return `${fn}() is unknown; use one of ${[...FUNCTIONS].join(", ")}`;
  if (field !== "" && !FIELD.test(field)) return `"${field}" is not a field name (dot paths such as motor.temp are)`;
  if (field === "" && fn !== "count") return `${fn}() needs a field, as in ${fn}(temp)`;
  if (fn !== "quantile") {
    if (parameter !== undefined) return `${fn}() takes one argument`;
    return { fn: fn as AggregateName, field: field === "" ? null : field, parameter: null };
  }
  const q = Number(parameter);
  if (parameter === undefined || parameter === "" || !(q >= 0 && q <= 1)) {
    return `quantile() needs a number from 0 to 1, as in quantile(${field}, 0.99)`;
  }
  return { fn: "quantile", field, parameter: q };
}
