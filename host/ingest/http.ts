import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { BodyEncoding, BodyFormat, LineError } from "../../workers/messages.ts";
import { badStreamName, isStreamName, type Problem } from "../api/problem.ts";
import type { Config } from "../config/config.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Engine, IngestOutcome, IngestRefusal } from "../pipeline/engine.ts";
import { announcedBytes, type BodyRead, type BodyReader, type ComingBody } from "./body.ts";
import { refuseUnread } from "./refuse-unread.ts";

export const FORMATS: ReadonlyMap<string, BodyFormat> = new Map([
  ["application/x-ndjson", "ndjson"],
  ["application/ndjson", "ndjson"],
  ["application/jsonlines", "ndjson"],
  ["application/jsonl", "ndjson"],
  ["application/json", "json"],
  ["text/csv", "csv"],
]);
export const ACCEPTED_TYPE = "application/json";
/** What `curl --data` says when it is told nothing else. */
export const UNTOLD_TYPE = "application/x-www-form-urlencoded";
const ENCODINGS: ReadonlyMap<string, BodyEncoding> = new Map([
  ["identity", "identity"],
  ["gzip", "gzip"],
  ["x-gzip", "gzip"],
  ["zstd", "zstd"],
]);
const MAX_KEY_LENGTH = 255;
const ERRORS_IN_ANSWER = 10;
/** For bodies that found no room: about what a body of the largest size takes on a slow line. */
const RETRY_AFTER_SECONDS = "2";

export interface IngestParts {
  readonly config: Config;
  readonly engine: Engine;
  readonly bodies: BodyReader;
  readonly metrics: Metrics;
}

/** `POST /v1/streams/{stream}/events`: answered once the events are fsynced. */
export async function postEvents(
  context: Context<{ Bindings: HttpBindings }>,
  parts: IngestParts,
): Promise<Response> {
  const { incoming } = context.env;
  const answer = await takeEvents(incoming, context.req.param("stream") ?? "", parts);
  if (typeof answer !== "string") return refuseUnread(incoming, answer, parts.config.limits.maxBodyBytes);
  return new Response(answer, { headers: { "content-type": ACCEPTED_TYPE } });
}

/** Reads the request's body and makes its events durable. @returns the text of a 200, or why there is none */
export async function takeEvents(
  incoming: IncomingMessage,
  stream: string,
  parts: IngestParts,
): Promise<string | Problem> {
  const { config, engine, bodies, metrics } = parts;
  const { maxBodyBytes } = config.limits;
  const asked = isStreamName(stream) ? readForm(incoming.headers) : badStreamName;
  const form = admit(asked, announcedBytes(incoming) ?? 0, parts);
  if ("code" in form) return refuse(form, metrics);
  const read = await bodies.read(incoming, maxBodyBytes);
  if (read.kind !== "read") return refuse(unreadProblem(read, maxBodyBytes), metrics);
  if (read.body.byteLength === 0) return refuse(emptyBody, metrics);
  return answerOf(await engine.ingest({ stream, body: read.body, ...form }), metrics);
}

/**
 * The same of a request that came whole, without a promise; exactly one of the two is called. A body up to `COPIED_BYTES` is
 * the caller's again when it returns.
 */
export function takeWhole(
  { stream, form: asked, body }: WholeRequest,
  parts: IngestParts,
  settle: (answer: string | Problem) => void,
  fail: (cause: unknown) => void,
): void {
  const { engine, metrics } = parts;
  const form = admit(asked, body.length, parts);
  if ("code" in form) {
    settle(refuse(form, metrics));
    return;
  }
  const { format, encoding, idempotencyKey } = form;
  const request = { stream, format, encoding, body, idempotencyKey };
  engine.offer(request, (outcome) => settle(answerOf(outcome, metrics)), fail);
}

/**
 * The same of a request whose body is still to come, or a part of it.
 * @returns what takes the body's parts; null: it is refused already, and its body to be passed over
 */
