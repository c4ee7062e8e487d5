import { setTimeout as sleep } from "node:timers/promises";
import type { HttpClient } from "./http-client.ts";
import type { Random } from "./random.ts";

/** One event of a chaos run; `n` is its own within the stream of its edge. */
export interface ChaosEvent {
  readonly n: number;
  readonly device: string;
  /** ms. */
  readonly ts: number;
  readonly v: number;
  /** Of `pad`: letters that do not compress well, to fill disks with, made of `n` alone. Without it there are none. */
  readonly letters?: number;
}

export interface ChaosLoadOptions {
  readonly client: HttpClient;
  readonly stream: string;
  readonly random: Random;
  /** One batch on average, ms. */
  readonly pauseMs: number;
  readonly eventsPerBatch: number;
  /** How far behind the clock events may be, ms. */
  readonly spreadMs: number;
  /** Share of events that are behind by up to `lateMs`. */
  readonly lateShare: number;
  readonly lateMs: number;
  /** Letters of each event, and of those of a burst; null: none. */
  readonly letters: { readonly usual: number; readonly burst: number } | null;
}

const DEVICES = ["press", "lathe", "oven"];
const STEP_MS = 20;
const START_MS = Date.UTC(2026, 0, 1);
const END_MS = 60_000;
const RETRY_MS = 50;
/** Share of acknowledged batches that are sent again under their key. */
const RESEND_SHARE = 0.1;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/**
 * Sends a stream's events to a node, batch by batch, each under its key until it is acknowledged: so the order of batches is known,
 * and with it what a node must make of them. Their times are out of order, some far behind.
 */
export class ChaosLoad {
  /** Acknowledged, in their order. */
  readonly batches: (readonly ChaosEvent[])[] = [];
  readonly stream: string;
  readonly #options: ChaosLoadOptions;
  #nowMs = START_MS;
  #count = 0;
  #sent = 0;
  #isStopping = false;
  #hasGivenUp = false;
  /** Sends without a pause while it is true. */
  isBurst = false;
  resent = 0;

  constructor(options: ChaosLoadOptions) {
    this.#options = options;
    this.stream = options.stream;
  }

  /** All that were acknowledged. */
  get events(): readonly ChaosEvent[] {
    return this.batches.flat();
  }

  /** So far behind the last event that every window is closed, ms. */
  get endMs(): number {
    return this.#nowMs + END_MS;
  }

  stop(): void {
    this.#isStopping = true;
  }

  /** As `stop`, without waiting for an answer any more. */
  giveUp(): void {
    this.#isStopping = true;
    this.#hasGivenUp = true;
  }

  /** Returns when stopped and the last batch is acknowledged. Throws at an answer that no client should get. */
  async run(): Promise<void> {
    const { random, pauseMs } = this.#options;
    while (!this.#isStopping) {
      const key = `${this.stream}-${this.#sent++}`;
      const batch = this.#makeBatch();
      await this.#sendUntilAcknowledged(key, batch);
      this.batches.push(batch);
      if (random.chance(RESEND_SHARE)) {
        this.resent++;
        await this.#sendUntilAcknowledged(key, batch);
      }
      if (!this.isBurst) await sleep(random.integer(0, 2 * pauseMs));
    }
  }

  #makeBatch(): ChaosEvent[] {
    const { random, eventsPerBatch, spreadMs, lateShare, lateMs, letters } = this.#options;
    const pad = letters === null ? {} : { letters: this.isBurst ? letters.burst : letters.usual };
    return Array.from({ length: random.integer(1, eventsPerBatch) }, () => {
      this.#nowMs += random.integer(0, 2 * STEP_MS);
      const back = random.chance(lateShare) ? random.integer(0, lateMs) : random.integer(0, spreadMs);
      const v = random.integer(-9_999, 9_999) / 100;
      return { n: this.#count++, device: random.pick(DEVICES), ts: this.#nowMs - back, v, ...pad };
    });
  }

  async #sendUntilAcknowledged(key: string, batch: readonly ChaosEvent[]): Promise<void> {
    const { client } = this.#options;
    const body = batch.map(asSent);
    while (!this.#hasGivenUp) {
      const answer = await client.post(this.stream, body, { idempotencyKey: key }).catch(() => null);
      if (answer?.status === 200) {
        const { accepted } = JSON.parse(answer.text) as { accepted: number };
        if (accepted !== batch.length) throw new Error(`${key}: accepted ${accepted} of ${batch.length}`);
        return;
      }
      // Down, overloaded, full or recovering: anything else is the node's mistake.
      if (answer !== null && ![429, 503, 507].includes(answer.status))
        throw new Error(`${key}: ${answer.status} ${answer.text}`);
      await sleep(RETRY_MS);
    }
  }
}

/** An event as its device says it. */
export function asSent(event: ChaosEvent): Readonly<Record<string, unknown>> {
  return event.letters === undefined ? { ...event } : { ...event, pad: padOf(event.n, event.letters) };
}

/** The same letters for the same number (xorshift32, G. Marsaglia, 2003). */
function padOf(n: number, letters: number): string {
  let state = (n + 1) * 0x9e3779b1;
  let text = "";
  while (text.length < letters) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    text += LETTERS[state & 63]! + LETTERS[(state >>> 6) & 63]! + LETTERS[(state >>> 12) & 63]!;
    text += LETTERS[(state >>> 18) & 63]!;
  }
  return text.slice(0, letters);
}
