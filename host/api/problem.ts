import type { LineError } from "../../workers/messages.ts";
import type { IngestRefusal } from "../pipeline/engine.ts";

/** An error answer of RFC 9457, `application/problem+json`. */
export interface Problem {
  readonly status: number;
  /** Stable, `E_…`; also the end of the problem's type. */
  readonly code: string;
  readonly title: string;
  /** For a person: what is wrong, where, and what to do. */
  readonly detail: string;
  readonly errors?: readonly Pick<LineError, "line" | "path" | "message">[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly members?: Readonly<Record<string, unknown>>;
}

export const PROBLEM_TYPE = "application/problem+json";

/** Of every answer that is one, beside its own. */
export const PROBLEM_HEADERS = { "content-type": PROBLEM_TYPE, "x-content-type-options": "nosniff" };

export function problemText({ status, code, title, detail, errors, members }: Problem): string {
  const type = `urn:millrace:problem:${code}`;
  return JSON.stringify({ type, title, status, detail, code, ...members, errors: errors ?? [] });
}

/** The answer. A `body` is given when the text must go out in a way of its own. */
export function problemResponse(problem: Problem, body?: ReadableStream<Uint8Array>): Response {
  const headers = { ...PROBLEM_HEADERS, ...problem.headers };
  return new Response(body ?? problemText(problem), { status: problem.status, headers });
}

export function unknownStream(name: string): Problem {
  const detail = `there is no stream ${name}; GET /v1/streams lists them`;
  return { status: 404, code: "E_UNKNOWN_STREAM", title: "Unknown stream", detail };
}

export function unknownQuery(name: string): Problem {
  const detail = `there is no query ${name}; GET /v1/queries lists them`;
  return { status: 404, code: "E_UNKNOWN_QUERY", title: "Unknown query", detail };
}

/** The node takes nothing at the moment. */
export function unavailable(refusal: IngestRefusal & { kind: "overloaded" }): Problem {
  const { status, detail, retryAfterSeconds } = refusal;
  const headers = { "retry-after": String(retryAfterSeconds) };
  return { status, code: "E_UNAVAILABLE", title: "Unavailable", detail, headers };
}

export const badStreamName: Problem = {
  status: 400,
  code: "E_STREAM_NAME",
  title: "Bad stream name",
  detail: "a stream's name has 1 to 128 letters, digits, _ . or -",
};

const STREAM_NAME = /^[A-Za-z0-9_.-]{1,128}$/;

export function isStreamName(name: string): boolean {
  return STREAM_NAME.test(name);
}
