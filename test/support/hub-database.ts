import { PostgresServer } from "./postgres.ts";
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
}

export async function startHubDatabase(cleanup: Cleanup, store = HUB_STORE): Promise<HubDatabase> {
  if (store === "sqlite") return { config: null, killable: [] };
  const server = await PostgresServer.start(cleanup);
  const killable = { kill: () => server.kill(), start: () => server.start() };
  return { config: `store: { postgres: "${server.url()}" }\n`, killable: [killable] };
}
