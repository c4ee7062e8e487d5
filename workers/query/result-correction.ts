import type { CoreModule } from "../core/module.ts";
import type { ResultRow } from "../messages.ts";
import { ResultStream } from "../result-stream.ts";
import type { CorrectedQuery } from "./corrected-query.ts";
import {
  type AffectedWindow,
  type Owner,
  pastResults,
  type Redo,
  type ResultStore,
  revise,
  windowId,
} from "./redo.ts";
import { joinRanges, type TimeRange } from "./time-range.ts";

/** Results read at once. */
const PAGE_ROWS = 20_000;
/** Behind the end of every window. */
const AFTER_ALL = 2n ** 62n;

export interface ResultCorrection {
  readonly rows: readonly ResultRow[];
  readonly waiting: ReadonlySet<Owner>;
}

/**
 * Corrects the windows of the queries that are from the results of `below`, once these are corrected: they are computed anew
 * from the latest results, as windows over events are from events. Windows that are open have the results as they were
 * before, and are waited for.
 */
export function correctAbove(
  store: ResultStore,
  below: CorrectedQuery,
  affected: readonly AffectedWindow[],
  core: CoreModule,
  redoOf: (query: CorrectedQuery) => Redo,
): ResultCorrection {
  const rows: ResultRow[] = [];
  const waiting = new Set<Owner>();
  if (below.results === null || affected.length === 0) return { rows, waiting };
  const source = new LatestResults(store, below, affected, core);
  for (const query of below.above) {
    // Its windows stay as they are, as those over events do: see `explainKind`.
    if (query.plan.window.kind === "count" || query.plan.window.kind === "none") continue;
    const redo = redoOf(query);
    noteChanges(store, redo, source, affected);
    while (redo.wanted().length > 0) {
      redo.begin();
      source.mergeInto(redo);
      redo.settle();
    }
    const own = redo.affected();
    rows.push(...own.flatMap((window) => revise(store, window)));
    for (const owner of redo.waiting) waiting.add(owner);
    const above = correctAbove(store, query, own, core, redoOf);
    rows.push(...above.rows);
    for (const owner of above.waiting) waiting.add(owner);
    redo.dispose();
  }
  return { rows, waiting };
}

/**
 * Whatever results the windows have had, and those that they have now, changed or not: a run before may have been cut off,
 * or have found a window over them open.
 */
function noteChanges(
  store: ResultStore,
  redo: Redo,
  source: LatestResults,
  affected: readonly AffectedWindow[],
): void {
  const byOwner = new Map<Owner, ResultRow[]>();
  for (const { owners, place, after } of affected) {
    const rows = [...pastResults(store, place), ...(after === null ? [] : [after])];
    for (const owner of owners) {
      const known = byOwner.get(owner);
      if (known === undefined) byOwner.set(owner, rows.slice());
      else known.push(...rows);
    }
  }
  for (const [owner, rows] of byOwner)
    source.asEvents(rows, "each", (batch) => redo.note(batch, owner, true));
}

/** The latest results of a query as events, with the corrections that are not written yet. */
class LatestResults {
  readonly #store: ResultStore;
  readonly #below: CorrectedQuery;
  readonly #core: CoreModule;
  readonly #gone = new Set<string>();
  readonly #corrected: readonly ResultRow[];

  constructor(
    store: ResultStore,
    below: CorrectedQuery,
    affected: readonly AffectedWindow[],
    core: CoreModule,
  ) {
    this.#store = store;
    this.#below = below;
    this.#core = core;
    for (const { before, after } of affected) {
      for (const row of [before, after]) if (row !== null) this.#gone.add(windowId(row));
    }
    this.#corrected = affected.flatMap(({ after }) => after ?? []);
  }

  /** `each`: all revisions of a window, not the last one in the place of the others. */
  asEvents(rows: readonly ResultRow[], which: "each" | "last", use: (batch: Batch) => void): void {
    const { results } = this.#below;
    if (results === null || rows.length === 0) return;
    const events = new ResultStream(this.#core, {
      ...results,
      isRevised: which === "last" && results.isRevised,
    });
    events.take(rows);
    for (const batch of events.release(AFTER_ALL)) use(batch);
  }

  mergeInto(redo: Redo): void {
    const ranges = joinRanges(redo.wanted().flatMap((key) => key.ranges));
    const merge = (rows: readonly ResultRow[]): void =>
      this.asEvents(rows, "last", (batch) =>
        redo.merge(batch, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY),
      );
    for (const range of ranges) {
      for (const page of this.#pages(range))
        merge(page.filter((row) => !this.#gone.has(windowId(row)) && isWithin(row, range)));
    }
    merge(this.#corrected.filter((row) => ranges.some((range) => isWithin(row, range))));
  }

  *#pages({ fromUs, toUs }: TimeRange): Generator<ResultRow[]> {
    const revisions = this.#below.results?.isRevised === false ? "all" : "latest";
    const filter = { query: this.#below.plan.name, fromUs, toUs, key: null, kind: null, revisions } as const;
    let after: { startUs: number; key: string; endUs: number; revision: number } | null = null;
    for (;;) {
      const page: ResultRow[] = this.#store.results({ ...filter, limit: PAGE_ROWS, after });
      yield page;
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE_ROWS) return;
      after = last;
    }
  }
}

type Batch = Parameters<Redo["note"]>[0];

/** Whether the event that the row becomes is of that time: see `ResultStream`. */
function isWithin({ startUs, endUs }: ResultRow, { fromUs, toUs }: TimeRange): boolean {
  const timeUs = Math.max(startUs, endUs - 1);
  return timeUs >= fromUs && timeUs < toUs;
}
