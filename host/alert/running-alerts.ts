import type { AlertPlan, AlertRow, AlertStats, AlertWebhooks } from "../../workers/messages.ts";
import type { AlertConfig } from "../config/alert.ts";

export type AlertListener = (rows: readonly AlertRow[]) => void;

/** One alert and how many keys are where. */
export interface AlertCounts extends Omit<AlertStats, "alert"> {
  readonly config: AlertConfig;
}

/** The alerts as the main thread knows them. */
export class RunningAlerts {
  #configs: ReadonlyMap<string, AlertConfig>;
  readonly #stats = new Map<string, AlertStats>();
  readonly #listeners = new Set<AlertListener>();
  webhooks: readonly AlertWebhooks[];
  /** Steps since the start, those of a replay among them. */
  steps = 0;

  constructor(configs: ReadonlyMap<string, AlertConfig>) {
    this.#configs = configs;
    this.webhooks = webhooksOf(configs);
  }

  /** Other alerts are in force. Steps of those before may still be on their way: they go where they would have gone. */
  replace(configs: ReadonlyMap<string, AlertConfig>): void {
    this.#configs = configs;
    const leaving = this.webhooks.filter(({ alert }) => !configs.has(alert));
    this.webhooks = [...webhooksOf(configs), ...leaving];
    for (const name of [...this.#stats.keys()]) if (!configs.has(name)) this.#stats.delete(name);
  }

  /** Everything up to the last `replace` is durable. */
  settle(): void {
    this.webhooks = webhooksOf(this.#configs);
  }

  get definitions(): readonly AlertPlan["definition"][] {
    return [...this.#configs.values()].map(({ definition }) => definition);
  }

  counts(): readonly AlertCounts[] {
    return [...this.#configs.values()].map((config) => {
      const { pending = 0, firing = 0, ignoredRevisions = 0 } = this.#stats.get(config.name) ?? {};
      return { config, pending, firing, ignoredRevisions };
    });
  }

  remember(stats: readonly AlertStats[]): void {
    for (const each of stats) this.#stats.set(each.alert, each);
  }

  /** Steps, durable now, for those who listen. */
  publish(rows: readonly AlertRow[]): void {
    this.steps += rows.length;
    for (const listener of this.#listeners) listener(rows);
  }

  subscribe(listener: AlertListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

function webhooksOf(configs: ReadonlyMap<string, AlertConfig>): AlertWebhooks[] {
  return [...configs.values()].map(({ name, webhooks }) => ({ alert: name, urls: webhooks }));
}
