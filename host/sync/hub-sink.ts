import * as http from "node:http";
import * as https from "node:https";
import { MillraceError } from "../../workers/errors.ts";
import { releaseBytes } from "../../workers/move.ts";
import { BATCH_VERSION, BATCH_VERSION_HEADER } from "../../workers/sync/batch-version.ts";
import type { MergeMode } from "../../workers/sync.ts";
import { type HubNews, NEWS_HEADER, readNews } from "../hub/news-answer.ts";
import type { ByteBucket } from "./byte-bucket.ts";
import { failureText } from "./failure-text.ts";
import { retryAfterMs } from "./retry-after.ts";
import type { Delivery, OutgoingBatch, Sink } from "./sink.ts";

export interface HubSinkParts {
  readonly url: string;
  readonly edge: string;
  readonly token: string | null;
  readonly timeoutMs: number;
  readonly concurrency: number;
  /** null: no cap. */
  readonly bucket: ByteBucket | null;
  /** Hears what the hub says beside its answer, of this node's own batches. */
  readonly onNews?: (news: HubNews) => void;
}

/** A batch of another edge, as it came. */
export interface ForwardedBatch {
  readonly edge: string;
  readonly key: string;
  /** Relays that it came through, the first one first. */
  readonly hops: readonly string[];
  readonly body: Uint8Array;
}

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
  /** Whether the whole request had gone to the system by then: nothing reads its body any more. */
  readonly isWritten: boolean;
}

const CONTENT_TYPE = "application/vnd.millrace.batch";
/** Of a refusal, as much as tells why. */
const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_REASON_CHARACTERS = 500;
/** What a request's head takes, about: it is on the wire too. */
const HEAD_BYTES = 400;
/** The batch itself is at fault. Others (401, 404, 429, 5xx …) say something of the hub, or of how it is reached. */
const REJECTED: ReadonlySet<number> = new Set([413, 422]);

/** A hub over HTTP. Bytes are written as the bandwidth's cap lets them, not all at once into the socket. */
export class HubSink implements Sink {
  readonly name = "hub";
  readonly form = "wire";
  #parts: HubSinkParts;
  #agent: http.Agent;
  #isSecure: boolean;
  /** The latest version of batches that the hub has said it reads. Before its first answer, the first. */
  #batchVersion = 1;

  constructor(parts: HubSinkParts) {
    this.#parts = parts;
    this.#isSecure = isSecure(parts);
    this.#agent = agentFor(parts);
  }

  /** Sends by other settings from here on. What is under way ends as it began. */
  use(parts: HubSinkParts): void {
    const before = this.#agent;
    this.#parts = parts;
    this.#isSecure = isSecure(parts);
    this.#agent = agentFor(parts);
    // Its connections in use stay until they are free.
    for (const sockets of Object.values(before.freeSockets))
      for (const socket of sockets ?? []) socket.destroy();
  }

  /** What the hub reads, as far as it is known. */
  get batchVersion(): number {
    return this.#batchVersion;
  }

  /** On a line with a cap bytes are dearer than the processor's time. */
  merging(): MergeMode {
    if (this.#batchVersion < BATCH_VERSION) return "never";
    return this.#parts.bucket === null ? "spare" : "always";
  }

  /** Gives the body's memory back as soon as it was sent: it is packed again for another attempt. */
  deliver({ key, body }: OutgoingBatch, signal: AbortSignal): Promise<Delivery> {
    const onWritten = (): void => releaseBytes(body);
    return this.#deliver(this.#parts.edge, key, body, { [NEWS_HEADER]: "1" }, signal, onWritten);
  }

  /** As `deliver`, for another edge: under its name, by this node's token. */
  forward({ edge, key, hops, body }: ForwardedBatch, signal: AbortSignal): Promise<Delivery> {
    return this.#deliver(edge, key, body, { "millrace-via": [...hops, this.#parts.edge].join(", ") }, signal);
  }

  async #deliver(
    edge: string,
    key: string,
    body: Uint8Array,
    more: Readonly<Record<string, string>>,
    signal: AbortSignal,
    onWritten: () => void = () => undefined,
  ): Promise<Delivery> {
    const { token } = this.#parts;
    const headers = {
      ...more,
      "content-type": CONTENT_TYPE,
      "content-length": String(body.length),
      "idempotency-key": key,
      "millrace-edge": edge,
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
    };
    try {
      const answer = await this.#request("POST", "/v1/sync", headers, body, signal);
      if (answer.isWritten) onWritten();
      this.#learnVersion(answer);
      const delivery = judge(answer);
      if (delivery.kind === "delivered" && NEWS_HEADER in more) this.#hear(answer);
      return delivery;
    } catch (cause) {
      return { kind: "unreachable", reason: failureText(cause), retryAfterMs: 0 };
    }
  }

