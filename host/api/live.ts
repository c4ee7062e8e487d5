import type { ServerResponse } from "node:http";
import { alertJson } from "../../workers/alert/alert-json.ts";
import type { AlertRow } from "../../workers/messages.ts";
import type { ResultGroup } from "../../workers/result-rows.ts";
import { formatTime } from "../../workers/time-format.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Engine } from "../pipeline/engine.ts";
import { problemResponse } from "./problem.ts";

/** Keeps proxies from closing a quiet feed, and finds clients that are gone. */
const HEARTBEAT_MS = 15_000;
/** What may wait for a slow reader when more comes; then it is cut off. What it missed is under /results. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
const HEARTBEAT = Buffer.from(": still here\n\n");
const VALUES = ',"values":';
const RETRACTED = ',"retracted":true';
const GREETING = Buffer.from(": connected\n\n");

/** The feed of alerts among those of queries: no query has such a name. */
export const ALERT_FEED = "alert:";

export interface LiveOptions {
  readonly engine: Engine;
  readonly metrics: Metrics;
  readonly maxClients: number;
  readonly maxWaitingBytes?: number;
}

/**
 * Result rows as server-sent events, each once it is durable.
 *
 * Rows are written to text once for all clients of a query. What waits for a client is bounded: the one that has more
 * than `maxWaitingBytes` ahead of it when further rows come is disconnected and counted.
 */
export class LiveFeeds {
  readonly #options: LiveOptions;
  readonly #maxWaitingBytes: number;
  readonly #topics = new Map<string, Topic>();
  readonly #clients = new Set<LiveClient>();
  #heartbeat: NodeJS.Timeout | null = null;

  constructor(options: LiveOptions) {
    this.#options = options;
    this.#maxWaitingBytes = options.maxWaitingBytes ?? MAX_WAITING_BYTES;
  }

  /** The answer to a client that asks for a query's rows; `outgoing` is destroyed when it reads too slowly. */
  open(query: string, outgoing: ServerResponse): Response {
    const { maxClients } = this.#options;
    if (this.#clients.size >= maxClients) {
      const detail = `limits.maxLiveClients (${maxClients}) clients are connected`;
      const headers = { "retry-after": "5" };
      return problemResponse({
        status: 503,
        code: "E_LIVE_CLIENTS",
        title: "Too many live clients",
        detail,
        headers,
      });
    }
    const client = new LiveClient(query, outgoing, () => this.#forget(client));
    client.push(GREETING);
    this.#remember(client);
    return new Response(client.stream, { headers: LIVE_HEADERS });
  }

  #remember(client: LiveClient): void {
    this.#clients.add(client);
    const topic = this.#topics.get(client.query) ?? this.#subscribe(client.query);
    topic.clients.add(client);
    this.#options.metrics.liveClients.set(this.#clients.size);
    this.#heartbeat ??= setInterval(() => {
      for (const each of this.#clients) if (each.waitingBytes === 0) each.push(HEARTBEAT);
    }, HEARTBEAT_MS).unref();
  }

  #subscribe(query: string): Topic {
    const clients = new Set<LiveClient>();
    const send = (events: Buffer): void => {
      for (const client of clients) {
        if (client.waitingBytes <= this.#maxWaitingBytes) {
          client.push(events);
          continue;
        }
        this.#options.metrics.liveClientsDropped.inc();
        client.cut();
      }
    };
    const { engine } = this.#options;
    const stop =
      query === ALERT_FEED
        ? engine.subscribeAlerts((rows) => send(alertEvents(rows)))
        : engine.subscribe(query, (groups) => send(eventsOf(query, groups)));
    const topic = { clients, stop };
    this.#topics.set(query, topic);
    return topic;
  }

  #forget(client: LiveClient): void {
    if (!this.#clients.delete(client)) return;
    this.#options.metrics.liveClients.set(this.#clients.size);
    const topic = this.#topics.get(client.query);
    topic?.clients.delete(client);
    if (topic?.clients.size === 0) {
      topic.stop();
      this.#topics.delete(client.query);
    }
    if (this.#clients.size > 0 || this.#heartbeat === null) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = null;
  }
}

export const LIVE_HEADERS = {
  "content-type": "text/event-stream",
  "cache-control": "no-store",
  // Asks proxies of the nginx kind not to gather events.
  "x-accel-buffering": "no",
} as const;

interface Topic {
  readonly clients: Set<LiveClient>;
  readonly stop: () => void;
}

/** One reader: a queue on this side, a stream that takes from it as fast as the connection does on the other. */
class LiveClient {
  readonly query: string;
  readonly stream: ReadableStream<Uint8Array>;
  readonly #outgoing: ServerResponse;
  readonly #onEnd: () => void;
  #waiting: Uint8Array[] = [];
  #wake: (() => void) | null = null;
  waitingBytes = 0;

  constructor(query: string, outgoing: ServerResponse, onEnd: () => void) {
    this.query = query;
    this.#outgoing = outgoing;
    this.#onEnd = onEnd;
    this.stream = new ReadableStream(
      {
        pull: async (controller) => {
          if (this.#waiting.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
          const next = this.#waiting.shift();
          if (next === undefined) return;
          this.waitingBytes -= next.length;
          controller.enqueue(next);
        },
        cancel: () => this.#end(),
      },
      { highWaterMark: 0 },
    );
  }

  push(events: Uint8Array): void {
    this.#waiting.push(events);
    this.waitingBytes += events.length;
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  /** Ends the connection: nothing that is said to a client that does not read would reach it. */
  cut(): void {
    this.#end();
    this.#outgoing.destroy();
  }

  #end(): void {
    this.#waiting = [];
    this.waitingBytes = 0;
    this.#onEnd();
  }
}

/**
 * Rows in the form of events; the id is the window's start in µs, from which a client may read on. Rows of a group differ in what stands
 * between: their lines are made events by putting it there, which takes two thirds of the time of a text for each. Of bytes, each a
 * character, as the groups are; names of queries are ASCII.
 */
function eventsOf(query: string, groups: readonly ResultGroup[]): Buffer {
  const name = JSON.stringify(query);
  let text = "";
  for (const { startUs, endUs, revision, kind, retracted, lines } of groups) {
    const window = `{"start":"${formatTime(startUs)}","end":"${formatTime(endUs)}"}`;
    const head = `event: result\nid: ${startUs}\ndata: {"query":${name},"window":${window},"key":`;
    const tail = `,"revision":${revision},"kind":"${kind}"${retracted ? RETRACTED : ""}}\n\n`;
    const between = `${tail}${head}`.replaceAll("$", "$$$$");
    text += `${head}${lines.replace(/\t/g, VALUES).replace(/\n/g, between)}${tail}`;
  }
  return Buffer.from(text, "latin1");
}

function alertEvents(rows: readonly AlertRow[]): Buffer {
  const events = rows.map(
    (row) => `event: alert\nid: ${row.id}-${row.revision}\ndata: ${alertJson(row)}\n\n`,
  );
  return Buffer.from(events.join(""));
}
