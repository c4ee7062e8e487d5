import type { Windows } from "../../workers/core/window.ts";
import type { ResultRow } from "../../workers/messages.ts";

/** Fires by portions of that many rows at most, and gives them all. */
export function fireInPortions(windows: Windows, watermarkUs: bigint, rows: number): ResultRow[] {
  const all: ResultRow[] = [];
  for (const portion of windows.portions(watermarkUs, { rows, chars: Number.POSITIVE_INFINITY })) {
    if (portion.length > rows) throw new Error(`${portion.length} rows in a portion of ${rows}`);
    all.push(...portion);
  }
  return all;
}
