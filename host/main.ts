import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import type { MasterKeys } from "../workers/seal/master-key.ts";
import { createEntrance } from "./api/entrance.ts";
import { serveNode } from "./api/serve.ts";
import { DeviceRegistry } from "./attributes/device-registry.ts";
import { bufferSettings } from "./config/buffer.ts";
import type { Config, StreamConfig } from "./config/config.ts";
import { ConfigSource } from "./config/source.ts";
import { Encryption } from "./encryption/encryption.ts";
import { loadKeys } from "./encryption/load-keys.ts";
import { registerAttributes } from "./observe/attribute-metrics.ts";
import { createLog } from "./observe/log.ts";
import { createMetrics } from "./observe/metrics.ts";
import { registerRelay } from "./observe/relay-metrics.ts";
import { registerRemoteConfig } from "./observe/remote-config-metrics.ts";
import { registerSync } from "./observe/sync-metrics.ts";
import { BufferWatch } from "./pipeline/buffer-watch.ts";
import { systemClock } from "./pipeline/clock.ts";
import { Compactor } from "./pipeline/compactor.ts";
import { readQuerySet } from "./pipeline/query-set.ts";
import { configAtStart, Reloader, tablesInForce } from "./pipeline/reloader.ts";
import { setAsideDamaged } from "./pipeline/set-aside.ts";
import { Stages } from "./pipeline/stages.ts";
import { startEngine } from "./pipeline/start-engine.ts";
import { QueryClient, type SkippedBlocks } from "./query/query-client.ts";
import { Relay } from "./relay/relay.ts";
import { beginLife } from "./remote/begin-life.ts";
import { openRemoteState, startRemoteConfig } from "./remote/start-remote-config.ts";
import { isDamage, openStore, salvageStore } from "./store/open-store.ts";
import type { StorageClient } from "./store/storage-client.ts";
import { openSync, Sync } from "./sync/sync.ts";

/** A node that takes events. */
export interface RunningNode {
  readonly url: string;
  /** Reads the configuration's file again. The log says what came of it. */
  reload(): Promise<void>;
  /** Stops taking input, drains, checkpoints. */
  close(): Promise<void>;
  /** Resolves with the cause when the node cannot go on: what was acknowledged is safe, a restart recovers. */
  readonly failed: Promise<unknown>;
}

/**
 * Starts a node, its parts in the order of an event's journey backwards: the store first, so that windows can be
 * recovered from it, then the pipeline, then the readers, and the door to the outside last.
 */
export async function main(ofFile: Config, source = new ConfigSource(null, {})): Promise<RunningNode> {
  const log = createLog();
  const masters = ofFile.encryption === undefined ? null : await loadKeys(ofFile.encryption);
  try {
    return await startParts(ofFile, masters, source, log);
  } catch (cause) {
    // Found only where the log was read. Once: a second time, trying on would not help.
    if (!isDamage(cause)) throw cause;
    await salvageStore(ofFile.dataDir, masters, log, cause);
    return startParts(ofFile, masters, source, log);
  }
}

