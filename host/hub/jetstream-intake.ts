import { setTimeout as sleep } from "node:timers/promises";
import type { ConsumerMessages, JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type { ParkedLimits } from "../../workers/hub/parked.ts";
import { isStreamName } from "../api/problem.ts";
import { ConsumerGroup } from "./consumer-group.ts";
import type { HubNatsConfig } from "./hub-config.ts";
import type { HubMetrics } from "./hub-metrics.ts";
import type { HubStore } from "./hub-store.ts";
import { type Remedy, type StreamLook, StreamWatch } from "./stream-watch.ts";

export interface IntakeParts {
  readonly config: HubNatsConfig;
  readonly maxBatchBytes: number;
  readonly parkedLimits: ParkedLimits;
  /** How long the oldest message may stand before something is done about it; see `StreamWatch`. */
  readonly maxStreamWaitMs: number;
  readonly store: HubStore;
  readonly metrics: HubMetrics;
  readonly log: Logger;
}

/** Batches that this hub has at a time: so many it may be about to store, and the server keeps the others. */
const IN_HAND = 32;
/** Well within the time after which what is not acknowledged goes to another hub. */
const WORKING_EVERY_MS = 10_000;
const [FIRST_RETRY_MS, LONGEST_RETRY_MS] = [250, 30_000];
/** A batch of a later release waits for a hub of that release. */
const LATER_RELEASE_MS = 60_000;
/** The stream is looked at so many times within `maxStreamWaitMs`, but not more often, nor less, than each of these. */
const LOOKS = 6;
const [SHORTEST_LOOK_MS, LONGEST_LOOK_MS] = [250, 15_000];
/** What the client says when the consumer, or the stream, is not there any more. */
const GONE: ReadonlySet<string> = new Set(["consumer_deleted", "consumer_not_found", "stream_not_found"]);
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
 * for ever. Where the stream's oldest message stands, because the server or the line has forgotten it, it is fetched again:
 * first by a new connection, then by a new consumer (docs/decisions/0039). What comes twice by that the store knows.
 */
export class JetStreamIntake {
  readonly #parts: IntakeParts;
  readonly #closing = new AbortController();
  readonly #inHand = new Set<Promise<void>>();
  readonly #watch: StreamWatch;
  readonly #running: Promise<void>;
  #messages: ConsumerMessages | null = null;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#watch = new StreamWatch(parts.maxStreamWaitMs);
    parts.metrics.watchStream(() => this.#watch.standsForMs(performance.now()) / 1_000);
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
        const group = await ConsumerGroup.join(connection, config);
        attempt = 0;
        log.info({ ...config, url: connection.getServer() }, "takes batches from JetStream");
        const forgetful = await this.#consume(group);
        // What is in hand is acknowledged to the consumer that gave it out.
        await Promise.all(this.#inHand);
        if (forgetful !== null && !this.#closing.signal.aborted) await this.#makeAnew(group, forgetful);
      } catch (cause) {
        log.warn({ err: cause }, "JetStream is not there, and is tried again");
      } finally {
        await Promise.all(this.#inHand);
        await connection?.close().catch(() => undefined);
      }
      await sleep(pauseMs(attempt), null, { signal: this.#closing.signal }).catch(() => undefined);
    }
  }

  /** Until the line or the consumer is gone, or a remedy is due. @returns the consumer that is to be made anew, if one is. */
  async #consume(group: ConsumerGroup): Promise<StreamLook | null> {
    const messages = await (await group.consumer()).consume({ max_messages: IN_HAND });
    this.#messages = messages;
    if (this.#closing.signal.aborted) messages.stop();
    const ended = new AbortController();
    const watching = this.#lookAfter(group, messages, ended.signal);
    void stopWhenGone(messages);
    try {
      for await (const message of messages) {
        this.#watch.given(message.seq, performance.now());
        const work: Promise<void> = this.#take(message).finally(() => this.#inHand.delete(work));
        this.#inHand.add(work);
        if (this.#inHand.size >= IN_HAND) await Promise.race(this.#inHand);
      }
    } finally {
      ended.abort();
    }
    return watching;
  }

  /** Looks at the stream now and then, and stops the consumption when a remedy is due. Never rejects. */
  async #lookAfter(
    group: ConsumerGroup,
    messages: ConsumerMessages,
    signal: AbortSignal,
  ): Promise<StreamLook | null> {
    const { maxStreamWaitMs } = this.#parts;
    const everyMs = Math.min(LONGEST_LOOK_MS, Math.max(SHORTEST_LOOK_MS, maxStreamWaitMs / LOOKS));
    let answeredMs = performance.now();
    let failures = 0;
    this.#watch.interrupted(answeredMs);
    for (;;) {
      // Hubs of a group do not look at the same time.
      await sleep(everyMs * (0.75 + Math.random() / 2), null, { signal }).catch(() => undefined);
      if (signal.aborted) return null;
      const look = await group.look().catch((cause: unknown) => {
        const nowMs = performance.now();
        this.#watch.interrupted(nowMs);
        failures++;
        // One alone may have been lost with a connection that is there again.
        if (failures > 1 && nowMs - answeredMs >= maxStreamWaitMs)
          this.#consumeAnew(messages, "JetStream does not answer", { err: cause });
        return null;
      });
      if (look === null) continue;
      answeredMs = performance.now();
      failures = 0;
      const standsMs = this.#watch.standsForMs(answeredMs);
      const remedy: Remedy | null = signal.aborted ? null : this.#watch.judge(look, answeredMs);
      if (remedy === "make-anew") {
        messages.stop();
        return look;
      }
      if (remedy === "consume-anew") {
        const why = "the stream has something to give, and this hub is given nothing";
        this.#consumeAnew(messages, why, { ...look, standsMs });
      }
    }
  }

  #consumeAnew(messages: ConsumerMessages, why: string, found: object): void {
    const { config, metrics, log } = this.#parts;
    metrics.streamRemedies.inc({ remedy: "consume-anew" });
    log.warn(
      { stream: config.stream, consumer: config.consumer, ...found },
      `${why}: asks over a new connection (limits.maxStreamWait)`,
    );
    messages.stop();
  }

  async #makeAnew(group: ConsumerGroup, look: StreamLook): Promise<void> {
    const { config, metrics, log } = this.#parts;
    const where = { stream: config.stream, consumer: config.consumer, ...look };
    if (!(await group.makeAnew(look.created))) {
      log.info(where, "another hub has made the consumer anew");
      return;
    }
    metrics.streamRemedies.inc({ remedy: "make-anew" });
    log.warn(
      where,
      "the oldest message of the stream stood, and nobody was given it: the consumer was made anew, and gives out all that is there (limits.maxStreamWait)",
    );
  }

  /** Never rejects. */
  async #take(message: JsMsg): Promise<void> {
    const { metrics, log } = this.#parts;
    const working = setInterval(() => {
      message.working();
      this.#watch.given(message.seq, performance.now());
    }, WORKING_EVERY_MS);
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

/** Another hub made the consumer anew, or somebody deleted it: it is joined, or made, again. Ends with the messages; never rejects. */
async function stopWhenGone(messages: ConsumerMessages): Promise<void> {
  for await (const { type } of messages.status()) if (GONE.has(type)) messages.stop();
}

/** Where a message stands: it stays the same each time it is given out. */
function sourceOf({ info }: JsMsg): string {
  return `${info.stream}/${info.streamSequence}`;
}

function pauseMs(attempt: number): number {
  return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 10)) * (0.5 + Math.random() / 2);
}
