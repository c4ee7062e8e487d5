import type { CoreModule } from "../core/module.ts";
import type { WindowOfKey } from "../core/window.ts";
import type { AlertPlan, AlertRow, AlertStats, QueryPlan, ResultRow } from "../messages.ts";
import { EventAlert } from "./event-alert.ts";
import { partialIdOf } from "./event-rows.ts";
import { QueryAlert } from "./query-alert.ts";
import type { StandingAlert } from "./standing.ts";

/** Alerts' state among that of queries in a checkpoint: no query has such a name. */
const SAVED_PREFIX = "alert:";

export interface SavedPart {
  readonly name: string;
  readonly signature: string;
  readonly state: Uint8Array;
}

/** The alerts over one stream's events and over its queries' results. */
export class StreamAlerts {
  readonly #core: CoreModule;
  #ofQueries: QueryAlert[] = [];
  #ofEvents: EventAlert[] = [];

  constructor(core: CoreModule) {
    this.#core = core;
  }

  /** Makes alerts known; one whose definition is as it was keeps its state. */
  configure(plans: readonly AlertPlan[], queries: readonly QueryPlan[]): void {
    const before = [...this.#ofQueries, ...this.#ofEvents];
    const known = <T extends QueryAlert | EventAlert>(alerts: readonly T[], plan: AlertPlan): T | undefined =>
      alerts.find((alert) => alert.plan.definition === plan.definition);
    const [ofQueries, ofEvents] = [this.#ofQueries, this.#ofEvents];
    this.#ofQueries = plans.flatMap((plan) => {
      const query = queries.find(({ name }) => plan.from.kind === "query" && name === plan.from.name);
      return query === undefined
        ? []
        : [known(ofQueries, plan)?.adopt(plan, query) ?? new QueryAlert(this.#core, plan, query)];
    });
    this.#ofEvents = plans
      .filter(({ from }) => from.kind === "stream")
      .map((plan) => known(ofEvents, plan)?.adopt(plan) ?? new EventAlert(this.#core, plan));
    const after: readonly (QueryAlert | EventAlert)[] = [...this.#ofQueries, ...this.#ofEvents];
    for (const alert of before) if (!after.includes(alert)) alert.dispose();
  }

  /** What a block's partial makes of it; one that is no alert's is passed over. */
  takeEvents(partialId: number, bytes: Uint8Array<ArrayBuffer>, seq: number, out: AlertRow[]): void {
    const alert = this.#ofEvents.find(({ plan }) => partialIdOf(plan) === partialId);
    if (alert !== undefined) for (const row of alert.take(bytes, seq)) out.push(row);
  }

  areOver(query: string): boolean {
    return this.#ofQueries.some(({ plan }) => plan.from.name === query);
  }

  /** Rows that fired together, or some of them where those of a key come in the order of their windows. */
  takeResults(query: string, rows: readonly ResultRow[], watermarkUs: bigint, out: AlertRow[]): void {
    if (rows.length === 0) return;
    for (const alert of this.#ofQueries)
      if (alert.plan.from.name === query) for (const row of alert.take(rows, watermarkUs)) out.push(row);
  }

  /** Windows whose results stand and will be retracted; to be called before the rows that fire then are taken. */
  keepOpen(query: string, windows: readonly WindowOfKey[]): void {
    if (windows.length === 0) return;
    for (const alert of this.#ofQueries) if (alert.plan.from.name === query) alert.keepOpen(windows);
  }

  /** Results that were revised after all of them had been judged. */
  ignoreRevisions(query: string, count: number): void {
    for (const alert of this.#ofQueries) if (alert.plan.from.name === query) alert.ignoreRevisions(count);
  }

  /** Each stands as it was told; of those that are not among them nothing is open. */
  standAs(standing: readonly StandingAlert[]): void {
    for (const alert of [...this.#ofQueries, ...this.#ofEvents])
      alert.standAs(standing.filter(({ definition }) => definition === alert.plan.definition));
  }

  stats(): AlertStats[] {
    return [...this.#ofQueries, ...this.#ofEvents].map((alert) => alert.stats());
  }

  save(watermarkUs: bigint): SavedPart[] {
    return [...this.#ofQueries, ...this.#ofEvents].map((alert) => ({
      name: SAVED_PREFIX + alert.plan.name,
      signature: alert.plan.definition,
      state: Buffer.from(alert.save(watermarkUs)),
    }));
  }

  /** An alert whose definition changed starts anew. */
  restore(parts: readonly SavedPart[]): void {
    for (const alert of [...this.#ofQueries, ...this.#ofEvents]) {
      const saved = parts.find(({ name }) => name === SAVED_PREFIX + alert.plan.name);
      if (saved?.signature === alert.plan.definition) alert.restore(Buffer.from(saved.state).toString());
    }
  }
}
