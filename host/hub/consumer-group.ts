import type { Consumer, ConsumerConfig, JetStreamClient, JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { streamConfig } from "../sync/sinks/nats-stream-config.ts";
import type { HubNatsConfig } from "./hub-config.ts";
import type { StreamLook } from "./stream-watch.ts";

const SUBJECTS = "millrace.sync.>";
/** What is neither acknowledged nor said to be worked on for so long goes to another hub. */
const ACK_WAIT_MS = 30_000;

/**
 * The stream that edges publish to, and the durable consumer that the hubs of a group share. Both are made where there are
 * none. Every call throws what the server or the line to it says.
 */
export class ConsumerGroup {
  readonly #manager: JetStreamManager;
  readonly #client: JetStreamClient;
  readonly #config: HubNatsConfig;

  private constructor(manager: JetStreamManager, client: JetStreamClient, config: HubNatsConfig) {
    this.#manager = manager;
    this.#client = client;
    this.#config = config;
  }

  static async join(connection: NatsConnection, config: HubNatsConfig): Promise<ConsumerGroup> {
    const { jetstream, jetstreamManager } = await import("@nats-io/jetstream");
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const group = new ConsumerGroup(manager, jetstream(connection), config);
    await group.#ensureStream();
    await group.#ensureConsumer();
    return group;
  }

  consumer(): Promise<Consumer> {
    const { stream, consumer } = this.#config;
    return this.#client.consumers.get(stream, consumer);
  }

  async look(): Promise<StreamLook> {
    const { stream, consumer } = this.#config;
    const { config, state } = await this.#manager.streams.info(stream);
    const group = await this.#manager.consumers.info(stream, consumer);
    const { created, num_pending, num_ack_pending, ack_floor } = group;
    const { filter_subject = "", filter_subjects = [] } = group.config;
    const isForAll = filter_subject === "" && filter_subjects.length === 0;
    const isWorkQueue = config.retention === "workqueue" && isForAll;
    const first = isWorkQueue && state.messages > 0 ? state.first_seq : null;
    const isDone = num_pending + num_ack_pending === 0;
    return {
      created,
      isWorkQueue,
      oldest: first ?? (isDone ? null : ack_floor.stream_seq + 1),
      messages: state.messages,
      waiting: num_pending,
      unacknowledged: num_ack_pending,
    };
  }

  /**
   * Puts a new consumer of the same settings in the place of the one that was made at `created`, for streams that are work queues:
   * what is in the stream is given out again, from its first message. False: it is another one already, and nothing was done.
   */
  async makeAnew(created: string): Promise<boolean> {
    const { stream, consumer } = this.#config;
    const there = await ifThere(() => this.#manager.consumers.info(stream, consumer));
    if (there !== null && there.created !== created) return false;
    if (there !== null) await ifThere(() => this.#manager.consumers.delete(stream, consumer));
    await this.#ensureConsumer(there?.config);
    return true;
  }

  /** Another hub, or an edge, may make it at the same time: what is there is taken as it is. */
  async #ensureStream(): Promise<void> {
    const { stream, form } = this.#config;
    const info = () => this.#manager.streams.info(stream);
    if ((await ifThere(info)) !== null) return;
    await this.#manager.streams.add(streamConfig(stream, SUBJECTS, form)).catch(async (cause: unknown) => {
      if ((await ifThere(info)) === null) throw cause;
    });
  }

  async #ensureConsumer(settings?: ConsumerConfig): Promise<void> {
    const { stream, consumer } = this.#config;
    const info = () => this.#manager.consumers.info(stream, consumer);
    if ((await ifThere(info)) !== null) return;
    const made = settings ?? (await settingsOf(consumer));
    await this.#manager.consumers.add(stream, made).catch(async (cause: unknown) => {
      if ((await ifThere(info)) === null) throw cause;
    });
  }
}

async function settingsOf(consumer: string): Promise<Partial<ConsumerConfig>> {
  const { AckPolicy, DeliverPolicy } = await import("@nats-io/jetstream");
  return {
    durable_name: consumer,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ack_wait: ACK_WAIT_MS * 1e6,
    max_deliver: -1,
  };
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
