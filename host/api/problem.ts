import type { LineError } from "../../workers/messages.ts";

/** An error answer of RFC 9457, `application/problem+json`. */
export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly errors?: readonly Pick<LineError, "line" | "path" | "message">[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly members?: Readonly<Record<string, unknown>>;
}

export function problemResponse({ status, code, title, detail, errors, headers, members }: Problem): Response {
  const type = `urn:millrace:problem:${code}`;
  const body = { type, title, status, detail, code, ...members, errors: errors ?? [] };
  return new Response(JSON.stringify(body), {
    status,
    headers: { "content-type": "application/problem+json", ...headers },
  });
}
