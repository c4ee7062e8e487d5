import type { PortionRows } from "./portion.ts";
import type { WindowOfKey } from "./window.ts";
import type { WriteValues } from "./window-results.ts";

/** Kinds by the numbers of `assembly/window/keyed/results.ts`. */
const RETRACTED = 2;
const CLOSED = 3;
const RETRACTED_EARLY = 5;
const KINDS = ["on-time", "late", "late", "late", "early", "early"] as const;
/** Bytes before the rows, and words of 8 bytes of a row before its values: start, end, key and revision, kind. */
const HEAD_BYTES = 8;
const ROW_WORDS = 4;

/**
 * Adds the rows that stand at `at`, a multiple of 8, to `rows`, and windows that have closed to `closed`: from the row
 * `first` on until the portion is full. @returns the row to go on with, or null when that was the last.
 */
export function readKeyedRows(
  query: string,
  memory: ArrayBuffer,
  at: number,
  first: number,
  valueCount: number,
  keyText: (key: number) => string,
  writeValues: WriteValues,
  rows: PortionRows,
  closed: WindowOfKey[],
): number | null {
  const count = new Uint32Array(memory, at, 1)[0]!;
  const words = ROW_WORDS + valueCount;
  const numbers = new Float64Array(memory, at + HEAD_BYTES, count * words);
  const heads = new Uint32Array(memory, at + HEAD_BYTES, count * words * 2);
  for (let row = first, word = first * words; row < count; row++, word += words) {
    if (rows.isFull) return row;
    const kind = heads[word * 2 + 6]!;
    if (kind === CLOSED) {
      const [startUs, endUs] = [numbers[word]!, numbers[word + 1]!];
      closed.push({ startUs, endUs, key: keyText(heads[word * 2 + 4]!) });
      continue;
    }
    const isRetracted = kind === RETRACTED || kind === RETRACTED_EARLY;
    const shown = {
      query,
      startUs: numbers[word]!,
      endUs: numbers[word + 1]!,
      key: keyText(heads[word * 2 + 4]!),
      values: isRetracted ? "{}" : writeValues(numbers, word + ROW_WORDS),
      revision: heads[word * 2 + 5]!,
      kind: KINDS[kind] ?? "late",
    };
    rows.push(isRetracted ? { ...shown, retracted: true } : shown);
  }
  return null;
}
