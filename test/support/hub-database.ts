import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager, RetentionPolicy } from "@nats-io/jetstream";
import { connect, nanos } from "@nats-io/transport-node";
import { NatsServer, withoutNats } from "./nats-server.ts";
import { PostgresServer, withoutPostgres } from "./postgres.ts";
import type { Cleanup } from "./temp-dir.ts";

/** Where the hub of a run keeps what it takes: `MILLRACE_HUB_STORE`. */
export const HUB_STORE = process.env.MILLRACE_HUB_STORE ?? "sqlite";

/** What a run kills and starts again beside the nodes. */
export interface Killable {
  readonly name: string;
  kill(): Promise<void>;
  start(): Promise<void>;
}

export interface HubDatabase {
  /** The hub's configuration; null: none. */
  readonly config: string | null;
  readonly killable: readonly Killable[];
  /** Where edges may publish to in the hub's stead; null: nowhere. */
  readonly nats: string | null;
  /** Waits until what edges have delivered is stored. */
  settled(): Promise<void>;
}

/** So short that what an edge publishes again after a while is in the stream twice, and the hub must know it. */
const DUPLICATE_WINDOW_MS = 200;

/** So short that hubs make the consumer anew in the midst of everything, too. */
const JETSTREAM_LIMITS = "limits: { maxStreamWait: 10s }";

const SETTLE_TIMEOUT_MS = 300_000;

export async function startHubDatabase(cleanup: Cleanup, store = HUB_STORE): Promise<HubDatabase> {
  const settled = (): Promise<void> => Promise.resolve();
  if (store === "sqlite") return { config: null, killable: [], nats: null, settled };
  const server = await PostgresServer.start(cleanup);
  const killable = { name: "postgres", kill: () => server.kill(), start: () => server.start() };
  const config = `store: { postgres: "${server.url()}" }\n`;
  if (store === "postgres") return { config, killable: [killable], nats: null, settled };
  const nats = await NatsServer.start(cleanup);
  await makeStream(nats.url);
  return {
    config: `${config}nats: { url: "${nats.url}" }\n${JETSTREAM_LIMITS}\n`,
    killable: [killable, { name: "nats", kill: () => nats.kill(), start: () => nats.start() }],
    nats: nats.url,
    settled: () => consumed(nats.url),
  };
}

/** Why a run with this store cannot be here, or false. */
export function withoutHubDatabase(store = HUB_STORE): string | false {
  if (store === "sqlite") return false;
  return withoutPostgres() || (store === "jetstream" && withoutNats());
}

async function makeStream(url: string): Promise<void> {
  const connection = await connect({ servers: url });
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false });
    await manager.streams.add({
      name: "MILLRACE",
      subjects: ["millrace.sync.>"],
      retention: RetentionPolicy.Workqueue,
      duplicate_window: nanos(DUPLICATE_WINDOW_MS),
    });
  } finally {
    await connection.close();
  }
}

/**
 * Waits until the stream is empty and its consumer waits for nothing: a server that was killed may take messages for acknowledged
 * that are still there, and wait for the acknowledgement of some that are not.
 */
async function consumed(url: string): Promise<void> {
  const connection = await connect({ servers: url });
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const deadline = performance.now() + SETTLE_TIMEOUT_MS;
    for (;;) {
      // Between a hub's deleting the consumer and making it anew there is none.
      const info = await manager.consumers.info("MILLRACE", "millrace-hub").catch(() => null);
      const { state } = await manager.streams.info("MILLRACE");
      const { num_pending = -1, num_ack_pending = -1 } = info ?? {};
      if (info !== null && num_pending + num_ack_pending + state.messages === 0) return;
      if (performance.now() > deadline) {
        const where = JSON.stringify({
          delivered: info?.delivered,
          acknowledged: info?.ack_floor,
          stream: state,
        });
        throw new Error(`${num_pending} messages wait, ${num_ack_pending} are not acknowledged: ${where}`);
      }
      await sleep(100);
    }
  } finally {
    await connection.close();
  }
}
