import type { Logger } from "pino";
import type { WebhookOutcome } from "../../workers/messages.ts";
import type { DueWebhooks } from "../../workers/storage.ts";
import type { QueuedWebhook } from "../../workers/store/alert-store.ts";
import type { Clock } from "../pipeline/clock.ts";
import { backoffMs } from "./backoff.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Posts to one address at a time: one that hangs holds up no more than these. */
const POSTS_PER_URL = 4;
/** From the connection to the end of the answer. */
const TIMEOUT_MS = 10_000;
/** With the waits of `backoffMs` about an hour. */
const MAX_ATTEMPTS = 15;
/** What a receiver may ask for by Retry-After, at most. */
const LONGEST_RETRY_AFTER_MS = 3_600_000;
/** The outbox is looked at this often at least, whatever it said last. */
const LONGEST_SLEEP_MS = 60_000;
/** After the outbox could not be read. */
const RETRY_READ_MS = 1_000;
const MAX_ERROR_CHARACTERS = 300;

export interface SenderParts {
  /** The outbox. */
  readonly due: (task: { nowUs: number; perUrl: number; maxWaiting: number }) => Promise<DueWebhooks>;
  /** Resolves once it is durable. */
  readonly settle: (id: number, outcome: WebhookOutcome) => Promise<unknown>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly perSecond: number;
  readonly maxWaiting: number;
  readonly random?: () => number;
  readonly timeoutMs?: number;
  readonly maxAttempts?: number;
}

export interface WebhookStatus {
  readonly waiting: number;
  /** Since the start. */
  readonly delivered: number;
  readonly failedAttempts: number;
  /** Given up since the start; the last 1,000 are kept in the store. */
  readonly setAside: number;
}

/**
 * Posts what is in the outbox, each at least once: a post is taken out when its success is durable, so that a crash in
 * between repeats it under the same key. Failures wait longer and longer, then step aside. Steps of one alert go to an
 * address in their order; addresses do not wait for each other, and nothing waits for them.
 */
export class WebhookSender {
  readonly #parts: SenderParts;
  readonly #bucket: TokenBucket;
  readonly #stop = new AbortController();
  readonly #underWay = new Map<number, Promise<void>>();
  #timer: NodeJS.Timeout | null = null;
  #look: Promise<void> = Promise.resolve();
  #isLooking = false;
  #isStale = false;
  #waiting = 0;
  #delivered = 0;
  #failedAttempts = 0;
  #setAside = 0;

  constructor(parts: SenderParts) {
    this.#parts = parts;
    this.#bucket = new TokenBucket(parts.perSecond, () => parts.clock.monotonicMs());
  }

  status(): WebhookStatus {
    return {
      waiting: this.#waiting,
      delivered: this.#delivered,
      failedAttempts: this.#failedAttempts,
      setAside: this.#setAside,
    };
  }

