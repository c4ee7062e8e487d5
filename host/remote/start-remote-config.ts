import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import type { Clock } from "../pipeline/clock.ts";
import type { Engine } from "../pipeline/engine.ts";
import type { Reloader } from "../pipeline/reloader.ts";
import type { StorageClient } from "../store/storage-client.ts";
import { edgeName } from "../sync/edge-name.ts";
import { ConfigClient } from "./config-client.ts";
import type { HealthSample } from "./health.ts";
import { RemoteConfig } from "./remote-config.ts";
import { RemoteStateRecord } from "./remote-state.ts";

export interface StartParts {
  readonly config: Config;
  readonly record: RemoteStateRecord;
  readonly engine: Engine;
  readonly reloader: Reloader;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The state of a node whose configuration comes from its hub; null: it is the node's own. */
export async function openRemoteState(
  { sync }: Config,
  storage: StorageClient,
): Promise<RemoteStateRecord | null> {
  return sync?.remote == null ? null : RemoteStateRecord.open(storage);
}

export function startRemoteConfig({
  config,
  record,
  engine,
  reloader,
  clock,
  log,
}: StartParts): RemoteConfig | null {
  const { sync } = config;
  if (sync?.remote == null || sync.url === null) return null;
  const { url: own } = sync;
  const edge = edgeName(config);
  const address = () => {
    // As it is at the moment: it may change while the node runs.
    const { url, token, timeoutMs } = engine.config().sync ?? sync;
    return { url: url ?? own, token, timeoutMs };
  };
  return new RemoteConfig({
    edge,
    settings: sync.remote,
    record,
    hub: new ConfigClient(edge, address),
    reloader,
    health: () => healthOf(engine),
    clock,
    log,
  });
}

function healthOf(engine: Engine): Omit<HealthSample, "atMs" | "reachedMs"> {
  const { isReady, state } = engine.status();
  let [accepted, bad] = [0, 0];
  for (const stream of engine.streams()) {
    accepted += stream.accepted;
    bad += stream.deadLettered;
  }
  return { isReady, accepted, bad, stateBytes: state.bytes, maxStateBytes: state.maxBytes };
}
