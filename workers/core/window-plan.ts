import type { AggregateName, Output, QueryPlan } from "../messages.ts";

/** Families of what is kept of a field; the numbers are those of `assembly/aggregate/layout.ts`. */
const FAMILY = { sum: 1, squares: 2, extremes: 4, first: 8, last: 16, quantile: 32, others: 64 } as const;
/** The number of `count()` among the functions of `assembly/aggregate/layout.ts`. */
const COUNT_ROWS = 0;
const MOMENTS = FAMILY.sum | FAMILY.squares;
const FUNCTIONS: Readonly<Record<AggregateName, { readonly number: number; readonly families: number }>> = {
  count: { number: 1, families: FAMILY.others },
  sum: { number: 2, families: FAMILY.sum },
  avg: { number: 3, families: FAMILY.sum },
  min: { number: 4, families: FAMILY.extremes },
  max: { number: 5, families: FAMILY.extremes },
  range: { number: 6, families: FAMILY.extremes },
  first: { number: 7, families: FAMILY.first },
  last: { number: 8, families: FAMILY.last },
  variance: { number: 9, families: MOMENTS },
  stddev: { number: 10, families: MOMENTS },
  quantile: { number: 11, families: FAMILY.quantile | FAMILY.extremes },
};

const utf8 = new TextEncoder();

/** The plan as `readPlan` of `assembly/window/plan.ts` reads it. */
export function encodePlan(plan: QueryPlan): Uint8Array {
  const parts: Uint8Array[] = [];
  const u32 = (value: number): void => void parts.push(new Uint8Array(Uint32Array.of(value).buffer));
  const i64 = (value: number): void =>
    void parts.push(new Uint8Array(BigInt64Array.of(BigInt(value)).buffer));
  const f64 = (value: number): void => void parts.push(new Uint8Array(Float64Array.of(value).buffer));
  const text = (value: string): void => {
    const bytes = utf8.encode(value);
    u32(bytes.length);
    parts.push(bytes);
  };
  i64(plan.window.sizeUs);
  i64(plan.window.offsetUs);
  i64(plan.latenessUs);
  u32(plan.select === "*" ? 1 : 0);
  u32(plan.by.length);
  for (const candidates of plan.by) {
    u32(candidates.length);
    for (const candidate of candidates) text(candidate);
  }
  const outputs = plan.select === "*" ? [] : plan.select;
  const fields = familiesByField(outputs);
  u32(fields.size);
  for (const [name, families] of fields) {
    u32(families);
    text(name);
  }
  const order = [...fields.keys()];
  u32(outputs.length);
  for (const { fn, field, parameter } of outputs) {
    u32(field === null ? COUNT_ROWS : FUNCTIONS[fn].number);
    u32(field === null ? 0 : order.indexOf(field));
    f64(parameter ?? 0);
  }
  return Buffer.concat(parts);
}

function familiesByField(outputs: readonly Output[]): Map<string, number> {
  const fields = new Map<string, number>();
  for (const { fn, field } of outputs) {
    if (field !== null) fields.set(field, (fields.get(field) ?? 0) | FUNCTIONS[fn].families);
  }
  return fields;
}