  /** Looks into the outbox: to be called whenever something may have come into it. */
  wake(): void {
    if (this.#stop.signal.aborted) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#isStale = true;
    if (!this.#isLooking) this.#look = this.#lookAgain();
  }

  /** Gives up posts under way, which are sent again after a restart. */
  async close(): Promise<void> {
    this.#stop.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#look;
    await Promise.all(this.#underWay.values());
  }

  async #lookAgain(): Promise<void> {
    let sleepMs = LONGEST_SLEEP_MS;
    this.#isLooking = true;
    while (this.#isStale && !this.#stop.signal.aborted) {
      this.#isStale = false;
      try {
        sleepMs = await this.#sendDue();
      } catch (cause) {
        this.#parts.log.error({ err: cause }, "the outbox of webhooks could not be read; it is tried again");
        sleepMs = RETRY_READ_MS;
      }
    }
    // At once, with nothing in between: whoever wakes it from here on finds it at rest.
    this.#isLooking = false;
    if (this.#stop.signal.aborted) return;
    this.#timer = setTimeout(() => this.wake(), Math.min(LONGEST_SLEEP_MS, Math.max(1, sleepMs)));
  }

  /** @returns the ms after which to look again. */
  async #sendDue(): Promise<number> {
    const { due: readDue, clock, log, maxWaiting } = this.#parts;
    const nowUs = clock.nowUs();
    const { due, nextDueUs, overflow, waiting } = await readDue({ nowUs, perUrl: POSTS_PER_URL, maxWaiting });
    this.#waiting = waiting;
    if (overflow > 0) {
      this.#setAside += overflow;
      log.error(
        { webhooks: overflow },
        "more webhooks waited than limits.maxQueuedWebhooks; the oldest were set aside",
      );
    }
    for (const webhook of due) {
      if (this.#underWay.has(webhook.id)) continue;
      const waitMs = this.#bucket.take();
      if (waitMs > 0) return waitMs;
      const sent = this.#send(webhook).finally(() => {
        this.#underWay.delete(webhook.id);
        this.wake();
      });
      this.#underWay.set(webhook.id, sent);
    }
    // What is due and under way wakes the sender when it is through.
    return nextDueUs === null ? LONGEST_SLEEP_MS : (nextDueUs - nowUs) / 1_000;
  }

  async #send(webhook: QueuedWebhook): Promise<void> {
    const failure = await this.#post(webhook);
    if (failure !== null && this.#stop.signal.aborted) return;
    try {
      await this.#parts.settle(webhook.id, this.#judge(webhook, failure));
    } catch (cause) {
      this.#parts.log.error({ err: cause }, "what became of a webhook was not written; it is sent again");
    }
  }

  #judge(webhook: QueuedWebhook, failure: Failure | null): WebhookOutcome {
    const { clock, log, random = Math.random, maxAttempts = MAX_ATTEMPTS } = this.#parts;
    if (failure === null) {
      this.#delivered++;
      return { kind: "delivered" };
    }
    this.#failedAttempts++;
    const attempts = webhook.attempts + 1;
    const { error, retryAfterMs } = failure;
    if (attempts >= maxAttempts) {
      this.#setAside++;
      const { alert, idempotencyKey } = webhook;
      log.error(
        { alert, idempotencyKey, url: hostOf(webhook.url), attempts, error },
        "a webhook was set aside",
      );
      return { kind: "set-aside", error };
    }
    const waitMs = Math.max(backoffMs(attempts, random), retryAfterMs);
    return { kind: "failed", nextAtUs: clock.nowUs() + Math.ceil(waitMs * 1_000), error };
  }

  async #post({ url, idempotencyKey, body }: QueuedWebhook): Promise<Failure | null> {
    const timeout = AbortSignal.timeout(this.#parts.timeoutMs ?? TIMEOUT_MS);
    try {
      const answer = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": idempotencyKey },
        body,
        redirect: "manual",
        signal: AbortSignal.any([timeout, this.#stop.signal]),
      });
      await answer.body?.cancel();
      if (answer.ok) return null;
      return { error: `answered ${answer.status}`, retryAfterMs: readRetryAfterMs(answer) };
    } catch (cause) {
      return { error: describe(cause).slice(0, MAX_ERROR_CHARACTERS), retryAfterMs: 0 };
    }
  }
}

interface Failure {
  readonly error: string;
  readonly retryAfterMs: number;
}

function readRetryAfterMs(answer: Response): number {
  const seconds = /^\d{1,6}$/.exec(answer.headers.get("retry-after") ?? "")?.[0];
  return seconds === undefined ? 0 : Math.min(LONGEST_RETRY_AFTER_MS, Number(seconds) * 1_000);
}

function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if (cause.name === "TimeoutError") return "no answer in time";
  const inner = cause.cause;
  if (inner instanceof Error) return "code" in inner ? String(inner.code) : inner.message;
  return cause.message;
}

/** An address may hold a secret in its path or query. */
function hostOf(url: string): string {
  return new URL(url).host;
}
