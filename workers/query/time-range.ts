/** Event times from `fromUs` on, before `toUs`. */
export interface TimeRange {
  readonly fromUs: number;
  readonly toUs: number;
}

/** Ranges in the order of time; those that meet or overlap become one. */
export function joinRanges(ranges: readonly TimeRange[]): TimeRange[] {
  const joined: TimeRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.fromUs - b.fromUs)) {
    const last = joined.at(-1);
    if (last === undefined || range.fromUs > last.toUs) joined.push(range);
    else if (range.toUs > last.toUs) joined[joined.length - 1] = { fromUs: last.fromUs, toUs: range.toUs };
  }
  return joined;
}

/** Whether events from `fromUs` to `toUs` (inclusive) can be in the range. */
export function isNear(range: TimeRange, fromUs: number, toUs: number): boolean {
  return range.fromUs <= toUs && range.toUs > fromUs;
}
