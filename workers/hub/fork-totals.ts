/**
 * Counts of a data directory that went several ways. Each start of a node is a replica of a G-Counter of its own, for its name
 * is its alone, while a data directory's is that of its copies too: a start counts from where the directory stood when it
 * began (`base`) to `last`. On the line of one directory that never went two ways these spans touch each other, and what
 * lies between them was counted by starts that were never heard of. Spans that overlap are of two ways, and both count.
 */
export interface CountSpan {
  readonly base: number;
  readonly last: number;
}

/**
 * All that was counted: the length of the spans, and once what none of them covers below the greatest end. It is never more
 * than what was counted, and never less than any `last`.
 */
export function totalOf(spans: readonly CountSpan[]): number {
  let total = 0;
  let covered = 0;
  for (const { base, last } of spans.toSorted((a, b) => a.base - b.base)) {
    total += Math.max(0, base - covered) + Math.max(0, last - base);
    covered = Math.max(covered, base, last);
  }
  return total;
}

export const COUNTERS = ["accepted", "deadLettered", "late", "clockSkewed"] as const;

/** What a start said of a stream: each counter as it was at its beginning, and as it is. */
export type StartTotals = Readonly<Record<(typeof COUNTERS)[number], CountSpan>>;

export function totalsOf(
  starts: readonly StartTotals[],
): Readonly<Record<(typeof COUNTERS)[number], number>> {
  const [accepted = 0, deadLettered = 0, late = 0, clockSkewed = 0] = COUNTERS.map((counter) =>
    totalOf(starts.map((start) => start[counter])),
  );
  return { accepted, deadLettered, late, clockSkewed };
}

/** A row of `start_totals`. */
export interface StartRow {
  readonly acceptedBase: number;
  readonly accepted: number;
  readonly deadLetteredBase: number;
  readonly deadLettered: number;
  readonly lateBase: number;
  readonly late: number;
  readonly clockSkewedBase: number;
  readonly clockSkewed: number;
}

export function startTotals(row: StartRow): StartTotals {
  return {
    accepted: { base: row.acceptedBase, last: row.accepted },
    deadLettered: { base: row.deadLetteredBase, last: row.deadLettered },
    late: { base: row.lateBase, last: row.late },
    clockSkewed: { base: row.clockSkewedBase, last: row.clockSkewed },
  };
}
