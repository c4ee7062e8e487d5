import type { AggregateName, Output, QueryPlan } from "../messages.ts";
import { boxJson } from "./box.ts";
import type { PortionRows } from "./portion.ts";

/** Kinds by the numbers of `assembly/window/trigger.ts`. */
const KINDS = ["on-time", "late", "early"] as const;
/** Bytes before the rows: start f64, end f64, kind u32, rows u32. */
const HEAD_BYTES = 24;
/** Bytes of a row before its values: key u32, revision u32. */
const ROW_HEAD_BYTES = 8;

/** Aggregates whose values may be no numbers. */
const BOXED: readonly AggregateName[] = [
  "min",
  "max",
  "first",
  "last",
  "topk",
  "histogram",
  "any",
  "all",
  "mode",
];

/** Writes the numbers of one row, which begin at `values[at]`, as the JSON text of an object. */
export type WriteValues = (values: Float64Array, at: number) => string;

/** For selected outputs: all of them, in their order. `boxes`: where values stand that are no numbers. */
export function selectionWriter(outputs: readonly Output[], boxes: () => number): WriteValues {
  const labels = outputs.map(({ name }, index) => `${index === 0 ? "{" : ","}${JSON.stringify(name)}:`);
  const oddText = (values: Float64Array, at: number, { fn, bounds = [] }: Output): string => {
    if (!BOXED.includes(fn)) return "null";
    // As 32-bit halves: JS may change the bits of a NaN that it handles as a number.
    const [lower, upper] = new Uint32Array(values.buffer, values.byteOffset + at * 8, 2);
    return boxJson(values.buffer as ArrayBuffer, boxes(), upper!, lower!, bounds);
  };
  return (values, at) => {
    let text = "";
    for (let i = 0; i < labels.length; i++) {
      const value = values[at + i]!;
      // False of NaN and the infinities.
      text += labels[i]! + (value - value === 0 ? `${value}` : oddText(values, at + i, outputs[i]!));
    }
    return text === "" ? "{}" : `${text}}`;
  };
}

/**
 * For "*": count, then avg, min and max of each field that has a value. Fields in the order of `order`, which holds their
 * numbers sorted by name, so that the text does not depend on the order in which fields turned up.
 */
export function wildcardWriter(names: readonly string[], order: readonly number[]): WriteValues {
  const labels = names.map((name) =>
    [`${name}_avg`, `${name}_min`, `${name}_max`].map((label) => `,${JSON.stringify(label)}:`),
  );
  return (values, at) => {
    let text = `{"count":${values[at]}`;
    for (const field of order) {
      const first = at + 1 + field * 3;
      if (Number.isNaN(values[first])) continue;
      const [avg, min, max] = labels[field]!;
      text +=
        avg! +
        numberText(values[first]!) +
        min! +
        numberText(values[first + 1]!) +
        max! +
        numberText(values[first + 2]!);
    }
    return `${text}}`;
  };
}

function numberText(value: number): string {
  // Also true of NaN and the infinities.
  return value - value === 0 ? `${value}` : "null";
}

/**
 * Adds the rows of one window to `rows`, from the row `first` on until the portion is full. `at`: where they stand in memory,
 * a multiple of 8. @returns the row to go on with, or null when that was the last.
 */
export function readWindow(
  plan: QueryPlan,
  memory: ArrayBuffer,
  at: number,
  first: number,
  valueCount: number,
  keyText: (key: number) => string,
  writeValues: WriteValues,
  rows: PortionRows,
): number | null {
  const [startUs, endUs] = new Float64Array(memory, at, 2) as unknown as [number, number];
  const [kindNumber, count] = new Uint32Array(memory, at + 16, 2) as unknown as [number, number];
  const query = plan.name;
  const kind = KINDS[kindNumber] ?? "late";
  const rowWords = (ROW_HEAD_BYTES >> 3) + valueCount;
  const heads = new Uint32Array(memory, at + HEAD_BYTES, count * rowWords * 2);
  const values = new Float64Array(memory, at + HEAD_BYTES, count * rowWords);
  for (let row = first, word = first * rowWords; row < count; row++, word += rowWords) {
    if (rows.isFull) return row;
    rows.push({
      query,
      startUs,
      endUs,
      key: keyText(heads[word * 2]!),
      values: writeValues(values, word + 1),
      revision: heads[word * 2 + 1]!,
      kind,
    });
  }
  return null;
}
