import { serveNode } from "../api/serve.ts";
import { createLog } from "../observe/log.ts";
import { ConfigRegistry } from "./configs/config-registry.ts";
import { RolloutTimer } from "./configs/rollout-timer.ts";
import { isLoopback } from "./edge-guard.ts";
import { createHubApp } from "./hub-app.ts";
import type { HubConfig } from "./hub-config.ts";
import { createHubMetrics } from "./hub-metrics.ts";
import { SqliteHubStore } from "./sqlite-hub-store.ts";

export interface RunningHub {
  readonly url: string;
  /** Takes nothing new, lets what is under way end. */
  close(): Promise<void>;
}

/** Starts a hub: its store first, the door to the outside last. */
export async function startHub(config: HubConfig): Promise<RunningHub> {
  const log = createLog();
  const { maxBlockBytes, ...limits } = config.limits;
  const store = await SqliteHubStore.open(config.dataDir, { limits, maxBlockBytes });
  const metrics = createHubMetrics(config.limits);
  const configs = new ConfigRegistry(store, () => Date.now() * 1_000);
  const app = createHubApp({ config, store, metrics, log, configs });
  try {
    const { listen } = config;
    const server = await serveNode({ app, listen, maxConnections: config.limits.maxConnections, metrics });
    if (config.tokens === null) {
      const advice = isLoopback(listen.host) || listen.host === "localhost" ? "" : "; set tokens: for others";
      log.warn(`no tokens are set: edges of this machine alone are let in, without one${advice}`);
    }
    const rollouts = new RolloutTimer(configs, log);
    log.info({ url: server.url, data: config.dataDir }, "listening");
    return {
      url: server.url,
      close: async () => {
        await server.close();
        await rollouts.close();
        await store.close();
        log.info("stopped");
      },
    };
  } catch (cause) {
    await store.close();
    throw cause;
  }
}
