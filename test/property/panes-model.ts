import type { ModelEvent } from "./window-model.ts";

/** A window by its bounds; the end is exclusive. */
export interface Span {
  readonly startUs: number;
  readonly endUs: number;
}

export interface PanesSettings {
  /** All windows that an event time is in. */
  readonly windowsOf: (timeUs: number) => readonly Span[];
  readonly latenessUs: number;
  /** 0: no early results. */
  readonly earlyUs: number;
}

/** A result as the model sees it, with all its events. */
export interface PanesRow extends Span {
  readonly key: string;
  readonly revision: number;
  readonly kind: "early" | "on-time" | "late";
  readonly events: readonly ModelEvent[];
}

interface Group extends Span {
  readonly key: string;
  readonly events: ModelEvent[];
  /** Its first event came when the watermark had passed the end. */
  readonly isLate: boolean;
  emitted: number;
  isDirty: boolean;
  /** It has given a result that was not early. */
  isFinal: boolean;
}

/** Windows that may overlap, with early results, by keeping every event in every window: slow and plain. */
export class PanesModel {
  readonly #settings: PanesSettings;
  readonly #groups = new Map<string, Group>();
  #firedUs = -Infinity;

  constructor(settings: PanesSettings) {
    this.#settings = settings;
  }

  /** Takes events in; returns those that are too late for all their windows. */
  merge(events: readonly ModelEvent[], watermarkUs: number): ModelEvent[] {
    const { windowsOf, latenessUs } = this.#settings;
    return events.filter((event) => {
      const open = windowsOf(event.timeUs).filter(({ endUs }) => endUs + latenessUs > watermarkUs);
      for (const span of open) {
        const id = `${span.startUs} ${event.key}`;
        const group = this.#groups.get(id) ?? {
          ...span,
          key: event.key,
          events: [],
          isLate: span.endUs <= watermarkUs,
          emitted: 0,
          isDirty: false,
          isFinal: false,
        };
        this.#groups.set(id, group);
        group.events.push(event);
        group.isDirty = true;
      }
      return open.length === 0;
    });
  }

  fire(watermarkUs: number): PanesRow[] {
    const { latenessUs, earlyUs } = this.#settings;
    const isEarlyDue =
      earlyUs > 0 &&
      watermarkUs > this.#firedUs &&
      Math.floor(watermarkUs / earlyUs) > Math.floor(this.#firedUs / earlyUs);
    const rows: PanesRow[] = [];
    for (const [id, group] of this.#groups) {
      const kind = kindOf(group, watermarkUs, isEarlyDue);
      if (kind !== null) {
        const { startUs, endUs, key, events } = group;
        rows.push({ startUs, endUs, key, revision: group.emitted, kind, events: [...events] });
        group.emitted++;
        group.isDirty = false;
        group.isFinal ||= kind !== "early";
      }
      if (group.endUs + latenessUs <= watermarkUs) this.#groups.delete(id);
    }
    this.#firedUs = Math.max(this.#firedUs, watermarkUs);
    return rows;
  }

  /** End of the last open window, or null. */
  get lastEndUs(): number | null {
    const ends = [...this.#groups.values()].map(({ endUs }) => endUs);
    return ends.length === 0 ? null : Math.max(...ends);
  }
}

function kindOf(group: Group, watermarkUs: number, isEarlyDue: boolean): PanesRow["kind"] | null {
  if (group.endUs > watermarkUs) return isEarlyDue && group.isDirty ? "early" : null;
  if (!group.isFinal) return group.isLate ? "late" : "on-time";
  return group.isDirty ? "late" : null;
}

/** Windows of `sizeUs` that begin at `offsetUs` plus every whole multiple of `everyUs`. */
export function slidingSpans(sizeUs: number, everyUs: number, offsetUs: number): PanesSettings["windowsOf"] {
  return (timeUs) => {
    const spans: Span[] = [];
    const last = Math.floor((timeUs - offsetUs) / everyUs) * everyUs + offsetUs;
    for (let startUs = last; startUs + sizeUs > timeUs; startUs -= everyUs) {
      spans.push({ startUs, endUs: startUs + sizeUs });
    }
    return spans;
  };
}
