import type { BatchReader } from "../core/codec.ts";
import { valueText } from "./event-json.ts";
import type { EventPosition } from "./tasks.ts";

/** Which rows of a block a page may hold. Times in µs. */
export interface RowFilter {
  /** Inclusive. */
  readonly fromUs: bigint;
  /** Exclusive. */
  readonly toUs: bigint;
  readonly keyFields: readonly string[];
  readonly key: string | null;
}

/**
 * The rows of a block that pass the filter and stand after `after` and before `bound`, ordered by (time, row).
 * Cost: one pass, and a sort when the block is not in the order of time; merged blocks are runs, which sort fast.
 */
export function selectRows(
  block: BatchReader,
  seq: number,
  filter: RowFilter,
  after: EventPosition | null,
  bound: EventPosition | null,
): number[] {
  const { times } = block;
  const matches = keyMatcher(block, filter);
  const { fromUs } = filter;
  const lastUs = bound !== null && bound.timeUs < filter.toUs ? bound.timeUs : filter.toUs - 1n;
  const selected: number[] = [];
  let isSorted = true;
  let previous = fromUs;
  for (let row = 0; row < times.length; row++) {
    const time = times[row]!;
    if (time < fromUs || time > lastUs) continue;
    if (after !== null && time === after.timeUs && !isBehind(seq, row, after)) continue;
    if (!matches(row)) continue;
    if (time < previous) isSorted = false;
    previous = time;
    selected.push(row);
  }
  if (!isSorted) selected.sort((a, b) => (times[a]! < times[b]! ? -1 : times[a]! > times[b]! ? 1 : a - b));
  return selected;
}

/** Rows of exactly this time that pass the filter, in their order. */
export function rowsAt(block: BatchReader, timeUs: bigint, filter: RowFilter): number[] {
  return selectRows(block, 0, { ...filter, fromUs: timeUs, toUs: timeUs + 1n }, null, null);
}

function isBehind(seq: number, row: number, after: EventPosition): boolean {
  return seq > after.seq || (seq === after.seq && row > after.row);
}

/** Whether any key field's value has the text looked for. */
function keyMatcher({ columns }: BatchReader, { key, keyFields }: RowFilter): (row: number) => boolean {
  if (key === null) return () => true;
  const keys = columns.filter(({ name }) => keyFields.includes(name));
  return (row) =>
    keys.some(({ valueAt }) => {
      const value = valueAt(row);
      return value !== null && valueText(value) === key;
    });
}
