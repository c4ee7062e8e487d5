import { withExpressions } from "../core/expression.ts";
import { keepHaving } from "../core/having.ts";
import { type CoreModule, instantiateCore } from "../core/module.ts";
import { Tables } from "../core/tables.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../core/window.ts";
import type { QueryPlan, ResultRow, ResultsSetup } from "../messages.ts";
import { ResultStream } from "../result-stream.ts";
import { OrderedRows } from "./ordered-rows.ts";

const BEFORE_ALL = -(2n ** 63n);
const AFTER_ALL = 2n ** 62n;

export interface ResultsReplayTask {
  readonly plan: QueryPlan;
  /** Of the query below. */
  readonly results: ResultsSetup;
  /** Windows that lie between these times, µs; null: no bound. */
  readonly fromUs: number | null;
  readonly toUs: number | null;
}

/**
 * The rows of one replay as the events of a query over that one's results. They come in the order of their windows' ends,
 * so the watermark is the time of the next and none is late; rows go on in the same order.
 */
export class ReplayOfResults {
  readonly #task: ResultsReplayTask;
  readonly #core: CoreModule = instantiateCore();
  readonly #local: LocalAggregator;
  readonly #windows: Windows;
  readonly #rows: OrderedRows;
  #watermarkUs = BEFORE_ALL;

  constructor(task: ResultsReplayTask) {
    this.#task = task;
    this.#rows = new OrderedRows(task.fromUs, task.toUs);
    const { earlyUs: _early, keyClock: _clock, ...plan } = task.plan;
    // Tables are joined by the query that has the events.
    const noTables = new Tables(this.#core);
    this.#local = withExpressions(this.#core, plan, createLocal(this.#core, plan), noTables);
    this.#windows = keepHaving(this.#core, plan, createWindows(this.#core, plan));
  }

  /** @param below in the order of their windows' ends */
  *rows(below: Iterable<readonly ResultRow[]>): Generator<readonly ResultRow[], void, void> {
    let lastUs = 0;
    for (const rows of below) {
      const [first] = rows;
      if (first === undefined) continue;
      yield* this.#fire(BigInt(timeOf(first)));
      const events = new ResultStream(this.#core, this.#task.results);
      events.take(rows);
      for (const batch of events.release(AFTER_ALL))
        this.#windows.merge(this.#local.aggregate(batch), this.#watermarkUs);
      lastUs = Math.max(lastUs, ...rows.slice(-1).map(timeOf));
    }
    const behind = BigInt(lastUs) + 1n;
    const end = this.#windows.lastEndUs() ?? BEFORE_ALL;
    yield* this.#fire(end > behind ? end : behind);
    yield this.#rows.rest();
  }

  *#fire(watermarkUs: bigint): Generator<readonly ResultRow[], void, void> {
    if (watermarkUs <= this.#watermarkUs) return;
    this.#watermarkUs = watermarkUs;
    for (const portion of this.#windows.portions(watermarkUs)) this.#rows.add(portion);
    const rows = this.#rows.before(Number(watermarkUs));
    if (rows.length > 0) yield rows;
  }
}

/** As in `ResultStream`: the last µs of its window. */
function timeOf({ startUs, endUs }: ResultRow): number {
  return Math.max(startUs, endUs - 1);
}
