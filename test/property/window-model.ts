import { ExactSums } from "../support/exact.ts";

/** An event of the model: one key, one value. */
export interface ModelEvent {
  readonly timeUs: number;
  readonly key: string;
  readonly value: number | null;
}

export interface ModelSettings {
  readonly sizeUs: number;
  readonly offsetUs: number;
  readonly latenessUs: number;
}

/** A fired window as the model sees it, with all its events. */
export interface ModelRow {
  readonly startUs: number;
  readonly endUs: number;
  readonly key: string;
  readonly revision: number;
  readonly kind: "on-time" | "late";
  readonly events: readonly ModelEvent[];
}

interface ModelGroup {
  readonly startUs: number;
  readonly key: string;
  readonly events: ModelEvent[];
  emitted: number;
  isDirty: boolean;
  isLate: boolean;
}

/** Tumbling windows with revisions, by keeping every event: slow and plain. */
export class WindowModel {
  readonly #settings: ModelSettings;
  readonly #groups = new Map<string, ModelGroup>();

  constructor(settings: ModelSettings) {
    this.#settings = settings;
  }

  startOf(timeUs: number): number {
    const { sizeUs, offsetUs } = this.#settings;
    return Math.floor((timeUs - offsetUs) / sizeUs) * sizeUs + offsetUs;
  }

  /** Takes events in; returns those that are too late. */
  merge(events: readonly ModelEvent[], watermarkUs: number): ModelEvent[] {
    return events.filter((event) => {
      const startUs = this.startOf(event.timeUs);
      const endUs = startUs + this.#settings.sizeUs;
      if (endUs + this.#settings.latenessUs <= watermarkUs) return true;
      const id = `${startUs} ${event.key}`;
      const group = this.#groups.get(id) ?? {
        startUs,
        key: event.key,
        events: [],
        emitted: 0,
        isDirty: false,
        isLate: false,
      };
      this.#groups.set(id, group);
      group.events.push(event);
      group.isDirty = true;
      group.isLate = endUs <= watermarkUs;
      return false;
    });
  }

  fire(watermarkUs: number): ModelRow[] {
    const rows: ModelRow[] = [];
    for (const [id, group] of this.#groups) {
      const endUs = group.startUs + this.#settings.sizeUs;
      if (endUs <= watermarkUs && group.isDirty) {
        const { startUs, key, events, isLate } = group;
        rows.push({
          startUs,
          endUs,
          key,
          revision: group.emitted,
          kind: isLate ? "late" : "on-time",
          events: [...events],
        });
        group.emitted++;
        group.isDirty = false;
      }
      if (endUs + this.#settings.latenessUs <= watermarkUs) this.#groups.delete(id);
    }
    return rows;
  }

  get groupCount(): number {
    return this.#groups.size;
  }
}

/** Every exact aggregate of events, each from all of them at once; sums are rounded once. */
export function aggregateExactly(events: readonly ModelEvent[]): Record<string, number | null> {
  const valued = events.filter((event): event is ModelEvent & { value: number } => event.value !== null);
  const byTime = valued.toSorted((a, b) => a.timeUs - b.timeUs || a.value - b.value);
  const sorted = sortedValues(events);
  const sums = new ExactSums();
  for (const value of sorted) sums.add(value);
  const isEmpty = sorted.length === 0;
  const variance = finite(sums.variance);
  return {
    n: events.length,
    nv: sorted.length,
    sum: isEmpty ? null : finite(sums.sum),
    avg: isEmpty ? null : finite(sums.mean),
    min: sorted[0] ?? null,
    max: sorted.at(-1) ?? null,
    range: isEmpty ? null : finite(sorted.at(-1)! - sorted[0]!),
    first: byTime[0]?.value ?? null,
    last: byTime.at(-1)?.value ?? null,
    variance,
    stddev: variance === null ? null : Math.sqrt(variance),
  };
}

export function sortedValues(events: readonly ModelEvent[]): number[] {
  return events.flatMap(({ value }) => (value === null ? [] : [value])).toSorted((a, b) => a - b);
}

/** The true value at rank ⌊q·(n − 1)⌋. */
export function quantileExactly(sorted: readonly number[], q: number): number {
  return sorted[Math.floor(q * (sorted.length - 1))]!;
}

function finite(value: number | null): number | null {
  return value !== null && Number.isFinite(value) ? value : null;
}
