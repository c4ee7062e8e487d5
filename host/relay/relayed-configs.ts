import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type { SyncConfig } from "../config/sync-config.ts";
import type { StorageClient } from "../store/storage-client.ts";
import { jittered } from "../sync/retry-delay.ts";

/** Answers that are passed on: what the edge must see. */
const PASSED_HEADERS = [
  "etag",
  "content-type",
  "millrace-config-scope",
  "millrace-config-version",
  "millrace-signature",
] as const;
const MAX_BYTES = 1024 * 1024;
/** How often reports that the hub has not got are tried again. */
const REPORT_MS = 2_000;

export interface RelayedConfigsParts {
  readonly name: string;
  readonly settings: () => SyncConfig;
  readonly storage: Pick<StorageClient, "readDocument" | "listDocuments" | "putDocument" | "dropDocument">;
  readonly log: Logger;
}

interface Held {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * What passes between edges behind a relay and the hub of configurations: the hub's answer as it is, the last one when the
 * hub is away; and what edges say of it, which is kept until the hub has it.
 */
export class RelayedConfigs {
  readonly #parts: RelayedConfigsParts;
  readonly #stop = new AbortController();
  #timer: NodeJS.Timeout | null = null;
  #turn: Promise<void> = Promise.resolve();

  constructor(parts: RelayedConfigsParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#wait();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#turn;
  }

  /** The hub's answer for an edge, or the last one there was; null: the hub is away, and there was none. */
  async get(edge: string, hops: readonly string[], known: string | undefined): Promise<Response | null> {
    const { storage } = this.#parts;
    const stored = await storage.readDocument("relayed-config", edge);
    const held = stored === null ? null : (JSON.parse(stored.body) as Held);
    const tags = [known, held?.headers.etag].filter((tag) => tag !== undefined);
    const headers = tags.length === 0 ? {} : { "if-none-match": tags.join(", ") };
    const response = await this.#send("GET", edge, "", hops, headers, null).catch(() => null);
    if (response === null || response.status >= 500) return held === null ? null : answerOf(held, known);
    if (response.status === 304) {
      const etag = response.headers.get("etag");
      if (held !== null && held.headers.etag === etag) return answerOf(held, known);
      return new Response(null, { status: 304, headers: etag === null ? {} : { etag } });
    }
    const body = await textOf(response);
    if (response.status !== 200) {
      const type = response.headers.get("content-type") ?? "text/plain";
      return new Response(body, { status: response.status, headers: { "content-type": type } });
    }
    const passed = PASSED_HEADERS.flatMap((name) => {
      const value = response.headers.get(name);
      return value === null ? [] : [[name, value] as const];
    });
    const fresh: Held = { headers: Object.fromEntries(passed), body };
    if (fresh.headers.etag !== held?.headers.etag)
      await storage.putDocument({ kind: "relayed-config", name: edge, body: JSON.stringify(fresh) });
    return answerOf(fresh, known);
  }

  /** Durable when it resolves: the hub gets it when it can be reached. */
  async report(edge: string, hops: readonly string[], report: string): Promise<void> {
    const document = { kind: "relayed-report", name: edge, body: JSON.stringify({ hops, report }) } as const;
    await this.#parts.storage.putDocument(document);
    this.#inTurn();
    await this.#turn;
  }

  #wait(): void {
    if (this.#stop.signal.aborted) return;
    this.#timer = setTimeout(
      () => {
        this.#inTurn();
        void this.#turn.then(() => this.#wait());
      },
      jittered(REPORT_MS, Math.random),
    );
  }

  #inTurn(): void {
    this.#turn = this.#turn
      .then(() => this.#sendReports())
      .catch((cause: unknown) => {
        if (!this.#stop.signal.aborted)
          this.#parts.log.debug({ err: cause }, "reports of edges wait for the hub");
      });
  }

  async #sendReports(): Promise<void> {
    const { storage, log } = this.#parts;
    for (const document of await storage.listDocuments("relayed-report")) {
      const { hops, report } = JSON.parse(document.body) as { hops: readonly string[]; report: string };
      const headers = { "content-type": "application/json" };
      const response = await this.#send("POST", document.name, "/state", hops, headers, report);
      const detail = await textOf(response);
      if (response.status >= 500 || response.status === 401 || response.status === 403) return;
      if (response.status !== 204)
        log.warn({ edge: document.name, status: response.status, detail }, "the hub will not have a report");
      await storage.dropDocument(document);
    }
  }

  #send(
    method: string,
    edge: string,
    path: string,
    hops: readonly string[],
    headers: Readonly<Record<string, string>>,
    body: string | null,
  ): Promise<Response> {
    const { name, settings } = this.#parts;
    const { url, token, timeoutMs } = settings();
    if (url === null) return Promise.reject(new MillraceError("E_NO_HUB", "there is no hub"));
    return fetch(`${url.replace(/\/$/, "")}/v1/config/${encodeURIComponent(edge)}${path}`, {
      method,
      body,
      redirect: "manual",
      headers: {
        ...headers,
        "millrace-edge": edge,
        "millrace-via": [...hops, name].join(", "),
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      },
      signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(timeoutMs)]),
    });
  }
}

function answerOf({ headers, body }: Held, known: string | undefined): Response {
  const { etag = "" } = headers;
  const tags = (known ?? "").split(",").map((tag) => tag.trim());
  if (tags.includes(etag)) return new Response(null, { status: 304, headers: { etag } });
  return new Response(body, { headers: { ...headers } });
}

async function textOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) break;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