export function takeComing(
  { stream, form: asked, bodyBytes }: ComingRequest,
  parts: IngestParts,
  settle: (answer: string | Problem) => void,
  fail: (cause: unknown) => void,
): ComingBody | null {
  const { config, engine, bodies, metrics } = parts;
  const { maxBodyBytes } = config.limits;
  const form = admit(asked, bodyBytes, parts);
  if ("code" in form) {
    settle(refuse(form, metrics));
    return null;
  }
  const { format, encoding, idempotencyKey } = form;
  return bodies.begin(bodyBytes, maxBodyBytes, (read) => {
    if (read.kind !== "read") {
      settle(refuse(unreadProblem(read, maxBodyBytes), metrics));
      return;
    }
    const request = { stream, format, encoding, body: read.body, idempotencyKey };
    engine.offer(request, (outcome) => settle(answerOf(outcome, metrics)), fail);
  });
}

/** How a body is to be read, or why it is not, as far as that can be told before it is. */
function admit(
  form: BodyForm | Problem,
  bytes: number,
  { config, engine, bodies }: IngestParts,
): BodyForm | Problem {
  if ("code" in form) return form;
  if (bytes > config.limits.maxBodyBytes) return tooLarge(config.limits.maxBodyBytes);
  const full = engine.admits(bytes + bodies.heldBytes);
  return full === null ? form : refusalProblem(full);
}

function answerOf(outcome: IngestOutcome, metrics: Metrics): string | Problem {
  return outcome.kind === "accepted" ? acceptance(outcome) : refuse(refusalProblem(outcome), metrics);
}

function refuse(problem: Problem, metrics: Metrics): Problem {
  metrics.refusedBodies.inc({ code: problem.code });
  return problem;
}

/** The text of nearly every answer. */
function allGood(accepted: number): string {
  return `{"accepted":${accepted},"deadLettered":0,"duplicate":false,"errors":[]}`;
}

function acceptance(outcome: Extract<IngestOutcome, { kind: "accepted" }>): string | Problem {
  const { accepted, deadLettered, isDuplicate } = outcome;
  if (deadLettered === 0 && !isDuplicate) return allGood(accepted);
  const errors = shown(outcome.errors);
  if (accepted === 0 && deadLettered > 0) return allBad(deadLettered, isDuplicate, errors);
  return JSON.stringify({ accepted, deadLettered, duplicate: isDuplicate, errors });
}

