import type { QueryPlan, ResultRow } from "../messages.ts";

/** Kinds by the numbers of `assembly/window/trigger.ts`. */
const KINDS = ["on-time", "late"] as const;
/** Bytes before the rows: start f64, end f64, kind u32, rows u32. */
const HEAD_BYTES = 24;
/** Bytes of a row before its values: key u32, revision u32. */
const ROW_HEAD_BYTES = 8;

/** Writes the numbers of one row, which begin at `values[at]`, as the JSON text of an object. */
export type WriteValues = (values: Float64Array, at: number) => string;

/** For selected outputs: all of them, in their order; NaN is null. */
export function selectionWriter(names: readonly string[]): WriteValues {
  const labels = names.map((name, index) => `${index === 0 ? "{" : ","}${JSON.stringify(name)}:`);
  return (values, at) => {
    let text = "";
    for (let i = 0; i < labels.length; i++) text += labels[i]! + numberText(values[at + i]!);
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

/** Adds the rows of one window to `rows`. `at`: where they stand in memory, a multiple of 8. */
export function readWindow(
  plan: QueryPlan,
  memory: ArrayBuffer,
  at: number,
  valueCount: number,
  keyText: (key: number) => string,
  writeValues: WriteValues,
  rows: ResultRow[],
): void {
  const [startUs, endUs] = new Float64Array(memory, at, 2) as unknown as [number, number];
  const [kindNumber, count] = new Uint32Array(memory, at + 16, 2) as unknown as [number, number];
  const query = plan.name;
  const kind = KINDS[kindNumber] ?? "late";
  const rowWords = (ROW_HEAD_BYTES >> 3) + valueCount;
  const heads = new Uint32Array(memory, at + HEAD_BYTES, count * rowWords * 2);
  const values = new Float64Array(memory, at + HEAD_BYTES, count * rowWords);
  for (let row = 0, word = 0; row < count; row++, word += rowWords) {
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
}
