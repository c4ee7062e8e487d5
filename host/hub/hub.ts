import type { Logger } from "pino";
import { placeOf } from "../../workers/hub/postgres/connection.ts";
import { serveNode } from "../api/serve.ts";
import { createLog } from "../observe/log.ts";
import { ConfigRegistry } from "./configs/config-registry.ts";
import { RolloutTimer } from "./configs/rollout-timer.ts";
import { isLoopback } from "./edge-guard.ts";
import { createHubApp } from "./hub-app.ts";
import type { HubConfig } from "./hub-config.ts";
import { createHubMetrics, type HubMetrics } from "./hub-metrics.ts";
import type { HubStore } from "./hub-store.ts";
import { HubUpkeep } from "./hub-upkeep.ts";
import { JetStreamIntake } from "./jetstream-intake.ts";
import { PostgresHubStore } from "./postgres-hub-store.ts";
import type { RecordStore } from "./record-store.ts";
import { SqliteHubStore } from "./sqlite-hub-store.ts";
import { rulesFor } from "./store-config.ts";

export interface RunningHub {
  readonly url: string;
  /** Takes nothing new, lets what is under way end. */
  close(): Promise<void>;
}

/** Starts a hub: its store first, the door to the outside last. */
export async function startHub(config: HubConfig): Promise<RunningHub> {
  const log = createLog();
  const store = await openStore(config, log);
  const metrics = createHubMetrics(config.limits);
  const configs = new ConfigRegistry(store, () => Date.now() * 1_000);
  const app = createHubApp({ config, store, metrics, log, configs });
  try {
    const { listen } = config;
    const server = await serveNode({
      app: () => Promise.resolve(app),
      listen,
      maxConnections: config.limits.maxConnections,
      metrics,
      log,
    });
    const { maxBatchBytes, maxParked: batches, maxParkedBytes: bytes, maxStreamWaitMs } = config.limits;
    metrics.watchParked(() => store.parkedTotals());
    const intake =
      config.nats === null
        ? null
        : new JetStreamIntake({
            config: config.nats,
            maxBatchBytes,
            parkedLimits: { batches, bytes },
            maxStreamWaitMs,
            store,
            metrics,
            log,
          });
    if (config.tokens === null) {
      const advice = isLoopback(listen.host) || listen.host === "localhost" ? "" : "; set tokens: for others";
      log.warn(`no tokens are set: edges of this machine alone are let in, without one${advice}`);
    }
    const upkeep = store instanceof SqliteHubStore ? startUpkeep(config, store, metrics, log) : null;
    const rollouts = new RolloutTimer(configs, log);
    log.info({ url: server.url, store: placeOfStore(config) }, "listening");
    return {
      url: server.url,
      close: async () => {
        await Promise.all([server.close(), intake?.close()]);
        await Promise.all([rollouts.close(), upkeep?.close()]);
        await store.close();
        log.info("stopped");
      },
    };
  } catch (cause) {
    await store.close();
    throw cause;
  }
}

function openStore({ dataDir, store, limits: all }: HubConfig, log: Logger): Promise<HubStore & RecordStore> {
  const { maxBlockBytes, maxClockAheadMs, maxAttributes, ...limits } = all;
  const attributes = { maxClockAheadMs, maxAttributes };
  if (store.kind === "sqlite") return SqliteHubStore.open(dataDir, { limits, maxBlockBytes, attributes });
  const { url, retentionUs } = store;
  const onFailure = (err: unknown): void =>
    log.warn({ err }, "the upkeep of the store failed and will be tried again");
  return PostgresHubStore.open({ url, retentionUs, limits, maxBlockBytes, attributes, onFailure });
}

function startUpkeep(
  { dataDir, store: settings }: HubConfig,
  store: SqliteHubStore,
  { registry }: HubMetrics,
  log: Logger,
): HubUpkeep | null {
  if (settings.kind !== "sqlite") return null;
  const rules = rulesFor(dataDir, settings.rules);
  return new HubUpkeep({ rules, tend: (task) => store.tend(task), registry, log });
}

function placeOfStore({ dataDir, store }: HubConfig): string {
  return store.kind === "sqlite" ? dataDir : `PostgreSQL at ${placeOf(store.url)}`;
}