async function startParts(
  ofFile: Config,
  masters: MasterKeys | null,
  source: ConfigSource,
  log: Logger,
): Promise<RunningNode> {
  const storage = await openStore(ofFile.dataDir, masters, log);
  const encryption = new Encryption(masters, storage, log);
  const newest = storage.recovered.configs?.newest ?? null;
  const put = await tablesInForce(storage, newest);
  const { config, origin, remoteState } = await closeOnFailure(storage, async () => {
    const remoteState = await openRemoteState(ofFile, storage);
    const stored = newest === null ? null : readQuerySet(newest).origin;
    const instead =
      remoteState === null ? null : await beginLife(remoteState, stored, systemClock.nowUs(), log);
    return { ...configAtStart(source, ofFile, newest, put, log, instead), remoteState };
  });
  // The cap holds from the first write on: a replay may write as much as it took to fill the buffer.
  await closeOnFailure(storage, () => storage.limitBuffer(bufferSettings(config)));
  const books = await openSync(storage, config);
  const { promise: failed, resolve: onFatal } = Promise.withResolvers<unknown>();
  const stages = new Stages();
  const engine = await startEngine({
    config,
    stages,
    origin,
    storage,
    masters: encryption.masters,
    clock: systemClock,
    log,
    onFatal,
  });
  const onSkipped = (blocks: SkippedBlocks): void => {
    log.error({ blocks }, "blocks could not be read and were left out; the rest was served");
    for (const place of ["log", "late"] as const) {
      const seqs = blocks.filter(({ where }) => where === place).map(({ seq }) => seq);
      setAsideDamaged(storage, log, place, seqs).catch((cause: unknown) =>
        log.error(
          { err: cause, seqs },
          "damaged blocks could not be set aside; `millrace doctor --repair` does it too",
        ),
      );
    }
  };
  const reads = new QueryClient(config.dataDir, onSkipped, masters);
  encryption.addReader(reads);
  const streams = (): StreamConfig[] => engine.streams().map((stream) => stream.config);
  const sync =
    config.sync == null
      ? null
      : await Sync.start(
          { config, sync: config.sync, storage, masters, clock: systemClock, log, streams },
          books,
        );
  if (sync !== null) encryption.addReader(sync);
  let inUse = config.sync;
  const relay =
    sync === null || config.relay == null || config.sync == null
      ? null
      : await Relay.start({
          config,
          relay: config.relay,
          storage,
          sync,
          settings: () => inUse ?? config.sync!,
          clock: systemClock,
          log,
        });
  engine.subscribeAlerts(() => sync?.wake());
  encryption.start();
  const buffer = await BufferWatch.start({ storage, engine, clock: systemClock, log });
  const compactor = new Compactor(storage, engine, log);
  const reloader = new Reloader(source, engine, log, encryption, origin);
  reloader.onChanged = ({ sync: next }) => {
    const isOther = next != null && !isDeepStrictEqual(next, inUse);
    inUse = next;
    if (!isOther) return;
    sync?.reconfigure(next);
    relay?.reconfigure();
  };
  const metrics = createMetrics({ config, engine, reloader, buffer, encryption });
  if (sync !== null) registerSync(metrics.registry, sync);
  const remote =
    remoteState === null
      ? null
      : startRemoteConfig({ config, record: remoteState, engine, reloader, clock: systemClock, log });
  if (remote !== null) registerRemoteConfig(metrics.registry, () => remote.status());
  const relayMetrics = relay === null ? null : registerRelay(metrics.registry, relay);
  const devices = new DeviceRegistry({ storage, limits: config.limits, onSet: () => sync?.wake() });
  registerAttributes(metrics.registry, devices, sync);
  const parts = {
    config,
    stages,
    devices,
    engine,
    reads,
    log,
    metrics,
    reloader,
    buffer,
    encryption,
    sync,
    relay,
    remote: () => remote?.status() ?? null,
  };
  const { app, door, express } = createEntrance(parts, async (whole) => {
    if (relay === null || relayMetrics === null) return;
    const { addRelayRoutes } = await import("./relay/relay-routes.ts");
    addRelayRoutes(whole, relay, relayMetrics, log);
  });
  const server = await serveNode({
    app,
    door,
    log,
    express,
    listen: config.listen,
    maxConnections: config.limits.maxConnections,
    metrics,
  });
  stages.openDoor();
  log.info({ url: server.url, node: config.node.id, data: config.dataDir }, "listening");
  return {
    url: server.url,
    failed,
    reload: async () => {
      await reloader.fromFile().catch(() => undefined);
    },
    close: async () => {
      await remote?.close();
      await server.close();
      await compactor.close();
      await buffer.close();
      await relay?.close();
      await sync?.close();
      await encryption.close();
      await reads.close();
      await engine.close();
      log.info("stopped");
    },
  };
}

async function closeOnFailure<T>(storage: StorageClient, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    await storage.close();
    throw cause;
  }
}
