import { ChaosLoad } from "./chaos-load.ts";
import { STREAMS } from "./chaos-plan.ts";
import type { ChaosProxy } from "./chaos-proxy.ts";
import { HttpClient } from "./http-client.ts";
import { NodeProcess } from "./node-process.ts";
import { Random } from "./random.ts";
import type { Cleanup } from "./temp-dir.ts";

/** What is particular to an edge of a chaos run. */
export type EdgeRole =
  | "plain"
  /** What it stores is sealed. */
  | "encrypted"
  /** Its disk is too small for what it is sent, and it keeps what is synced for a minute. */
  | "small"
  /** Other edges send through it. */
  | "relay"
  /** It sends to the relay. */
  | "behind";

export const ROLES: readonly EdgeRole[] = ["plain", "encrypted", "small", "relay", "behind"];

/** How an edge reaches what it sends to. */
export interface Uplink {
  readonly kind: "hub" | "nats";
  readonly proxy: ChaosProxy;
}

export interface ChaosEdgeOptions {
  readonly role: EdgeRole;
  readonly uplink: Uplink;
  readonly random: Random;
  /** Between batches of a stream on average, ms. */
  readonly pauseMs: number;
}

/** Of the small edge's events: so many that its disk is written several times over in a long run. */
export const LETTERS = { usual: 1_000, burst: 12 * 1024 } as const;

const RETRY = "retry: { first: 20ms, longest: 400ms }, breaker: { open: 300ms }, probe: 100ms, timeout: 1s";
const BATCH = "batch: { events: 100, every: 1s }";

const OWN: Readonly<Record<EdgeRole, string>> = {
  plain: "",
  encrypted: `encryption: { key: "${"0123456789abcdef".repeat(4)}" }`,
  small: "buffer: { cap: 16MiB, retention: 60s }",
  relay: "relay: { maxHops: 2 }",
  behind: "buffer: { retention: 60s }",
};

function syncOf({ kind, proxy }: Uplink): string {
  if (kind === "hub") return `sync: { url: "${proxy.url}", ${BATCH}, ${RETRY} }`;
  const { port } = new URL(proxy.url);
  return `sync: { sinks: { bus: { nats: "nats://127.0.0.1:${port}", ${BATCH}, ${RETRY} } } }`;
}

/** An edge of a chaos run, and those who send to it. */
export class ChaosEdge {
  readonly name: string;
  readonly role: EdgeRole;
  readonly uplink: Uplink;
  readonly node: NodeProcess;
  readonly client: HttpClient;
  readonly load: ChaosLoad;
  readonly bulk: ChaosLoad;
  #running: Promise<unknown> = Promise.resolve();
  #failure: unknown = null;

  constructor({ role, uplink, random, pauseMs }: ChaosEdgeOptions, cleanup: Cleanup) {
    this.role = role;
    this.name = `edge-${role}`;
    this.uplink = uplink;
    const own = [
      `node: { id: ${this.name} }`,
      "checkpoint: { every: 3s }",
      OWN[role],
      syncOf(uplink),
      STREAMS,
    ];
    this.node = new NodeProcess({ config: `${own.join("\n")}\n` }, cleanup);
    this.client = new HttpClient(() => this.node.url);
    cleanup.after(() => this.client.close());
    const rest = { client: this.client, pauseMs, eventsPerBatch: 20, spreadMs: 900 };
    const next = (): Random => new Random(random.integer(0, 2 ** 31));
    this.load = new ChaosLoad({
      ...rest,
      stream: "load",
      random: next(),
      lateShare: 0.02,
      lateMs: 8_000,
      letters: null,
    });
    this.bulk = new ChaosLoad({
      ...rest,
      stream: "bulk",
      random: next(),
      lateShare: 0,
      lateMs: 0,
      letters: role === "small" ? LETTERS : null,
    });
  }

  async start(cleanup: Cleanup): Promise<void> {
    await this.node.start();
    const loads = [this.load, this.bulk];
    // A run that failed leaves nobody who goes on sending.
    cleanup.after(() => {
      for (const load of loads) load.giveUp();
    });
    this.#running = Promise.all(loads.map((load) => load.run())).catch((cause: unknown) => {
      this.#failure = cause;
      for (const load of loads) load.stop();
    });
  }

  /** Throws when a sender got an answer that none should get. */
  check(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** Waits until everything begun is acknowledged, and closes all windows up to the last event. */
  async end(): Promise<void> {
    for (const load of [this.load, this.bulk]) load.stop();
    await this.#running;
    this.check();
    for (const { stream, endMs } of [this.load, this.bulk])
      await this.client.watermark(stream, { time: endMs * 1_000 });
  }
}