  #hear({ text }: Answer): void {
    const news = readNews(JSON.parse(text) as Readonly<Record<string, unknown>>);
    if (news !== null) this.#parts.onNews?.(news);
  }

  /** A hub that was set back to an earlier release refuses what is new to it with 400, and says nothing of versions. */
  #learnVersion({ status, headers }: Answer): void {
    const said = Number(headers[BATCH_VERSION_HEADER] ?? 1);
    if (status === 200 || status === 400) this.#batchVersion = Number.isSafeInteger(said) ? said : 1;
  }

  async probe(signal: AbortSignal): Promise<boolean> {
    try {
      const { status } = await this.#request("GET", "/readyz", {}, null, signal);
      return status === 200;
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    this.#agent.destroy();
  }

  #request(
    method: string,
    path: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array | null,
    signal: AbortSignal,
  ): Promise<Answer> {
    const { url, timeoutMs } = this.#parts;
    // A path of the hub's own, as behind a proxy, stays in front.
    const target = new URL(url.replace(/\/$/, "") + path);
    const open = this.#isSecure ? https.request : http.request;
    return new Promise((resolve, reject) => {
      let isWritten = false;
      const request = open(target, { method, headers, agent: this.#agent, signal }, (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes <= MAX_ANSWER_BYTES) chunks.push(chunk);
        });
        response.on("error", reject);
        response.on("end", () => {
          const status = response.statusCode ?? 0;
          const text = Buffer.concat(chunks).toString();
          resolve({ status, headers: response.headers, text, isWritten });
        });
      });
      request.on("finish", () => {
        isWritten = true;
      });
      request.setTimeout(timeoutMs, () => {
        request.destroy(new MillraceError("E_SYNC_TIMEOUT", `nothing moved for ${timeoutMs / 1_000} s`));
      });
      request.on("error", reject);
      if (body === null) request.end();
      else this.#write(request, body, signal).catch((cause: unknown) => request.destroy(asError(cause)));
    });
  }

  async #write(request: http.ClientRequest, body: Uint8Array, signal: AbortSignal): Promise<void> {
    const { bucket } = this.#parts;
    if (bucket === null) {
      request.end(body);
      return;
    }
    await bucket.take(HEAD_BYTES, signal);
    for (let at = 0; at < body.length; ) {
      const portion = body.subarray(at, at + bucket.portionBytes);
      await bucket.take(portion.length, signal);
      // Refused or cut meanwhile: the rest need not be sent.
      if (request.destroyed || request.writableEnded) return;
      if (!request.write(portion)) await drained(request);
      at += portion.length;
    }
    request.end();
  }
}

function isSecure({ url }: HubSinkParts): boolean {
  return new URL(url).protocol === "https:";
}

function agentFor(parts: HubSinkParts): http.Agent {
  // The node's own and those of edges behind it, each with one for what is urgent; and one to look whether the hub is there.
  const options = { keepAlive: true, maxSockets: 2 * (parts.concurrency + 1) + 1 };
  return isSecure(parts) ? new https.Agent(options) : new http.Agent(options);
}

function judge({ status, headers, text }: Answer): Delivery {
  if (status === 200) {
    const answer = parseAnswer(text);
    if (answer !== null) return { kind: "delivered", ...answer };
    return { kind: "unreachable", reason: "answered 200, but not as a hub does", retryAfterMs: 0 };
  }
  const reason = `answered ${status}: ${detailOf(text)}`.slice(0, MAX_REASON_CHARACTERS);
  if (REJECTED.has(status)) return { kind: "rejected", reason };
  return { kind: "unreachable", reason, retryAfterMs: retryAfterMs(headers["retry-after"]) };
}

/** What answers 200 may be something else in between, such as a hotel's login page: nothing must be deleted for that. */
function parseAnswer(text: string): { stored: number; isDuplicate: boolean } | null {
  try {
    const answer: unknown = JSON.parse(text);
    if (typeof answer !== "object" || answer === null) return null;
    const { stored, duplicate } = answer as Readonly<Record<string, unknown>>;
    return typeof stored === "number" && typeof duplicate === "boolean"
      ? { stored, isDuplicate: duplicate }
      : null;
  } catch {
    return null;
  }
}

function detailOf(text: string): string {
  try {
    const problem: unknown = JSON.parse(text);
    if (typeof problem === "object" && problem !== null && "detail" in problem) return String(problem.detail);
  } catch {
    // Not a problem of the hub's: the text itself may tell.
  }
  return text.slice(0, MAX_REASON_CHARACTERS);
}

function drained(request: http.ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      request.off("drain", finish).off("close", finish).off("error", finish);
      resolve();
    };
    request.on("drain", finish).on("close", finish).on("error", finish);
  });
}

function asError(cause: unknown): Error {
  return cause instanceof Error ? cause : new Error(String(cause));
}
