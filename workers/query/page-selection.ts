import type { EventPosition } from "./tasks.ts";

/** A row chosen for the page, already written. */
export interface SelectedRow extends EventPosition {
  readonly json: string;
}

/** Rows of one block that are candidates, ordered by (time, row). */
export interface Candidates {
  readonly seq: number;
  readonly rows: readonly number[];
  readonly times: { readonly [row: number]: bigint };
  write(row: number): string;
}

function comparePositions(a: EventPosition, b: EventPosition): number {
  if (a.timeUs !== b.timeUs) return a.timeUs < b.timeUs ? -1 : 1;
  return a.seq - b.seq || a.row - b.row;
}

/**
 * The first rows of a page out of any number of blocks that overlap in time, which come one at a time and in any
 * order: each block's candidates are merged into what is kept, and the rest is forgotten.
 *
 * Invariant: `kept` is ordered; it is the longest page (at most `limit` rows and about `maxCharacters`, but
 * at least one row) of all candidates so far, and when there is a row after the page, that one too. So memory is
 * that of one page, however many blocks overlap. Cost: O(page + candidates) a block; only rows that are kept
 * are written.
 */
export class PageSelection {
  readonly #limit: number;
  readonly #maxCharacters: number;
  #kept: SelectedRow[] = [];
  #isFull = false;

  constructor(limit: number, maxCharacters: number) {
    this.#limit = limit;
    this.#maxCharacters = maxCharacters;
  }

  /** The first row known to stand after the page, or null: rows behind it need not be added. */
  get bound(): EventPosition | null {
    return this.#isFull ? this.#kept.at(-1)! : null;
  }

  /** The page's rows. */
  get rows(): readonly SelectedRow[] {
    return this.#isFull ? this.#kept.slice(0, -1) : this.#kept;
  }

  add(candidates: Candidates): void {
    const before = this.#kept;
    const merged: SelectedRow[] = [];
    let characters = 0;
    let isFull = false;
    let oldAt = 0;
    let newAt = 0;
    while (!isFull && (oldAt < before.length || newAt < candidates.rows.length)) {
      const old = before[oldAt];
      const fresh = positionAt(candidates, newAt);
      let next: SelectedRow;
      if (old !== undefined && (fresh === null || comparePositions(old, fresh) < 0)) {
        next = old;
        oldAt++;
      } else {
        next = { ...fresh!, json: candidates.write(fresh!.row) };
        newAt++;
      }
      characters += next.json.length;
      isFull = merged.length >= this.#limit || (merged.length > 0 && characters > this.#maxCharacters);
      merged.push(next);
    }
    this.#kept = merged;
    this.#isFull = isFull;
  }
}

function positionAt({ seq, rows, times }: Candidates, index: number): EventPosition | null {
  const row = rows[index];
  return row === undefined ? null : { timeUs: times[row]!, seq, row };
}
