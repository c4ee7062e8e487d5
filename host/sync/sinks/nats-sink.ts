import { JetStreamApiError, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, headers, type NatsConnection, NoRespondersError } from "@nats-io/transport-node";
import { MillraceError } from "../../../workers/errors.ts";
import type { NatsTarget } from "../../config/sink-config.ts";
import { rejected, unreachable } from "../failure-text.ts";
import type { Delivery, OutgoingBatch, Sink } from "../sink.ts";
import { inTime } from "./in-time.ts";
import { NatsRoom } from "./nats-room.ts";
import { streamConfig } from "./nats-stream-config.ts";
import type { SinkParts } from "./sink-parts.ts";

const CONTENT_TYPE = "application/vnd.millrace.batch";
/** What headers take of a message, and the frames of a batch beyond what is stored. */
const OVERHEAD_BYTES = 1_024;
const SHARE_OF_PAYLOAD = 0.75;
/** "message size exceeds maximum allowed", of the stream's `max_msg_size`. */
const TOO_LARGE_FOR_STREAM = 10_054;

/** What the client makes of it that nobody answers on a subject; the class itself is not exported. */
const NO_STREAM = "JetStreamNotEnabled";

/**
 * Publishes batches to NATS JetStream in the form of the wire, so that hubs can consume them (docs/sync-protocol.md). What
 * was acknowledged is in the stream; what is published again under the same key is dropped by the server.
 */
export class NatsSink implements Sink {
  readonly name: string;
  readonly form = "wire";
  readonly #parts: SinkParts<NatsTarget>;
  readonly #subject: string;
  #connection: Promise<NatsConnection> | null = null;
  #maxPayload: number | null = null;
  readonly #room = new NatsRoom();

  constructor(parts: SinkParts<NatsTarget>) {
    this.name = parts.name;
    this.#parts = parts;
    this.#subject = `${parts.target.subject}.${parts.edge.replaceAll(".", "_")}`;
  }

  largestBytes(): number | null {
    return this.#maxPayload === null ? null : Math.floor(this.#maxPayload * SHARE_OF_PAYLOAD);
  }

  async deliver({ key, body }: OutgoingBatch, signal: AbortSignal): Promise<Delivery> {
    const { timeoutMs } = this.#parts;
    try {
      return await inTime(this.#publish(key, body), timeoutMs, signal);
    } catch (cause) {
      if (cause instanceof JetStreamApiError && cause.code === TOO_LARGE_FOR_STREAM) return rejected(cause);
      // What was answered came over a line that is well.
      if (!isAnswer(cause)) await this.#drop();
      return unreachable(cause);
    }
  }

  async probe(signal: AbortSignal): Promise<boolean> {
    try {
      const connection = await inTime(this.#connect(), this.#parts.timeoutMs, signal);
      await inTime(connection.flush(), this.#parts.timeoutMs, signal);
      return true;
    } catch {
      await this.#drop();
      return false;
    }
  }

  async close(): Promise<void> {
    await this.#drop();
  }

  async #publish(key: string, body: Uint8Array): Promise<Delivery> {
    const { target, edge, timeoutMs } = this.#parts;
    const connection = await this.#connect();
    const maxPayload = connection.info?.max_payload ?? Number.POSITIVE_INFINITY;
    if (body.length + OVERHEAD_BYTES > maxPayload) {
      const limit = `the server's max_payload is ${maxPayload}`;
      return rejected(
        `the batch takes ${body.length} bytes, and ${limit}; raise max_payload, or send less at once`,
      );
    }
    const sent = headers();
    sent.set("Millrace-Edge", edge);
    sent.set("Content-Type", CONTENT_TYPE);
    const options = { msgID: key, headers: sent, timeout: timeoutMs, expect: { streamName: target.stream } };
    const message = { stream: target.stream, bytes: body.length + OVERHEAD_BYTES, timeoutMs };
    const publish = () =>
      this.#room.publish(connection, message, () =>
        jetstream(connection).publish(this.#subject, body, options),
      );
    try {
      const { duplicate } = await publish();
      return { kind: "delivered", stored: 1, isDuplicate: duplicate };
    } catch (cause) {
      if (!isWithoutStream(cause)) throw cause;
    }
    await this.#makeStream(connection);
    const { duplicate } = await publish();
    return { kind: "delivered", stored: 1, isDuplicate: duplicate };
  }

  /** Nothing listens on the subject: there is no stream over it. */
  async #makeStream(connection: NatsConnection): Promise<void> {
    const { stream, subject, creates, form } = this.#parts.target;
    if (!creates)
      throw new MillraceError(
        "E_SINK_STREAM",
        `no stream takes ${this.#subject}; make stream ${stream} over ${subject}.>, or set create: true`,
      );
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout: this.#parts.timeoutMs });
    await manager.streams.add(streamConfig(stream, `${subject}.>`, form));
  }

  #connect(): Promise<NatsConnection> {
    const { target, timeoutMs, edge } = this.#parts;
    const { url, user, password, token } = target;
    this.#connection ??= connect({
      servers: url,
      name: `millrace ${edge}`,
      timeout: timeoutMs,
      // The runner says when to try again.
      reconnect: false,
      ...(user === null ? {} : { user }),
      ...(password === null ? {} : { pass: password }),
      ...(token === null ? {} : { token }),
      ...credentialsOf(url),
    }).then((connection) => {
      this.#maxPayload = connection.info?.max_payload ?? null;
      void connection.closed().then(() => this.#forget(connection));
      return connection;
    });
    return this.#connection;
  }

  async #forget(closed: NatsConnection): Promise<void> {
    const known = await this.#connection?.catch(() => null);
    if (known === closed) this.#connection = null;
  }

  async #drop(): Promise<void> {
    const dropped = this.#connection;
    this.#connection = null;
    try {
      await (await dropped)?.close();
    } catch {
      // It was never there, or is gone already.
    }
  }
}

/** Others that are under way over the same line go on. */
function isAnswer(cause: unknown): boolean {
  return (
    cause instanceof JetStreamApiError ||
    isWithoutStream(cause) ||
    (cause instanceof MillraceError && (cause.code === "E_SINK_FULL" || cause.code === "E_SINK_STREAM"))
  );
}

function isWithoutStream(cause: unknown): boolean {
  return cause instanceof NoRespondersError || (cause instanceof Error && cause.name === NO_STREAM);
}

/** `nats://user:password@host`: the client takes them as options alone. */
function credentialsOf(url: string): { user?: string; pass?: string } {
  const { username, password } = new URL(url);
  if (username === "") return {};
  return { user: decodeURIComponent(username), pass: decodeURIComponent(password) };
}
