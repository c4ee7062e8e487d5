import { ExactSums } from "./exact.ts";

/** An event as the oracle sees it: a value or, for count(), none. Times in µs. */
export interface OracleEvent {
  readonly key: string;
  readonly timeUs: number;
  readonly value: number | null;
}

/** Every aggregate of one window of one key, computed from all its values at once. */
export interface OracleWindow {
  readonly key: string;
  readonly startUs: number;
  readonly endUs: number;
  /** All events, with and without a value. */
  readonly events: number;
  readonly count: number;
  readonly sum: number | null;
  readonly avg: number | null;
  readonly min: number | null;
  readonly max: number | null;
  readonly first: number | null;
  readonly last: number | null;
  readonly variance: number | null;
  readonly stddev: number | null;
  /** In ascending order, for quantiles. */
  readonly sorted: readonly number[];
}

/**
 * Windows the slow way: collect every event of every window, then compute. Windows are aligned to the epoch plus the
 * offset, ends exclusive; one begins every `everyUs`, and they overlap where that is less than their size. Sums are exact and rounded once. Where several events share the first or last
 * time, first takes the smallest value and last the largest.
 */
export function computeWindows(
  events: Iterable<OracleEvent>,
  sizeUs: number,
  offsetUs = 0,
  everyUs = sizeUs,
): OracleWindow[] {
  const groups = new Map<string, { readonly startUs: number; readonly events: OracleEvent[] }>();
  for (const event of events) {
    const last = Math.floor((event.timeUs - offsetUs) / everyUs) * everyUs + offsetUs;
    for (let startUs = last; startUs + sizeUs > event.timeUs; startUs -= everyUs) {
      const id = windowId(event.key, startUs);
      const group = groups.get(id);
      if (group === undefined) groups.set(id, { startUs, events: [event] });
      else group.events.push(event);
    }
  }
  return [...groups.values()].map((group) => summarise(group.events, group.startUs, sizeUs));
}

/** Sessions the slow way: a key's events in the order of time, cut wherever they are a gap or more apart. */
export function computeSessions(events: Iterable<OracleEvent>, gapUs: number): OracleWindow[] {
  return [...Map.groupBy(events, ({ key }) => key).values()].flatMap((ofKey) => {
    const sessions: OracleEvent[][] = [];
    for (const event of ofKey.toSorted((a, b) => a.timeUs - b.timeUs)) {
      const last = sessions.at(-1);
      if (last !== undefined && event.timeUs - last.at(-1)!.timeUs < gapUs) last.push(event);
      else sessions.push([event]);
    }
    return sessions.map((session) => ({
      ...summarise(session, gapUs, 0),
      startUs: session[0]!.timeUs,
      endUs: session.at(-1)!.timeUs + gapUs,
    }));
  });
}

/** Identifies a window of a key within one query. */
export function windowId(key: string, startUs: number): string {
  return `${startUs} ${key}`;
}

function summarise(group: readonly OracleEvent[], startUs: number, sizeUs: number): OracleWindow {
  const { key } = group[0]!;
  const valued = group.filter((event): event is OracleEvent & { value: number } => event.value !== null);
  const byTime = valued.toSorted((a, b) => a.timeUs - b.timeUs || a.value - b.value);
  const sorted = valued.map((event) => event.value).toSorted((a, b) => a - b);
  const sums = new ExactSums();
  for (const value of sorted) sums.add(value);
  const isEmpty = sorted.length === 0;
  return {
    key,
    startUs,
    endUs: startUs + sizeUs,
    events: group.length,
    count: sorted.length,
    sum: isEmpty ? null : sums.sum,
    avg: isEmpty ? null : sums.mean,
    min: sorted[0] ?? null,
    max: sorted.at(-1) ?? null,
    first: byTime[0]?.value ?? null,
    last: byTime.at(-1)?.value ?? null,
    variance: sums.variance,
    stddev: sums.variance === null ? null : Math.sqrt(sums.variance),
    sorted,
  };
}

/** Whether an approximate quantile is within the relative error of a true one (between the two nearest ranks). */
export function isQuantileWithin(
  answer: number | null | undefined,
  sorted: readonly number[],
  q: number,
  relativeError: number,
): boolean {
  if (answer === undefined) return false;
  if (answer === null || sorted.length === 0) return answer === null && sorted.length === 0;
  const rank = q * (sorted.length - 1);
  const lower = sorted[Math.floor(rank)]!;
  const upper = sorted[Math.ceil(rank)]!;
  // A hair of slack for the rounding of the bucket bounds themselves.
  const slack = relativeError * (1 + 1e-9);
  return answer >= lower - Math.abs(lower) * slack && answer <= upper + Math.abs(upper) * slack;
}
