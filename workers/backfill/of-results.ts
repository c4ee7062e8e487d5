import { withExpressions } from "../core/expression.ts";
import { keepHaving } from "../core/having.ts";
import { type CoreModule, instantiateCore } from "../core/module.ts";
import { Tables } from "../core/tables.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../core/window.ts";
import type { ResultRow, ResultsSetup } from "../messages.ts";
import { packResults } from "../result-rows.ts";
import { ResultStream } from "../result-stream.ts";
import { Reader, type ResultCursor } from "../store/reader.ts";
import { type BackfillStep, nextStep, StepOutput } from "./step.ts";
import type { BackfillOutcome, BackfillTask } from "./task.ts";

const PAGE_ROWS = 4_096;
const BEFORE_ALL = -(2n ** 63n);
const AFTER_ALL = 2n ** 62n;

/**
 * A query over the stored results of another. Those that are final by a watermark are read in the order of their windows'
 * starts: no result has a time before its start, so the start of the next is the watermark. A second time, it reads those
 * that have become final since.
 */
export class ResultBackfill {
  readonly #task: BackfillTask;
  readonly #query: string;
  readonly #results: ResultsSetup;
  readonly #reader: Reader;
  readonly #core: CoreModule = instantiateCore();
  readonly #local: LocalAggregator;
  readonly #windows: Windows;
  readonly #output = new StepOutput();
  #watermarkUs = BEFORE_ALL;
  /** Windows that ended by then are read; null: none. */
  #readUs: number | null = null;
  #work: Generator<void> | null = null;

  constructor(task: BackfillTask, { query, results }: NonNullable<BackfillTask["below"]>) {
    const { plan } = task;
    this.#task = task;
    this.#query = query;
    this.#results = results;
    this.#reader = new Reader(task.dir, task.masters);
    // Tables are joined by the query that has the events.
    const noTables = new Tables(this.#core);
    this.#local = withExpressions(this.#core, plan, createLocal(this.#core, plan), noTables);
    this.#windows = keepHaving(this.#core, plan, createWindows(this.#core, plan));
  }

  /** It is not counted in blocks. */
  count(): number {
    return 0;
  }

  /** Reads what is final by that time (µs; null: nothing is). */
  byTime(finalUs: number | null): BackfillStep {
    this.#work ??= this.#readUntil(finalUs);
    const step = nextStep(this.#work, this.#output);
    if (step.isDone) this.#work = null;
    return step;
  }

  finish(): BackfillOutcome {
    const waiting: ResultRow[] = [];
    for (const page of this.#pages(this.#readUs))
      waiting.push(
        ...page.filter(({ kind, endUs }) => kind !== "early" && endUs > (this.#readUs ?? endUs - 1)),
      );
    return { state: this.#windows.snapshot(), waiting: packResults(waiting) };
  }

  close(): void {
    this.#reader.close();
  }

  *#readUntil(finalUs: number | null): Generator<void> {
    if (finalUs === null || finalUs <= (this.#readUs ?? finalUs - 1)) return;
    const { fromUs } = this.#task;
    const since = this.#readUs;
    for (const page of this.#pages(since ?? fromUs)) {
      if (page[0]!.startUs > finalUs) break;
      yield* this.#fire(Math.min(page[0]!.startUs, finalUs));
      const rows = page.filter(
        ({ startUs, endUs }) =>
          endUs <= finalUs &&
          (since === null || endUs > since) &&
          (fromUs === null || Math.max(startUs, endUs - 1) >= fromUs),
      );
      const events = new ResultStream(this.#core, this.#results);
      events.take(rows);
      for (const batch of events.release(AFTER_ALL)) {
        this.#windows.merge(this.#local.aggregate(batch), this.#watermarkUs);
        if (this.#task.plan.window.kind === "none") yield* this.#portions();
      }
      this.#output.events += rows.length;
      if (this.#output.isFull) yield;
    }
    yield* this.#fire(finalUs);
    this.#readUs = finalUs;
  }

  /** Results that stand, of windows that end behind a time; early ones are passed over by whoever takes them. */
  *#pages(endsAfterUs: number | null): Generator<ResultRow[]> {
    const filter = {
      query: this.#query,
      fromUs: endsAfterUs,
      toUs: null,
      key: null,
      kind: null,
      // Windows of counts that have the same bounds differ by their revision alone.
      revisions: this.#results.isRevised ? "latest" : "all",
      limit: PAGE_ROWS,
    } as const;
    for (let after: ResultCursor | null = null; ; ) {
      const page: ResultRow[] = this.#reader.results({ ...filter, after });
      const last = page.at(-1);
      if (last === undefined) return;
      yield page;
      after = last;
    }
  }

  *#fire(timeUs: number): Generator<void> {
    const watermarkUs = BigInt(timeUs);
    if (watermarkUs <= this.#watermarkUs) return;
    this.#watermarkUs = watermarkUs;
    yield* this.#portions();
  }

  *#portions(): Generator<void> {
    const { fromUs } = this.#task;
    for (const rows of this.#windows.portions(this.#watermarkUs)) {
      this.#output.addRows(fromUs === null ? rows : rows.filter(({ startUs }) => startUs >= fromUs));
      if (this.#output.isFull) yield;
    }
  }
}
