import type { ResultRow } from "../messages.ts";

/** Rows of windows as they close, in the order of (end, start, key): those that end at the watermark wait, for more of them may come. */
export class OrderedRows {
  readonly #fromUs: number | null;
  readonly #toUs: number | null;
  #held: ResultRow[] = [];

  /** Windows that lie between these times, µs; null: no bound. */
  constructor(fromUs: number | null, toUs: number | null) {
    this.#fromUs = fromUs;
    this.#toUs = toUs;
  }

  add(rows: Iterable<ResultRow>): void {
    for (const row of rows) this.#held.push(row);
  }

  /** Those of windows that end before a time, of which no more come. */
  before(timeUs: number): readonly ResultRow[] {
    if (this.#held.length === 0) return [];
    const rows = this.#held.filter(({ endUs }) => endUs < timeUs);
    if (rows.length > 0) this.#held = this.#held.filter(({ endUs }) => endUs >= timeUs);
    return this.#within(rows);
  }

  rest(): readonly ResultRow[] {
    const rows = this.#held;
    this.#held = [];
    return this.#within(rows);
  }

  #within(rows: ResultRow[]): readonly ResultRow[] {
    const [from, to] = [this.#fromUs, this.#toUs];
    rows.sort(compareRows);
    if (from === null && to === null) return rows;
    return rows.filter(
      ({ startUs, endUs }) => (from === null || startUs >= from) && (to === null || endUs <= to),
    );
  }
}

function compareRows(a: ResultRow, b: ResultRow): number {
  return a.endUs - b.endUs || a.startUs - b.startUs || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}
