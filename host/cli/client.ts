import { EXIT, type ExitCode } from "./output.ts";

/** Rows asked for at a time. */
const PAGE_ROWS = 10_000;
const DEFAULT_URL = "http://127.0.0.1:7070";

/** What a command ends with when it cannot do its work. */
export class CommandError extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "CommandError";
    this.exitCode = exitCode;
  }
}

/** The address of a node: the option, then MILLRACE_URL, then the default. */
export function nodeUrl(option: string | undefined): string {
  const text = option ?? process.env.MILLRACE_URL ?? DEFAULT_URL;
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text.replace(/\/+$/, "");
  throw new CommandError(EXIT.usage, `"${text}" is not a node's address; write it like ${DEFAULT_URL}`);
}

export type Parameters = Readonly<Record<string, string | number | undefined>>;

/** Asks a node over HTTP. Throws a `CommandError` when it is not there or refuses. */
export class NodeClient {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  async json(path: string): Promise<unknown> {
    return (await this.get(path)).json();
  }

  /** Every page of an NDJSON list, its lines as they are. */
  async *pages(
    path: string,
    parameters: Parameters,
    limit = Infinity,
    pageRows = PAGE_ROWS,
  ): AsyncGenerator<readonly string[]> {
    let left = limit;
    let next: string | null = withParameters(path, { ...parameters, limit: Math.min(left, pageRows) });
    while (next !== null && left > 0) {
      const response: Response = await this.get(next);
      const lines = (await response.text()).split("\n").filter((line) => line !== "");
      yield lines.slice(0, left);
      left -= lines.length;
      next = nextPage(response.headers.get("link"));
    }
  }

  get(path: string, signal: AbortSignal | null = null): Promise<Response> {
    return this.#ask(path, { signal });
  }

  /** Sends an object as JSON. */
  async post(path: string, body: object): Promise<unknown> {
    const headers = { "content-type": "application/json" };
    return (await this.#ask(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
  }

  async #ask(path: string, options: RequestInit): Promise<Response> {
    const { signal } = options;
    let response: Response;
    try {
      response = await fetch(`${this.url}${path}`, options);
    } catch (cause) {
      throw signal?.aborted === true ? cause : unreachable(this.url, cause);
    }
    if (response.ok) return response;
    throw new CommandError(
      EXIT.failed,
      `${this.url} answered ${response.status}: ${await readDetail(response)}`,
    );
  }
}

export function unreachable(url: string, cause: unknown): CommandError {
  const message = `no node answers at ${url} (${reasonOf(cause)}); start one with \`millrace start\`, or name another with --url`;
  return new CommandError(EXIT.unreachable, message, { cause });
}

/** Why a fetch failed, in a word. */
export function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if (cause.name === "TimeoutError") return "no answer in time";
  const inner = cause.cause;
  if (inner instanceof Error && "code" in inner) return String(inner.code);
  return inner instanceof Error ? inner.message : cause.message;
}

/** The `detail` of a problem document, or the body's beginning. */
export async function readDetail(response: Response): Promise<string> {
  const text = await response.text().catch(() => "");
  try {
    const { detail } = JSON.parse(text) as { detail?: unknown };
    if (typeof detail === "string") return detail;
  } catch {
    // Not JSON: something else than a node answered.
  }
  return text.slice(0, 200) || response.statusText;
}

function withParameters(path: string, parameters: Parameters): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters))
    if (value !== undefined) search.set(name, String(value));
  return search.size === 0 ? path : `${path}?${search}`;
}

function nextPage(link: string | null): string | null {
  return /<([^>]*)>;\s*rel="?next"?/.exec(link ?? "")?.[1] ?? null;
}
