import { placeOf } from "../../workers/hub/postgres/connection.ts";
import { serveNode } from "../api/serve.ts";
import { createLog } from "../observe/log.ts";
import { isLoopback } from "./edge-guard.ts";
import { createHubApp } from "./hub-app.ts";
import type { HubConfig } from "./hub-config.ts";
import { createHubMetrics } from "./hub-metrics.ts";
import type { HubStore } from "./hub-store.ts";
import { PostgresHubStore } from "./postgres-hub-store.ts";
import { SqliteHubStore } from "./sqlite-hub-store.ts";

export interface RunningHub {
  readonly url: string;
  /** Takes nothing new, lets what is under way end. */
  close(): Promise<void>;
}

/** Starts a hub: its store first, the door to the outside last. */
export async function startHub(config: HubConfig): Promise<RunningHub> {
  const log = createLog();
  const store = await openStore(config);
  const metrics = createHubMetrics(config.limits);
  const app = createHubApp({ config, store, metrics, log });
  try {
    const { listen } = config;
    const server = await serveNode({ app, listen, maxConnections: config.limits.maxConnections, metrics });
    if (config.tokens === null) {
      const advice = isLoopback(listen.host) || listen.host === "localhost" ? "" : "; set tokens: for others";
      log.warn(`no tokens are set: edges of this machine alone are let in, without one${advice}`);
    }
    log.info({ url: server.url, store: placeOfStore(config) }, "listening");
    return {
      url: server.url,
      close: async () => {
        await server.close();
        await store.close();
        log.info("stopped");
      },
    };
  } catch (cause) {
    await store.close();
    throw cause;
  }
}

function openStore({ dataDir, store, limits: all }: HubConfig): Promise<HubStore> {
  const { maxBlockBytes, ...limits } = all;
  if (store.kind === "sqlite") return SqliteHubStore.open(dataDir, { limits, maxBlockBytes });
  const { url, retentionUs } = store;
  return PostgresHubStore.open({ url, retentionUs, limits, maxBlockBytes });
}

function placeOfStore({ dataDir, store }: HubConfig): string {
  return store.kind === "sqlite" ? dataDir : `PostgreSQL at ${placeOf(store.url)}`;
}