/** A request for events that came in one piece. */
export interface WholeRequest {
  readonly stream: string;
  /** How its body is to be read, or why it is not. */
  readonly form: BodyForm | Problem;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** A request for events of which the head came. */
export interface ComingRequest extends Pick<WholeRequest, "stream" | "form"> {
  /** At least 1. */
  readonly bodyBytes: number;
}

/** How a body is to be read. */
export interface BodyForm {
  readonly format: BodyFormat;
  readonly encoding: BodyEncoding;
  readonly idempotencyKey: string | null;
}

/** What the headers say of the body, or what is wrong with them. */
export function readForm(headers: IncomingHttpHeaders): BodyForm | Problem {
  const type = mediaType(headers["content-type"]);
  const format = type === "" || type === UNTOLD_TYPE ? "ndjson" : FORMATS.get(type);
  if (format === undefined) {
    const known = [...FORMATS.keys()].join(", ");
    const detail = `Content-Type ${type} is not one that can be read; send one of ${known}`;
    const accepts = { "accept-post": known };
    return {
      status: 415,
      code: "E_CONTENT_TYPE",
      title: "Unsupported content type",
      detail,
      headers: accepts,
    };
  }
  const coding = headers["content-encoding"]?.trim().toLowerCase() ?? "identity";
  const encoding = ENCODINGS.get(coding);
  if (encoding === undefined) {
    const detail = `Content-Encoding ${coding} is not one that can be read; send one of identity, gzip, zstd`;
    const accepts = { "accept-encoding": "gzip, zstd, identity" };
    return {
      status: 415,
      code: "E_CONTENT_ENCODING",
      title: "Unsupported content encoding",
      detail,
      headers: accepts,
    };
  }
  const idempotencyKey = headers["idempotency-key"] ?? null;
  if (
    Array.isArray(idempotencyKey) ||
    idempotencyKey?.length === 0 ||
    (idempotencyKey?.length ?? 0) > MAX_KEY_LENGTH
  ) {
    const detail = `an Idempotency-Key has 1 to ${MAX_KEY_LENGTH} characters`;
    return { status: 400, code: "E_IDEMPOTENCY_KEY", title: "Bad idempotency key", detail };
  }
  return { format, encoding, idempotencyKey };
}

/** The type without its parameters, in lower case; empty when there is none. */
export function mediaType(header: string | undefined): string {
  if (header === undefined) return "";
  const end = header.indexOf(";");
  return (end < 0 ? header : header.slice(0, end)).trim().toLowerCase();
}

function refusalProblem(refusal: IngestRefusal): Problem {
  switch (refusal.kind) {
    case "overloaded":
      return {
        status: refusal.status,
        code: refusal.status === 429 ? "E_OVERLOADED" : "E_UNAVAILABLE",
        title: refusal.status === 429 ? "Too many requests" : "Unavailable",
        detail: refusal.detail,
        headers: { "retry-after": String(refusal.retryAfterSeconds) },
      };
    case "buffer-full":
      return {
        status: 507,
        code: "E_BUFFER_FULL",
        title: "Buffer full",
        detail: refusal.detail,
        headers: { "retry-after": String(refusal.retryAfterSeconds) },
      };
    case "unknown-stream":
      return { status: 404, code: "E_UNKNOWN_STREAM", title: "Unknown stream", detail: refusal.detail };
    case "too-large":
      return tooLarge(refusal.limitBytes);
    case "bad-encoding":
      return {
        status: 400,
        code: "E_BAD_ENCODING",
        title: "Body cannot be decompressed",
        detail: `the body is not what its Content-Encoding says: ${refusal.detail}`,
      };
  }
}

function unreadProblem(read: Exclude<BodyRead, { kind: "read" }>, maxBodyBytes: number): Problem {
  switch (read.kind) {
    case "too-large":
      return tooLarge(maxBodyBytes);
    case "no-room": {
      const detail =
        "more bodies are on their way in than limits.maxQueuedBytes allows; send again later or slower";
      const headers = { "retry-after": RETRY_AFTER_SECONDS };
      return { status: 429, code: "E_OVERLOADED", title: "Too many requests", detail, headers };
    }
    case "stalled": {
      const detail = "nothing more of the body came for too long; nothing was taken, send it again";
      return {
        status: 408,
        code: "E_BODY_STALLED",
        title: "Body stalled",
        detail,
        headers: { connection: "close" },
      };
    }
    case "aborted": {
      const detail = "the connection ended before the body did; nothing was taken, send it again";
      return { status: 400, code: "E_BODY_CUT", title: "Body cut off", detail };
    }
  }
}

function tooLarge(limitBytes: number): Problem {
  const detail = `a body has at most ${limitBytes} bytes after decompression (limits.maxBody); send smaller batches`;
  return { status: 413, code: "E_BODY_TOO_LARGE", title: "Body too large", detail };
}

const emptyBody: Problem = {
  status: 400,
  code: "E_EMPTY_BODY",
  title: "Empty body",
  detail: "the request has no body; send at least one event, such as a line with one JSON object",
};

type ShownError = Pick<LineError, "line" | "path" | "message">;

function shown(errors: readonly LineError[]): ShownError[] {
  return errors.slice(0, ERRORS_IN_ANSWER).map(({ line, path, message }) => ({ line, path, message }));
}

function allBad(count: number, isDuplicate: boolean, errors: readonly ShownError[]): Problem {
  const detail =
    count === 1
      ? "the only line is bad; it is kept in the dead-letter queue (GET /v1/dlq)"
      : `all ${count} lines are bad; they are kept in the dead-letter queue (GET /v1/dlq)`;
  const members = { accepted: 0, deadLettered: count, duplicate: isDuplicate };
  return { status: 422, code: "E_ALL_LINES_BAD", title: "No line could be taken", detail, members, errors };
}
