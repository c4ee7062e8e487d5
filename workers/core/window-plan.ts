import { MillraceError } from "../errors.ts";
import type { AggregateName, Output, QueryPlan } from "../messages.ts";

/** Families of what is kept of a field; the numbers are those of `assembly/aggregate/layout.ts`. */
const FAMILY = {
  sum: 1,
  squares: 2,
  extremes: 4,
  first: 8,
  last: 16,
  quantile: 32,
  others: 64,
  bools: 128,
  texts: 256,
  distinct: 512,
  top: 1024,
  histogram: 2048,
  points: 4096,
} as const;
/** The number of `count()` among the functions of `assembly/aggregate/layout.ts`. */
const COUNT_ROWS = 0;
const MOMENTS = FAMILY.sum | FAMILY.squares;
/** For values that are returned as they are. */
const TYPED = FAMILY.bools | FAMILY.texts;
/** Parts a field's name from what else tells it from others: no UTF-8 text has this byte. */
const NAME_END = 0xff;
const FUNCTIONS: Readonly<Record<AggregateName, { readonly number: number; readonly families: number }>> = {
  count: { number: 1, families: FAMILY.others },
  sum: { number: 2, families: FAMILY.sum },
  avg: { number: 3, families: FAMILY.sum },
  min: { number: 4, families: FAMILY.extremes | TYPED },
  max: { number: 5, families: FAMILY.extremes | TYPED },
  range: { number: 6, families: FAMILY.extremes },
  first: { number: 7, families: FAMILY.first | TYPED },
  last: { number: 8, families: FAMILY.last | TYPED },
  variance: { number: 9, families: MOMENTS },
  stddev: { number: 10, families: MOMENTS },
  quantile: { number: 11, families: FAMILY.quantile | FAMILY.extremes },
  distinct: { number: 12, families: FAMILY.distinct },
  topk: { number: 13, families: FAMILY.top },
  histogram: { number: 14, families: FAMILY.histogram },
  delta: { number: 15, families: FAMILY.first | FAMILY.last },
  rate: { number: 16, families: FAMILY.points },
  twa: { number: 17, families: FAMILY.points },
  integral: { number: 18, families: FAMILY.points },
  any: { number: 19, families: FAMILY.bools },
  all: { number: 20, families: FAMILY.bools },
  mode: { number: 21, families: FAMILY.top },
};

const utf8 = new TextEncoder();

/**
 * The plan as `readPlan` of `assembly/window/plan.ts` reads it.
 * @throws E_WINDOW_KIND when its windows are not made of panes
 */
export function encodePlan(plan: QueryPlan): Uint8Array {
  const { window } = plan;
  if (window.kind === "session" || window.kind === "count" || window.kind === "none")
    throw new MillraceError("E_WINDOW_KIND", `${window.kind} windows have no panes`);
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
  i64(window.kind === "calendar" ? window.size : window.sizeUs);
  i64(window.offsetUs);
  i64(plan.latenessUs);
  u32(plan.select === "*" ? 1 : 0);
  u32(plan.by.length);
  for (const candidates of plan.by) {
    u32(candidates.length);
    for (const candidate of candidates) text(candidate);
  }
  const outputs = plan.select === "*" ? [] : plan.select;
  const fields = fieldsOf(outputs);
  u32(fields.length);
  for (const { name, column, families, topSize, bounds } of fields) {
    u32(families);
    u32(name.length);
    parts.push(name);
    text(bounds.length === 0 ? "" : column);
    u32(topSize);
    u32(bounds.length);
    for (const bound of bounds) f64(bound);
  }
  u32(outputs.length);
  for (const output of outputs) {
    u32(output.field === null ? COUNT_ROWS : FUNCTIONS[output.fn].number);
    u32(Math.max(0, fields.findIndex(isFieldOf(output))));
    f64(output.parameter ?? 0);
  }
  i64(window.kind === "tumbling" ? window.sizeUs : window.kind === "sliding" ? window.everyUs : window.every);
  i64(plan.earlyUs ?? 0);
  u32(window.kind === "calendar" ? 1 : 0);
  return Buffer.concat(parts);
}

/** What is kept of one column, as far as it can be shared: histograms with other bounds are kept by themselves. */
interface KeptField {
  /** Tells it from the others. */
  readonly name: Uint8Array;
  readonly column: string;
  families: number;
  topSize: number;
  readonly bounds: readonly number[];
}

function fieldsOf(outputs: readonly Output[]): KeptField[] {
  const fields: KeptField[] = [];
  for (const output of outputs) {
    const { fn, field, parameter, bounds = [] } = output;
    if (field === null) continue;
    let kept = fields.find(isFieldOf(output));
    if (kept === undefined) {
      kept = { name: nameOf(field, bounds), column: field, families: 0, topSize: 0, bounds };
      fields.push(kept);
    }
    kept.families |= FUNCTIONS[fn].families;
    if (fn === "topk") kept.topSize = Math.max(kept.topSize, parameter ?? 0);
  }
  return fields;
}

function isFieldOf({ field, bounds = [] }: Output): (kept: KeptField) => boolean {
  return (kept) => kept.column === field && kept.bounds.join() === bounds.join();
}

function nameOf(column: string, bounds: readonly number[]): Uint8Array {
  const name = utf8.encode(column);
  return bounds.length === 0
    ? name
    : Buffer.concat([name, Uint8Array.of(NAME_END), utf8.encode(bounds.join())]);
}
