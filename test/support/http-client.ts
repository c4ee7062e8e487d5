import { Agent, type IncomingHttpHeaders, request } from "node:http";

const REQUEST_TIMEOUT_MS = 300_000;
/** Rows asked for at once when all are wanted. */
const PAGE_ROWS = 10_000;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** The answer to events, as API.md promises it. */
export interface Acknowledgement {
  readonly accepted: number;
  readonly deadLettered: number;
  readonly duplicate: boolean;
  readonly errors: readonly { readonly line: number; readonly path: string; readonly message: string }[];
}

export interface Result {
  readonly query: string;
  readonly window: { readonly start: string; readonly end: string };
  readonly key: Readonly<Record<string, string | number | boolean | null>>;
  readonly values: Readonly<Record<string, number | null>>;
  readonly revision: number;
  readonly kind: "early" | "on-time" | "late";
  readonly retracted?: true;
}

export interface LateEvent {
  readonly event: Readonly<Record<string, unknown>>;
  readonly reason: "late" | "clock-skew";
  readonly at: string;
}

/** A step of an alert. */
export interface AlertLine {
  readonly alert: string;
  readonly key: Readonly<Record<string, unknown>>;
  readonly state: string;
  readonly since: string;
  readonly at: string;
  readonly value: Readonly<Record<string, unknown>>;
  readonly id: string;
  readonly revision: number;
  readonly retracted?: true;
}

export interface SendOptions {
  readonly idempotencyKey?: string;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The last answer was not the hoped-for one. */
export class UnexpectedAnswer extends Error {
  readonly answer: Answer;
  constructor(what: string, answer: Answer) {
    super(`${what}: ${answer.status} ${answer.text.slice(0, 2_000)}`);
    this.answer = answer;
  }
}

/** A client on node:http with keep-alive. `url` is asked for each request, since a restarted node has a new port. */
export class HttpClient {
  readonly #url: () => string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 32 });

  constructor(url: () => string) {
    this.#url = url;
  }

  /** Rejects only when the connection fails. */
  request(
    method: string,
    path: string,
    body?: string | Uint8Array,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
      const outgoing = request(
        new URL(path, this.#url()),
        { method, agent: this.#agent, headers: { ...length, ...headers } },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
          incoming.on("error", reject);
          incoming.on("end", () => {
            const text = Buffer.concat(chunks).toString("utf8");
            resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text });
          });
        },
      );
      outgoing.setTimeout(REQUEST_TIMEOUT_MS, () =>
        outgoing.destroy(new Error(`no answer to ${method} ${path}`)),
      );
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  }

  async json<T>(path: string): Promise<T> {
    const answer = await this.request("GET", path);
    if (answer.status !== 200) throw new UnexpectedAnswer(`GET ${path}`, answer);
    return JSON.parse(answer.text) as T;
  }

  /** Sends events (objects become NDJSON) and returns whatever was answered. */
  post(
    stream: string,
    events: readonly object[] | string | Uint8Array,
    options: SendOptions = {},
  ): Promise<Answer> {
    const body = Array.isArray(events)
      ? `${events.map((event) => JSON.stringify(event)).join("\n")}\n`
      : (events as string | Uint8Array);
    const key = options.idempotencyKey;
    return this.request("POST", `/v1/streams/${encodeURIComponent(stream)}/events`, body, {
      "content-type": options.contentType ?? "application/x-ndjson",
      ...(key === undefined ? {} : { "idempotency-key": key }),
      ...options.headers,
    });
  }

  /** Sends events that must be acknowledged. */
  async send(
    stream: string,
    events: readonly object[] | string | Uint8Array,
    options: SendOptions = {},
  ): Promise<Acknowledgement> {
    const answer = await this.post(stream, events, options);
    if (answer.status !== 200) throw new UnexpectedAnswer(`sending to ${stream}`, answer);
    return JSON.parse(answer.text) as Acknowledgement;
  }

  async watermark(
    stream: string,
    mark: { readonly time: string | number } | { readonly end: true },
  ): Promise<void> {
    const answer = await this.request("POST", `/v1/streams/${stream}/watermark`, JSON.stringify(mark), {
      "content-type": "application/json",
    });
    if (answer.status !== 200) throw new UnexpectedAnswer(`moving the watermark of ${stream}`, answer);
  }

  results(query: string, parameters: Readonly<Record<string, string>> = {}): Promise<Result[]> {
    return this.#all<Result>(`/v1/queries/${query}/results`, parameters);
  }

  events(
    stream: string,
    parameters: Readonly<Record<string, string>> = {},
  ): Promise<Record<string, unknown>[]> {
    return this.#all<Record<string, unknown>>(`/v1/streams/${stream}/events`, parameters);
  }

  /** Steps of alerts. */
  alerts(parameters: Readonly<Record<string, string>> = {}): Promise<AlertLine[]> {
    return this.#all<AlertLine>("/v1/alerts", parameters);
  }

  late(stream: string): Promise<LateEvent[]> {
    return this.#all<LateEvent>(`/v1/streams/${stream}/late`, {});
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Every row of an NDJSON list, page by page along `Link: rel="next"`. */
  async #all<T>(path: string, parameters: Readonly<Record<string, string>>): Promise<T[]> {
    const rows: T[] = [];
    const query = new URLSearchParams({ limit: String(PAGE_ROWS), ...parameters });
    let next: string | null = `${path}?${query}`;
    while (next !== null) {
      const answer: Answer = await this.request("GET", next);
      if (answer.status !== 200) throw new UnexpectedAnswer(`GET ${next}`, answer);
      for (const line of answer.text.split("\n")) if (line !== "") rows.push(JSON.parse(line) as T);
      next = nextPage(answer.headers.link);
    }
    return rows;
  }
}

function nextPage(link: string | string[] | undefined): string | null {
  const text = Array.isArray(link) ? link.join(",") : (link ?? "");
  return /<([^>]+)>\s*;\s*rel="?next"?/.exec(text)?.[1] ?? null;
}
