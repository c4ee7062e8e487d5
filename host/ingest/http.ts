import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { BodyEncoding, BodyFormat, LineError } from "../../workers/messages.ts";
import { type Problem, problemResponse } from "../api/problem.ts";
import type { Config } from "../config/config.ts";
import type { Engine, IngestOutcome, IngestRefusal } from "../pipeline/engine.ts";
import { readBody } from "./body.ts";

const FORMATS: Readonly<Record<string, BodyFormat>> = {
  "application/x-ndjson": "ndjson",
  "application/ndjson": "ndjson",
  "application/jsonl": "ndjson",
  "application/jsonlines": "ndjson",
  "application/json": "json",
  "text/csv": "csv",
};
const ENCODINGS: Readonly<Record<string, BodyEncoding>> = { identity: "identity", gzip: "gzip", zstd: "zstd" };
const STREAM_NAME = /^[A-Za-z0-9_.-]{1,128}$/;
const MAX_KEY_LENGTH = 255;

export interface IngestParts {
  readonly config: Config;
  readonly engine: Engine;
}

/** `POST /v1/streams/{stream}/events`: answered once the events are fsynced. */
export async function postEvents(
  context: Context<{ Bindings: HttpBindings }>,
  { config, engine }: IngestParts,
): Promise<Response> {
  const stream = context.req.param("stream") ?? "";
  const refused = refuse(context, stream);
  if (refused !== null) return refuseUnread(context, refused);
  const announced = Number(context.req.header("content-length") ?? 0);
  const full = engine.admits(announced);
  if (full !== null) return refuseUnread(context, outcomeProblem(full));
  const { maxBodyBytes } = config.limits;
  const read = await readBody(context.env.incoming, maxBodyBytes);
  if (read.kind === "too-large") return refuseUnread(context, outcomeProblem({ kind: "too-large", limitBytes: maxBodyBytes }));
  if (read.kind === "aborted") {
    return problemResponse(aborted);
  }
  if (read.body.byteLength === 0) return problemResponse(emptyBody);
  const outcome = await engine.ingest({
    stream,
    format: formatOf(context) ?? "ndjson",
    encoding: encodingOf(context) ?? "identity",
    body: read.body,
    idempotencyKey: context.req.header("idempotency-key") ?? null,
  });
  return answer(outcome);
}

function answer(outcome: IngestOutcome): Response {
  if (outcome.kind !== "accepted") return problemResponse(outcomeProblem(outcome));
  const { accepted, deadLettered, isDuplicate, errors } = outcome;
  const shown = errors.map(({ line, path, message }) => ({ line, path, message }));
  if (accepted === 0 && deadLettered > 0) return problemResponse(allBad(deadLettered, isDuplicate, shown));
  return Response.json({ accepted, deadLettered, duplicate: isDuplicate, errors: shown });
}

function formatOf(context: Context): BodyFormat | undefined {
  const type = context.req.header("content-type")?.split(";")[0]?.trim().toLowerCase() ?? "application/x-ndjson";
  // What curl --data sends when nothing else is said.
  return type === "application/x-www-form-urlencoded" ? "ndjson" : FORMATS[type];
}

function encodingOf(context: Context): BodyEncoding | undefined {
  return ENCODINGS[context.req.header("content-encoding")?.trim().toLowerCase() ?? "identity"];
}

/** What can be refused before the body is read. */
function refuse(context: Context, stream: string): Problem | null {
  if (!STREAM_NAME.test(stream)) {
    const detail = "a stream's name has 1 to 128 letters, digits, _ . or -";
    return { status: 400, code: "E_STREAM_NAME", title: "Bad stream name", detail };
  }
  if (formatOf(context) === undefined) {
    const detail = `send one of ${Object.keys(FORMATS).join(", ")}`;
    return { status: 415, code: "E_CONTENT_TYPE", title: "Unsupported content type", detail };
  }
  if (encodingOf(context) === undefined) {
    const detail = `send one of ${Object.keys(ENCODINGS).join(", ")}`;
    return { status: 415, code: "E_CONTENT_ENCODING", title: "Unsupported content encoding", detail };
  }
  const key = context.req.header("idempotency-key");
  if (key !== undefined && (key.length === 0 || key.length > MAX_KEY_LENGTH)) {
    const detail = `an Idempotency-Key has 1 to ${MAX_KEY_LENGTH} characters`;
    return { status: 400, code: "E_IDEMPOTENCY_KEY", title: "Bad idempotency key", detail };
  }
  return null;
}

/** Answers without reading the body; the connection cannot be used again. */
function refuseUnread(context: Context<{ Bindings: HttpBindings }>, problem: Problem): Response {
  const { incoming } = context.env;
  if (!incoming.complete) {
    // The rest is thrown away for a moment, so that a client that is still sending gets to read the answer.
    incoming.resume();
    setTimeout(() => incoming.destroy(), 2_000).unref();
  }
  return problemResponse({ ...problem, headers: { connection: "close", ...problem.headers } });
}

function outcomeProblem(outcome: IngestRefusal): Problem {
  switch (outcome.kind) {
    case "overloaded":
      return {
        status: outcome.status,
        code: outcome.status === 429 ? "E_OVERLOADED" : "E_UNAVAILABLE",
        title: outcome.status === 429 ? "Too many requests" : "Unavailable",
        detail: outcome.detail,
        headers: { "retry-after": String(outcome.retryAfterSeconds) },
      };
    case "unknown-stream":
      return { status: 404, code: "E_UNKNOWN_STREAM", title: "Unknown stream", detail: outcome.detail };
    case "too-large": {
      const detail = `a body has at most ${outcome.limitBytes} bytes after decompression (limits.maxBody); send smaller batches`;
      return { status: 413, code: "E_BODY_TOO_LARGE", title: "Body too large", detail };
    }
    case "too-many-bad-lines": {
      const detail = `more than ${outcome.limit} lines are bad, so nothing of the body was kept; check its format`;
      return { status: 422, code: "E_TOO_MANY_BAD_LINES", title: "Too many bad lines", detail, errors: outcome.errors };
    }
    case "bad-encoding":
      return {
        status: 400,
        code: "E_BAD_ENCODING",
        title: "Body cannot be decompressed",
        detail: `the body is not what its Content-Encoding says: ${outcome.detail}`,
      };
  }
}

const emptyBody: Problem = {
  status: 400,
  code: "E_EMPTY_BODY",
  title: "Empty body",
  detail: "send at least one event, one JSON object on a line",
};

const aborted: Problem = {
  status: 400,
  code: "E_BODY_CUT",
  title: "Body cut off",
  detail: "the connection ended before the body did; nothing was taken, send it again",
};

function allBad(count: number, isDuplicate: boolean, errors: readonly Pick<LineError, "line" | "path" | "message">[]): Problem {
  return {
    status: 422,
    code: "E_ALL_LINES_BAD",
    title: "No line could be taken",
    detail: `all ${count} lines are bad; they are kept in the dead-letter queue (GET /v1/dlq)`,
    members: { accepted: 0, deadLettered: count, duplicate: isDuplicate },
    errors,
  };
}
