import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { openPublisher, startBridge } from "./jetstream-bridge.ts";
import { NatsServer, withoutNats } from "./nats-server.ts";
import { PostgresServer, withoutPostgres } from "./postgres.ts";
import type { Cleanup } from "./temp-dir.ts";

/** Where the hub of a run keeps what it takes: `MILLRACE_HUB_STORE`. */
export const HUB_STORE = process.env.MILLRACE_HUB_STORE ?? "sqlite";

/** What a run kills and starts again beside the nodes. */
export interface Killable {
  kill(signal: NodeJS.Signals): Promise<unknown>;
  start(): Promise<void>;
}

export interface HubDatabase {
  /** The hub's configuration; null: none. */
  readonly config: string | null;
  readonly killable: readonly Killable[];
  /** Where edges send to; null: to the hub itself. */
  readonly front: string | null;
  /** Waits until what edges have delivered is stored. */
  settled(): Promise<void>;
}

export async function startHubDatabase(cleanup: Cleanup, store = HUB_STORE): Promise<HubDatabase> {
  const settled = (): Promise<void> => Promise.resolve();
  if (store === "sqlite") return { config: null, killable: [], front: null, settled };
  const server = await PostgresServer.start(cleanup);
  const killable = { kill: () => server.kill(), start: () => server.start() };
  const config = `store: { postgres: "${server.url()}" }\n`;
  if (store === "postgres") return { config, killable: [killable], front: null, settled };
  const nats = await NatsServer.start(cleanup);
  const front = await startBridge(await openPublisher(nats.url, cleanup), cleanup);
  return {
    config: `${config}nats: { url: "${nats.url}" }\n`,
    killable: [killable, { kill: () => nats.kill(), start: () => nats.start() }],
    front,
    settled: () => consumed(nats.url),
  };
}

/** Why a run with this store cannot be here, or false. */
export function withoutHubDatabase(store = HUB_STORE): string | false {
  if (store === "sqlite") return false;
  return withoutPostgres() || (store === "jetstream" && withoutNats());
}

/** Waits until the group has acknowledged every message. */
async function consumed(url: string): Promise<void> {
  const connection = await connect({ servers: url });
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false });
    for (;;) {
      const { num_pending, num_ack_pending } = await manager.consumers.info("MILLRACE", "millrace-hub");
      if (num_pending + num_ack_pending === 0) return;
      await sleep(100);
    }
  } finally {
    await connection.close();
  }
}
