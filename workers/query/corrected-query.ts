import type { QueryPlan, ResultsSetup } from "../messages.ts";

/** A query whose windows are to be corrected, with what tells which of them are closed. */
export interface CorrectedQuery {
  readonly plan: QueryPlan;
  readonly closing: Closing;
  /** How its results become events, where other queries are from it. */
  readonly results: ResultsSetup | null;
  readonly above: readonly CorrectedQuery[];
}

/** Up to where a query's windows are closed, at one moment. Times in µs. */
export interface Closing {
  /** Of its stream, of events or results; null: none yet. */
  readonly watermarkUs: number | null;
  /** Windows that start before it give no results; null: all do. */
  readonly sinceUs: number | null;
  /** Where keys have clocks: those of the keys asked for, by the key's bytes as text, a byte a character. */
  readonly keyClocks: ReadonlyMap<string, number | null> | null;
}

/** The clock that closes the windows of a key; below every time when it has none. */
export function clockOf({ watermarkUs, keyClocks }: Closing, key: string): number {
  const ofStream = watermarkUs ?? Number.NEGATIVE_INFINITY;
  return keyClocks === null ? ofStream : Math.max(ofStream, keyClocks.get(key) ?? Number.NEGATIVE_INFINITY);
}
