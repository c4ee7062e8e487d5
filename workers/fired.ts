import type { Portion } from "./core/portion.ts";
import type { AlertRow, Applied, ApplyResult, LateGroups, ResultRow } from "./messages.ts";
import { RowPieces } from "./packed-rows.ts";
import { packResults } from "./result-rows.ts";

/** What fired while a group of entries was applied, since it was last handed over. */
export class Fired {
  readonly portion: Portion;
  readonly #pieces = new RowPieces();
  #rows = 0;
  #chars = 0;
  /** Steps of alerts that came of it, and of events. */
  readonly alerts: AlertRow[] = [];
  /** So many of them say of which entry they came. */
  #named = 0;
  #seq = 0;
  readonly #counts = new Map<number, { rows: number; revisions: number }>();

  constructor(portion: Portion) {
    this.portion = portion;
  }

  get isFull(): boolean {
    return this.#rows >= this.portion.rows || this.#chars >= this.portion.chars;
  }

  add(queryId: number, rows: readonly ResultRow[]): void {
    if (rows.length === 0) return;
    const text = packResults(rows);
    this.#pieces.add(text, rows.length);
    this.#rows += rows.length;
    this.#chars += text.length;
    const count = this.#counts.get(queryId) ?? { rows: 0, revisions: 0 };
    count.rows += rows.length;
    for (const row of rows) if (row.revision > 0) count.revisions++;
    this.#counts.set(queryId, count);
  }

  /** Steps from here on came of that entry of the log. */
  alertsAt(seq: number): void {
    this.#nameSeq();
    this.#seq = seq;
  }

  takeAlerts(): AlertRow[] {
    this.#nameSeq();
    this.#named = 0;
    return this.alerts.splice(0);
  }

  #nameSeq(): void {
    for (; this.#named < this.alerts.length; this.#named++)
      this.alerts[this.#named] = { ...this.alerts[this.#named]!, seq: this.#seq };
  }

  take(): Pick<ApplyResult, "rows" | "fired"> {
    const fired = [...this.#counts].map(([queryId, count]) => ({ queryId, ...count }));
    const rows = this.#pieces.take();
    this.#rows = 0;
    this.#chars = 0;
    this.#counts.clear();
    return { rows, fired };
  }
}

/** What has fired so far; there is more. */
export function portionOf(fired: Fired, late: LateGroups[]): Applied {
  return {
    ...fired.take(),
    alerts: fired.takeAlerts(),
    late: late.splice(0),
    watermarks: [],
    stats: [],
    alertStats: [],
    hasMore: true,
  };
}
