import { setTimeout as sleep } from "node:timers/promises";
import type { Consumer, ConsumerMessages, JetStreamManager, JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type { ParkedLimits } from "../../workers/hub/parked.ts";
import { isStreamName } from "../api/problem.ts";
import { streamConfig } from "../sync/sinks/nats-stream-config.ts";
import type { HubNatsConfig } from "./hub-config.ts";
import type { HubMetrics } from "./hub-metrics.ts";
import type { HubStore } from "./hub-store.ts";

export interface IntakeParts {
  readonly config: HubNatsConfig;
  readonly maxBatchBytes: number;
  readonly parkedLimits: ParkedLimits;
  readonly store: HubStore;
  readonly metrics: HubMetrics;
  readonly log: Logger;
}

/** Batches that this hub has at a time: so many it may be about to store, and the server keeps the others. */
const IN_HAND = 32;
/** What is neither acknowledged nor said to be worked on for so long goes to another hub. */
const ACK_WAIT_MS = 30_000;
const WORKING_EVERY_MS = 10_000;
const [FIRST_RETRY_MS, LONGEST_RETRY_MS] = [250, 30_000];
/** A batch of a later release waits for a hub of that release. */
const LATER_RELEASE_MS = 60_000;
const SUBJECTS = "millrace.sync.>";
const KEY = /^[0-9a-f]{16,64}$/;
const AT_FAULT =
  /^E_(BATCH_(MAGIC|TRUNCATED|CHECKSUM|CORRUPT|TOO_LARGE)|ZSTD|BAD_BLOCK|EDGE_NAME|IDEMPOTENCY_KEY)$/;
/** Where there is no room to park, a batch stays in the stream, and is tried again after so long. */
const NO_ROOM_MS = 60_000;

/** Of a batch itself: what is in the stream stays as it is, so it would be refused again. */
export function isAtFault(code: string): boolean {
  return AT_FAULT.test(code);
}

/**
 * Takes batches from JetStream as one of a group of hubs: a durable pull consumer gives each to one of them. A batch is
 * acknowledged once it is durable; before that the server keeps it, and gives it out again should this hub end or fail. One
 * that can never be taken is parked with its reason and terminated. Without a server, or when it goes away, this tries again
 * for ever.
 */
export class JetStreamIntake {
  readonly #parts: IntakeParts;
  readonly #closing = new AbortController();
  readonly #inHand = new Set<Promise<void>>();
  readonly #running: Promise<void>;
  #messages: ConsumerMessages | null = null;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#running = this.#run();
  }

  /** Takes nothing new, and lets what is in hand end. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#messages?.stop();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { config, log } = this.#parts;
    for (let attempt = 0; !this.#closing.signal.aborted; attempt++) {
      let connection: NatsConnection | null = null;
      try {
        connection = await connectTo(config.url);
        const consumer = await this.#consumer(connection);
        attempt = 0;
        log.info({ ...config, url: connection.getServer() }, "takes batches from JetStream");
        await this.#consume(consumer);
      } catch (cause) {
        log.warn({ err: cause }, "JetStream is not there, and is tried again");
      } finally {
        await Promise.all(this.#inHand);
        await connection?.close().catch(() => undefined);
      }
      await sleep(pauseMs(attempt), null, { signal: this.#closing.signal }).catch(() => undefined);
    }
  }

  async #consume(consumer: Consumer): Promise<void> {
    const messages = await consumer.consume({ max_messages: IN_HAND });
    this.#messages = messages;
    if (this.#closing.signal.aborted) messages.stop();
    for await (const message of messages) {
      const work: Promise<void> = this.#take(message).finally(() => this.#inHand.delete(work));
      this.#inHand.add(work);
      if (this.#inHand.size >= IN_HAND) await Promise.race(this.#inHand);
    }
  }

  /** Never rejects. */
  async #take(message: JsMsg): Promise<void> {
    const { metrics, log } = this.#parts;
    const working = setInterval(() => message.working(), WORKING_EVERY_MS);
    const edge = message.headers?.get("Millrace-Edge") ?? "";
    const key = message.headers?.get("Nats-Msg-Id") ?? "";
    try {
      const outcome = await this.#store(message, edge, key);
      metrics.batches.inc({ outcome });
      message.ack();
    } catch (cause) {
      const code = cause instanceof MillraceError ? cause.code : "E_INTERNAL";
      const detail = cause instanceof Error ? cause.message : String(cause);
      metrics.batches.inc({ outcome: code });
      log.warn({ edge, key, source: sourceOf(message), code, detail }, "a batch was not taken");
      if (isAtFault(code)) await this.#park(message, { edge, key, code, detail });
      else message.nak(code === "E_BATCH_VERSION" ? LATER_RELEASE_MS : pauseMs(message.info.deliveryCount));
    } finally {
      clearInterval(working);
    }
  }

  async #store(message: JsMsg, edge: string, key: string): Promise<"stored" | "duplicate"> {
    const { maxBatchBytes, store, metrics } = this.#parts;
    if (!isStreamName(edge) || message.subject.split(".").at(-1) !== edge.replaceAll(".", "_"))
      throw new MillraceError(
        "E_EDGE_NAME",
        `subject ${message.subject} is not that of the header Millrace-Edge`,
      );
    if (!KEY.test(key))
      throw new MillraceError("E_IDEMPOTENCY_KEY", "the header Nats-Msg-Id is no key of a batch");
    if (message.data.length > maxBatchBytes)
      throw new MillraceError(
        "E_BATCH_TOO_LARGE",
        `a batch has at most ${maxBatchBytes} bytes (limits.maxBatch)`,
      );
    // A copy: it is handed to a thread, and the bytes it is of are those of other messages as well.
    const body = new Uint8Array(message.data).buffer;
    const { stored, isDuplicate, news } = await store.receive({ edge, key, body });
    metrics.stored.inc(stored);
    metrics.refusedAttributes.inc(news.refusedAttributes);
    metrics.wireBytes.inc(message.data.length);
    return isDuplicate ? "duplicate" : "stored";
  }

  /** First it is in the table, then gone from the stream; what cannot be parked comes again. */
  async #park(
    message: JsMsg,
    why: { readonly edge: string; readonly key: string; readonly code: string; readonly detail: string },
  ): Promise<void> {
    const { store, log } = this.#parts;
    try {
      const body = new Uint8Array(message.data);
      const batch = { ...why, source: sourceOf(message), atUs: Date.now() * 1000, body };
      if (!(await store.park(batch, this.#parts.parkedLimits))) {
        log.error(
          { edge: why.edge, key: why.key, code: why.code, source: batch.source },
          "a batch is not parked and stays in the stream: as many are parked as may be (limits.maxParked, maxParkedBytes)",
        );
        message.nak(NO_ROOM_MS);
        return;
      }
      // Without a reason on the wire, which servers before 2.10 do not understand.
      message.term();
    } catch (cause) {
      log.warn({ err: cause, source: sourceOf(message) }, "a batch could not be parked, and comes again");
      message.nak(pauseMs(message.info.deliveryCount));
    }
  }

  async #consumer(connection: NatsConnection): Promise<Consumer> {
    const { jetstream, jetstreamManager } = await import("@nats-io/jetstream");
    const { stream, consumer } = this.#parts.config;
    const manager = await jetstreamManager(connection, { checkAPI: false });
    await this.#ensure(manager);
    return jetstream(connection).consumers.get(stream, consumer);
  }

  /** Another hub, or an edge, may make them at the same time: what is there is taken as it is. */
  async #ensure(manager: JetStreamManager): Promise<void> {
    const { AckPolicy, DeliverPolicy } = await import("@nats-io/jetstream");
    const { stream, consumer, form } = this.#parts.config;
    const there = await ifThere(() => manager.streams.info(stream));
    if (there === null) {
      const made = streamConfig(stream, SUBJECTS, form);
      await manager.streams.add(made).catch(async (cause: unknown) => {
        if ((await ifThere(() => manager.streams.info(stream))) === null) throw cause;
      });
    }
    if ((await ifThere(() => manager.consumers.info(stream, consumer))) !== null) return;
    const group = {
      durable_name: consumer,
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      ack_wait: ACK_WAIT_MS * 1e6,
      max_deliver: -1,
    };
    await manager.consumers.add(stream, group).catch(async (cause: unknown) => {
      if ((await ifThere(() => manager.consumers.info(stream, consumer))) === null) throw cause;
    });
  }
}

async function connectTo(url: string): Promise<NatsConnection> {
  const { connect } = await import("@nats-io/transport-node");
  const { username, password, host } = new URL(url);
  const user =
    username === "" ? {} : { user: decodeURIComponent(username), pass: decodeURIComponent(password) };
  return connect({
    servers: host,
    name: "millrace-hub",
    maxReconnectAttempts: -1,
    reconnectTimeWait: 500,
    ...user,
  });
}

async function ifThere<T>(read: () => Promise<T>): Promise<T | null> {
  const { JetStreamApiError } = await import("@nats-io/jetstream");
  try {
    return await read();
  } catch (cause) {
    if (cause instanceof Error && /not found/.test(cause.message)) return null;
    if (cause instanceof JetStreamApiError && cause.code === 404) return null;
    throw cause;
  }
}

/** Where a message stands: it stays the same each time it is given out. */
function sourceOf({ info }: JsMsg): string {
  return `${info.stream}/${info.streamSequence}`;
}

function pauseMs(attempt: number): number {
  return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 10)) * (0.5 + Math.random() / 2);
}
