import type { BatchHandle } from "../core/codec.ts";
import { keyJson } from "../core/group-key.ts";
import { MillraceError } from "../errors.ts";
import type { QueryPlan, ResultRow } from "../messages.ts";
import { type Closing, clockOf } from "./corrected-query.ts";
import type { KeySpan } from "./partial-groups.ts";
import type { Recomputation, WantedKey } from "./recomputation.ts";
import {
  type AffectedWindow,
  type Owner,
  type Redo,
  type ResultStore,
  type WindowPlace,
  windowId,
} from "./redo.ts";
import { joinRanges, type TimeRange } from "./time-range.ts";
import { windowsOfSlice } from "./window-reach.ts";

interface NotedWindow extends TimeRange {
  readonly owners: Set<Owner>;
}

interface NotedKey {
  readonly key: Uint8Array;
  readonly text: string;
  readonly clockUs: number;
  /** By start. */
  readonly windows: Map<number, NotedWindow>;
}

/** Tumbling, sliding and calendar windows: the times of events tell which they are. */
export class PaneRedo implements Redo {
  readonly #store: ResultStore;
  readonly #closing: Closing;
  readonly #plan: QueryPlan;
  readonly #engine: Recomputation;
  readonly #windowsOf: (startUs: number) => readonly TimeRange[];
  readonly #keys = new Map<string, NotedKey>();
  readonly waiting = new Set<Owner>();
  #wanted: readonly WantedKey[] | null = null;
  #affected: readonly AffectedWindow[] = [];

  constructor(store: ResultStore, plan: QueryPlan, closing: Closing, engine: Recomputation) {
    const { kind } = plan.window;
    if (kind === "session" || kind === "count" || kind === "none")
      throw new MillraceError("E_WINDOW_KIND", `${kind} windows have no panes`);
    this.#store = store;
    this.#plan = plan;
    this.#closing = closing;
    this.#engine = engine;
    this.#windowsOf = windowsOfSlice(plan.window);
  }

  note(batch: BatchHandle, owner: Owner, mustClose: boolean): TimeRange[] {
    const ranges: TimeRange[] = [];
    const sinceUs = this.#closing.sinceUs ?? Number.NEGATIVE_INFINITY;
    for (const span of this.#engine.spans(batch)) {
      const key = this.#keyOf(span);
      for (const window of this.#windowsOf(span.firstUs)) {
        if (window.fromUs < sinceUs) continue;
        if (window.toUs + this.#plan.latenessUs > key.clockUs) {
          if (mustClose) this.waiting.add(owner);
          continue;
        }
        ranges.push(window);
        const noted = key.windows.get(window.fromUs);
        if (noted === undefined) key.windows.set(window.fromUs, { ...window, owners: new Set([owner]) });
        else noted.owners.add(owner);
      }
    }
    return joinRanges(ranges);
  }

  wanted(): readonly WantedKey[] {
    this.#wanted ??= [...this.#keys.values()].flatMap(({ key, windows }) =>
      windows.size === 0 ? [] : [{ key, ranges: joinRanges([...windows.values()]) }],
    );
    return this.#wanted;
  }

  begin(): void {
    this.#engine.begin();
  }

  merge(batch: BatchHandle, fromUs: number, toUs: number): void {
    this.#engine.merge(batch, this.wanted(), fromUs, toUs);
  }

  settle(): boolean {
    const rows = this.#engine.fire().filter(({ key, startUs }) => this.#find(key)?.windows.has(startUs));
    const shown = new Map(this.#engine.shown(rows).map((row) => [windowId(row), row]));
    const query = this.#plan.name;
    this.#affected = [...this.#keys.values()].flatMap(({ text, windows }) =>
      [...windows.values()].map(({ fromUs, toUs, owners }) => {
        const window = { query, startUs: fromUs, endUs: toUs, key: text };
        const after = shown.get(windowId(window)) ?? null;
        return { owners, place: window, before: this.#before(window), after };
      }),
    );
    this.#wanted = [];
    return true;
  }

  affected(): readonly AffectedWindow[] {
    return this.#affected;
  }

  dispose(): void {
    this.#engine.dispose();
  }

  #before(window: WindowPlace): ResultRow | null {
    const latest = this.#store.latestResult(window);
    if (latest === null || latest.retracted) return null;
    return { ...window, values: latest.values, revision: latest.revision, kind: "late" };
  }

  readonly #byText = new Map<string, NotedKey>();

  #find(text: string): NotedKey | undefined {
    return this.#byText.get(text);
  }

  #keyOf({ id, key }: KeySpan): NotedKey {
    const known = this.#keys.get(id);
    if (known !== undefined) return known;
    const text = keyJson(key, this.#plan.by);
    const noted = { key, text, clockUs: clockOf(this.#closing, id), windows: new Map() };
    this.#keys.set(id, noted);
    this.#byText.set(text, noted);
    return noted;
  }
}
