import { setTimeout as sleep } from "node:timers/promises";
import { CommandError, readDetail, reasonOf, unreachable } from "./client.ts";
import { EXIT } from "./output.ts";

/** One request, which may be made any number of times. */
export interface Delivery {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer> | string;
}

export interface Answer {
  readonly status: number;
  readonly content: Readonly<Record<string, unknown>>;
}

export interface RetryPolicy {
  /** How long a node that has answered before may be away or full. */
  readonly patienceMs: number;
  /** How long it may take to answer for the first time. */
  readonly firstPatienceMs: number;
  readonly onWait: (reason: string, waitMs: number) => void;
}

/** Statuses that say: the same request may do later. */
const LATER: ReadonlySet<number> = new Set([408, 429, 502, 503, 504, 507]);
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 5_000;
/** A node that takes longer for one batch is taken for gone. */
const REQUEST_TIMEOUT_MS = 60_000;

/** Makes requests until they are answered for good: exponential backoff with full jitter, and never before `Retry-After`. */
export class Courier {
  readonly #policy: RetryPolicy;
  #hasAnswered = false;

  constructor(policy: RetryPolicy) {
    this.#policy = policy;
  }

  /** Throws a `CommandError` when the patience ends or the node refuses; 422 is an answer. */
  async deliver(delivery: Delivery): Promise<Answer> {
    const startMs = performance.now();
    for (let attempt = 0; ; attempt++) {
      const outcome = await this.#try(delivery);
      if (outcome.kind === "answered") return outcome.answer;
      const waitMs = Math.max(outcome.retryAfterMs, backoffMs(attempt));
      const { patienceMs, firstPatienceMs } = this.#policy;
      const limitMs = this.#hasAnswered ? patienceMs : firstPatienceMs;
      if (performance.now() + waitMs - startMs > limitMs) throw outcome.error;
      this.#policy.onWait(outcome.reason, waitMs);
      await sleep(waitMs);
    }
  }

  async #try({ url, headers, body }: Delivery): Promise<Attempt> {
    let response: Response;
    try {
      response = await fetch(url, {
        method: "POST",
        headers,
        body,
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
    } catch (cause) {
      const error = unreachable(new URL(url).origin, cause);
      return { kind: "failed", reason: reasonOf(cause), retryAfterMs: 0, error };
    }
    const { status } = response;
    this.#hasAnswered = true;
    if (response.ok || status === 422) return readAnswer(response, url);
    const detail = await readDetail(response);
    const error = new CommandError(EXIT.failed, `${new URL(url).origin} answered ${status}: ${detail}`);
    if (!LATER.has(status)) throw error;
    return { kind: "failed", reason: `${status}: ${detail}`, retryAfterMs: readRetryAfter(response), error };
  }
}

type Attempt =
  | { readonly kind: "answered"; readonly answer: Answer }
  | {
      readonly kind: "failed";
      readonly reason: string;
      readonly retryAfterMs: number;
      readonly error: CommandError;
    };

async function readAnswer(response: Response, url: string): Promise<Attempt> {
  try {
    const content: unknown = await response.json();
    if (typeof content === "object" && content !== null) {
      return { kind: "answered", answer: { status: response.status, content: content as Answer["content"] } };
    }
  } catch (cause) {
    // The connection went away in the middle of the answer: the request may or may not have been taken.
    if (!(cause instanceof SyntaxError)) {
      return {
        kind: "failed",
        reason: reasonOf(cause),
        retryAfterMs: 0,
        error: unreachable(new URL(url).origin, cause),
      };
    }
  }
  throw new CommandError(EXIT.failed, `${new URL(url).origin} does not answer as a node does; check --url`);
}

/** `Retry-After` in seconds or as a date; 0 without one. */
function readRetryAfter(response: Response): number {
  const text = response.headers.get("retry-after");
  if (text === null) return 0;
  if (/^\d+$/.test(text)) return Number(text) * 1_000;
  const untilMs = Date.parse(text) - Date.now();
  return Number.isNaN(untilMs) ? 0 : Math.max(0, untilMs);
}

/** Full jitter: any time up to a limit that doubles. */
function backoffMs(attempt: number): number {
  return Math.random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
}
