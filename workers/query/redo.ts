import type { BatchHandle } from "../core/codec.ts";
import type { ResultRow } from "../messages.ts";
import type { WantedKey } from "./recomputation.ts";
import type { TimeRange } from "./time-range.ts";

/** What a correction reads of the results: `Reader` is one. */
export interface ResultStore {
  latestResult(
    row: WindowPlace,
  ): { readonly revision: number; readonly values: string; readonly retracted: boolean } | null;
  results(filter: {
    readonly query: string;
    readonly fromUs: number | null;
    readonly toUs: number | null;
    readonly key: string | null;
    readonly kind: string | null;
    readonly revisions: "latest" | "all";
    readonly limit: number;
    readonly after: ResultCursor | null;
  }): ResultRow[];
}

interface ResultCursor {
  readonly startUs: number;
  readonly key: string;
  readonly endUs: number;
  readonly revision: number;
}

/** The late block that asks for a correction. */
export type Owner = number;

/** A window of a key of a query. */
export type WindowPlace = Pick<ResultRow, "query" | "startUs" | "endUs" | "key">;

/** A closed window of a key that lacks events, or may. */
export interface AffectedWindow {
  readonly owners: ReadonlySet<Owner>;
  readonly place: WindowPlace;
  /** The latest result as it is stored; null: none, or retracted. */
  readonly before: ResultRow | null;
  /** As it is with all its events; null: no result. */
  readonly after: ResultRow | null;
}

/** The windows of one query that events belong to, on their way to being computed anew. */
export interface Redo {
  /**
   * Notes the windows of the batch's events. `mustClose`: the events are in none of them yet, so that those that are open
   * must be waited for. @returns the times whose events can be in them.
   */
  note(batch: BatchHandle, owner: Owner, mustClose: boolean): TimeRange[];
  /** The events that are wanted; none: nothing is to be done, or it is done. */
  wanted(): readonly WantedKey[];
  /** Forgets what was merged: all that is wanted comes again. */
  begin(): void;
  /** `fromUs` to `toUs` (inclusive): where the batch's events are. */
  merge(batch: BatchHandle, fromUs: number, toUs: number): void;
  /** Once all that is wanted is merged. @returns false when more is wanted by now. */
  settle(): boolean;
  /** Those that are closed. */
  affected(): readonly AffectedWindow[];
  /** Owners with a window that is still open. */
  readonly waiting: ReadonlySet<Owner>;
  dispose(): void;
}

/** What is to be written: where it is not as it is stored, the next revision; a retraction where there is none any more. */
export function revise(store: ResultStore, { before, after }: AffectedWindow): ResultRow[] {
  if (before?.values === after?.values) return [];
  const row = after ?? before;
  if (row === null) return [];
  const latest = store.latestResult(row);
  const next = { ...row, revision: latest === null ? 0 : latest.revision + 1, kind: "late" as const };
  return [after === null ? { ...next, values: "{}", retracted: true as const } : next];
}

/** All results that a window has had, but early ones and retractions. */
export function pastResults(store: ResultStore, { query, startUs, endUs, key }: WindowPlace): ResultRow[] {
  const range = { fromUs: startUs, toUs: startUs + 1 };
  return store
    .results({
      query,
      ...range,
      key,
      kind: null,
      revisions: "all",
      limit: Number.MAX_SAFE_INTEGER,
      after: null,
    })
    .filter((row) => {
      const isSame = row.startUs === startUs && row.endUs === endUs && row.key === key;
      return isSame && row.kind !== "early" && row.retracted !== true;
    });
}

export function windowId({ startUs, endUs, key }: Pick<ResultRow, "startUs" | "endUs" | "key">): string {
  return `${startUs} ${endUs} ${key}`;
}
