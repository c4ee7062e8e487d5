import { setTimeout as sleep } from "node:timers/promises";
import type { HttpClient } from "./http-client.ts";
import type { Random } from "./random.ts";

/** One event of the load. Its client and number make it unlike every other. */
export interface LoadEvent {
  readonly client: string;
  readonly number: number;
  readonly ts: number;
  readonly v: number;
}

const RETRY_MS = 20;
/** Share of acknowledged batches that are sent again under their key. */
const RESEND_SHARE = 0.1;

/**
 * A clock for event times that all clients share, so that no client falls behind the others by more than the batches
 * that are on their way.
 */
export class EventClock {
  #nowMs: number;
  readonly #stepMs: number;

  constructor(startMs: number, stepMs: number) {
    this.#nowMs = startMs;
    this.#stepMs = stepMs;
  }

  tick(): number {
    this.#nowMs += this.#stepMs;
    return this.#nowMs;
  }
}

export interface LoadOptions {
  readonly client: HttpClient;
  readonly stream: string;
  readonly name: string;
  readonly clock: EventClock;
  readonly random: Random;
  readonly eventsPerBatch: number;
  /** Between batches; default: hardly any. */
  readonly pauseMs?: number;
}

/**
 * A device gateway that does not lose its head: it numbers its events, sends batches under idempotency keys, and
 * sends a batch again under the same key until it is acknowledged, however often the node dies meanwhile.
 */
export class LoadClient {
  /** Every event of every batch that was ever begun; at the end all are acknowledged. */
  readonly events: LoadEvent[] = [];
  acknowledgedBatches = 0;
  resentBatches = 0;
  readonly #options: LoadOptions;
  #isStopping = false;
  #batches = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  /** Returns when stopped and the last batch is acknowledged. Throws at an answer that no client should get. */
  async run(): Promise<void> {
    const { random, pauseMs = 0 } = this.#options;
    while (!this.#isStopping) {
      const key = `${this.#options.name}-${this.#batches++}`;
      const batch = this.#makeBatch();
      await this.#sendUntilAcknowledged(key, batch);
      if (random.chance(RESEND_SHARE)) {
        this.resentBatches++;
        await this.#sendUntilAcknowledged(key, batch);
      }
      if (pauseMs > 0) await sleep(pauseMs);
      else if (random.chance(0.5)) await sleep(random.integer(0, 8));
    }
  }

  stop(): void {
    this.#isStopping = true;
  }

  #makeBatch(): LoadEvent[] {
    const { name, clock, random, eventsPerBatch } = this.#options;
    const batch = Array.from({ length: random.integer(1, eventsPerBatch) }, (_, index) => ({
      client: name,
      number: this.events.length + index,
      ts: clock.tick(),
      v: random.integer(-1_000_000, 1_000_000) / 100,
    }));
    this.events.push(...batch);
    return batch;
  }

  async #sendUntilAcknowledged(key: string, batch: readonly LoadEvent[]): Promise<void> {
    const { client, stream } = this.#options;
    while (true) {
      const answer = await client.post(stream, batch, { idempotencyKey: key }).catch(() => null);
      if (answer?.status === 200) {
        const { accepted } = JSON.parse(answer.text) as { accepted: number };
        if (accepted !== batch.length) throw new Error(`${key}: accepted ${accepted} of ${batch.length}`);
        this.acknowledgedBatches++;
        return;
      }
      // Down, overloaded or recovering: anything else is the node's mistake.
      if (answer !== null && answer.status !== 429 && answer.status !== 503) {
        throw new Error(`${key}: ${answer.status} ${answer.text}`);
      }
      await sleep(RETRY_MS);
    }
  }
}
