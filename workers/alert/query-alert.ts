import { createRowProgram, type RowProgram } from "../core/expression.ts";
import { evaluate } from "../core/having.ts";
import type { CoreModule } from "../core/module.ts";
import type { WindowOfKey } from "../core/window.ts";
import type { AlertPlan, AlertRow, AlertStats, QueryPlan, ResultRow } from "../messages.ts";
import { alertRow } from "./alert-row.ts";
import { KeyHistory, type SavedHistory, type Told } from "./key-history.ts";
import type { Sample } from "./machine.ts";
import { PhaseCounts } from "./phase-counts.ts";
import type { StandingAlert } from "./standing.ts";

/** An alert over a query's results: each row is a sample of its key, each revision judges that sample again. */
export class QueryAlert {
  plan: AlertPlan;
  readonly #core: CoreModule;
  #latenessUs: number;
  /** Rows of counts and of single events are final, and differ by their revision where their times do not. */
  readonly #isRevised: boolean;
  readonly #when: RowProgram;
  readonly #clear: RowProgram | null;
  readonly #histories = new Map<string, KeyHistory>();
  readonly #counts = new PhaseCounts();
  #ignoredRevisions = 0;

  constructor(core: CoreModule, plan: AlertPlan, query: QueryPlan) {
    this.#core = core;
    this.plan = plan;
    this.#latenessUs = query.latenessUs;
    this.#isRevised = query.window.kind !== "count" && query.window.kind !== "none";
    this.#when = createRowProgram(core, plan.when);
    this.#clear = plan.clear === null ? null : createRowProgram(core, plan.clear);
  }

  /** Takes over what may change beside the definition. */
  adopt(plan: AlertPlan, query: QueryPlan): this {
    this.plan = plan;
    this.#latenessUs = query.latenessUs;
    return this;
  }

  /** What rows that fired together make of it. Early results are no samples: they are not the last word on anything. */
  take(rows: readonly ResultRow[], watermarkUs: bigint): AlertRow[] {
    const samples = rows.filter((row) => row.kind !== "early" || row.retracted);
    if (samples.length === 0) return [];
    const isTrue = evaluate(this.#core, this.#when, samples);
    const isClear = this.#clear === null ? null : evaluate(this.#core, this.#clear, samples);
    // What comes of it must not depend on the order in which rows that fire together are given.
    const order = [...samples.keys()].sort((a, b) => {
      const [one, other] = [samples[a]!, samples[b]!];
      if (one.endUs !== other.endUs) return one.endUs - other.endUs;
      if (one.startUs !== other.startUs) return one.startUs - other.startUs;
      return one.key === other.key ? one.revision - other.revision : one.key < other.key ? -1 : 1;
    });
    const out: AlertRow[] = [];
    for (const index of order) {
      const row = samples[index]!;
      const sample: Sample = {
        startUs: row.startUs,
        endUs: row.endUs,
        origin: this.#isRevised ? String(row.endUs) : `${row.endUs}.${row.revision}`,
        isTrue: isTrue[index] === 1,
        isClear: isTrue[index] !== 1 && (isClear === null || isClear[index] === 1),
        value: row.values,
      };
      this.#judge(row, sample, watermarkUs, out);
    }
    return out;
  }

  /** Samples of windows that will be retracted are not settled before they are. */
  keepOpen(windows: readonly WindowOfKey[]): void {
    for (const window of windows) this.#histories.get(window.key)?.keepOpen(window);
  }

  /** Revised results whose windows are closed. */
  ignoreRevisions(count: number): void {
    this.#ignoredRevisions += count;
  }

  stats(): AlertStats {
    return { alert: this.plan.name, ...this.#counts.counts, ignoredRevisions: this.#ignoredRevisions };
  }

  /** Equal histories give equal texts. */
  save(watermarkUs: bigint): string {
    const beforeUs = this.#settledBefore(watermarkUs);
    const saved: [string, SavedHistory][] = [];
    for (const [key, history] of this.#histories) {
      history.settle(beforeUs);
      if (history.isEmpty) this.#histories.delete(key);
      else saved.push([key, history.save()]);
    }
    return JSON.stringify(saved.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  restore(text: string): void {
    for (const [key, saved] of JSON.parse(text) as [string, SavedHistory][]) {
      const history = new KeyHistory(this.plan.for);
      history.restore(saved);
      this.#histories.set(key, history);
      this.#counts.move("idle", history.phase);
    }
  }

  /** Stands as it was told, whatever the samples that are left make of it. */
  standAs(standing: readonly StandingAlert[]): void {
    const byKey = new Map(standing.map((each) => [each.key, each]));
    for (const key of new Set([...this.#histories.keys(), ...byKey.keys()])) {
      const history = this.#histories.get(key) ?? new KeyHistory(this.plan.for);
      const before = history.phase;
      history.standAs(byKey.get(key));
      this.#counts.move(before, history.phase);
      this.#histories.set(key, history);
    }
  }

  dispose(): void {
    this.#when.dispose();
    this.#clear?.dispose();
  }

  #judge(row: ResultRow, sample: Sample, watermarkUs: bigint, out: AlertRow[]): void {
    let history = this.#histories.get(row.key);
    if (history === undefined) {
      history = new KeyHistory(this.plan.for);
      this.#histories.set(row.key, history);
    }
    const before = history.phase;
    const told = this.#isRevised ? takeRevised(history, row, sample) : takeFinal(history, row, sample);
    if (told === null) this.#ignoredRevisions++;
    for (const each of told ?? []) out.push(alertRow(this.plan, row.key, each));
    // Rows that fire together come by their ends: those behind this one may revise what the watermark has closed since.
    const mayBeRevised = this.#isRevised && this.#latenessUs > 0;
    const closedUs = this.#settledBefore(watermarkUs);
    history.settle(mayBeRevised ? Math.min(closedUs, row.endUs - 1) : closedUs);
    this.#counts.move(before, history.phase);
    if (history.isEmpty) this.#histories.delete(row.key);
  }

  /** Windows that end at or before it are revised no more. */
  #settledBefore(watermarkUs: bigint): number {
    return Number(watermarkUs) - this.#latenessUs;
  }
}

function takeRevised(history: KeyHistory, row: ResultRow, sample: Sample): Told[] | null {
  return row.retracted ? history.remove(sample) : history.put(sample);
}

function takeFinal(history: KeyHistory, row: ResultRow, sample: Sample): Told[] {
  return row.retracted ? [] : history.append(sample);
}
