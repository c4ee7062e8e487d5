/** What the head of a plain request says. */
export interface RequestHead {
  readonly stream: string;
  /** Length of the body, at least 1. */
  readonly bodyBytes: number;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
}

const START_LINE = /^POST \/v1\/streams\/([A-Za-z0-9_.-]{1,128})\/events HTTP\/1\.1$/;
/** One space at most, and none behind the value: there is nothing to trim that somebody else might not trim. */
const FIELD = /^([A-Za-z-]+): ?([!-~](?:[ -~]*[!-~])?)$/;
const HOST = /^[A-Za-z0-9.:[\]-]+$/;
const LENGTH = /^[1-9][0-9]{0,8}$/;
/** Those that say nothing of where a request ends, of the connection, or of who else asks. */
const KNOWN = new Set([
  "accept",
  "accept-encoding",
  "accept-language",
  "authorization",
  "connection",
  "content-encoding",
  "content-length",
  "content-type",
  "host",
  "idempotency-key",
  "sec-fetch-mode",
  "traceparent",
  "tracestate",
  "user-agent",
]);

/**
 * Reads the head of a request for events, without the empty line behind it; null when there is anything about it that is
 * not quite plain, which is for a whole HTTP parser to judge. What is read here is a small part of what RFC 9112 allows, in
 * which no two readers can differ: one length, written in one way, no transfer coding, no field twice, no folded lines, no
 * bytes but printable ASCII.
 */
export function readHead(text: string): RequestHead | null {
  const lines = text.split("\r\n");
  const stream = START_LINE.exec(lines[0] ?? "")?.[1];
  if (stream === undefined) return null;
  const headers: Record<string, string> = {};
  for (let index = 1; index < lines.length; index++) {
    const field = FIELD.exec(lines[index]!);
    const name = field?.[1]?.toLowerCase();
    const value = field?.[2];
    if (name === undefined || value === undefined || !KNOWN.has(name) || name in headers) return null;
    headers[name] = value;
  }
  const { host = "", connection = "keep-alive", "content-length": length = "" } = headers;
  if (!HOST.test(host) || !LENGTH.test(length) || connection.toLowerCase() !== "keep-alive") return null;
  return { stream, bodyBytes: Number(length), headers };
}
