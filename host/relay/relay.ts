import type { Logger } from "pino";
import type { RelayedEdge } from "../../workers/store/relay-operations.ts";
import type { Config } from "../config/config.ts";
import type { RelayConfig } from "../config/relay-config.ts";
import type { SyncConfig } from "../config/sync-config.ts";
import { DEFAULT_HUB_LIMITS } from "../hub/hub-config.ts";
import type { Clock } from "../pipeline/clock.ts";
import type { StorageClient } from "../store/storage-client.ts";
import { edgeName } from "../sync/edge-name.ts";
import type { Sync } from "../sync/sync.ts";
import { type ForwarderStatus, RelayForwarder } from "./relay-forwarder.ts";
import { RelayInbox } from "./relay-inbox.ts";
import { RelayedConfigs } from "./relayed-configs.ts";

export interface RelayParts {
  readonly config: Config;
  readonly relay: RelayConfig;
  readonly storage: StorageClient;
  readonly sync: Sync;
  /** As it is at the moment. */
  readonly settings: () => SyncConfig;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface RelayStatus extends ForwarderStatus {
  readonly capBytes: number;
  readonly edges: readonly RelayedEdge[];
}

/** A node's part as the hub of other edges: takes what they send, holds it, and sends it on. */
export class Relay {
  readonly name: string;
  readonly config: RelayConfig;
  readonly limits = DEFAULT_HUB_LIMITS;
  readonly inbox: RelayInbox;
  readonly configs: RelayedConfigs;
  readonly #forwarder: RelayForwarder;
  readonly #storage: StorageClient;
  readonly #hub: NonNullable<Sync["hub"]>;

  private constructor(parts: RelayParts, hub: NonNullable<Sync["hub"]>) {
    const { config, relay, storage, sync, settings, clock, log } = parts;
    this.name = edgeName(config);
    this.#hub = hub;
    this.config = relay;
    this.#storage = storage;
    this.#forwarder = new RelayForwarder({
      config: settings,
      next: (task) => storage.nextRelayed(task),
      settle: (outcomes) => storage.settleRelayed(outcomes),
      deliver: (batch, signal) => hub.forward(batch, signal),
      probe: (signal) => hub.probe(signal),
      clock,
      log,
    });
    this.inbox = new RelayInbox({
      capBytes: relay.capBytes,
      limits: this.limits,
      inspect: (task) => sync.inspect(task),
      store: (task) => storage.storeRelayed(task),
      nowUs: () => clock.nowUs(),
      onStored: () => this.#forwarder.wake(),
    });
    this.configs = new RelayedConfigs({ name: this.name, settings, storage, log });
  }

  /** null: there is no hub to send to. */
  static async start(parts: RelayParts): Promise<Relay | null> {
    const { hub } = parts.sync;
    if (hub === null) return null;
    await parts.storage.openRelay();
    const relay = new Relay(parts, hub);
    relay.#forwarder.wake();
    relay.configs.start();
    return relay;
  }

  /** The latest version of batches that the hub behind reads, as far as it is known. */
  get batchVersion(): number {
    return this.#hub.batchVersion;
  }

  reconfigure(): void {
    this.#forwarder.reconfigure();
  }

  /** What was set aside is sent again. @returns how many batches */
  async replayParked(): Promise<number> {
    const count = await this.#storage.unparkRelayed();
    this.#forwarder.wake();
    return count;
  }

  async status(): Promise<RelayStatus> {
    const edges = await this.#storage.relayedEdges();
    return { ...this.#forwarder.status(), capBytes: this.config.capBytes, edges };
  }

  async close(): Promise<void> {
    await this.configs.close();
    await this.#forwarder.close();
  }
}
