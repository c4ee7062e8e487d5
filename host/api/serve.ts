import {
  createServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { HttpBindings } from "@hono/node-server";
import type { Hono } from "hono";
import type { Logger } from "pino";
import { type ExpressIngest, ExpressWay } from "../ingest/express-way.ts";
import type { Metrics } from "../observe/metrics.ts";
import { answerClientErrors } from "./client-errors.ts";
import { problemResponse } from "./problem.ts";

export interface Timeouts {
  /** A client that sends its headers more slowly than this is cut off. */
  readonly headersMs: number;
  /** So is one that sends its whole request more slowly than this. */
  readonly requestMs: number;
  /** So is one that takes nothing of its answer for this long. */
  readonly stallMs: number;
  /** How long an unused connection is kept. */
  readonly keepAliveMs: number;
  /** At shutdown, how long open requests may take. */
  readonly drainMs: number;
}

const TIMEOUTS: Timeouts = {
  headersMs: 10_000,
  requestMs: 120_000,
  stallMs: 120_000,
  keepAliveMs: 60_000,
  drainMs: 5_000,
};
const CLOSE_IDLE_EVERY_MS = 25;

export interface Server {
  readonly url: string;
  /** Takes no new connections, ends live feeds, lets open requests end, then cuts what is left. */
  close(): Promise<void>;
}

export interface ServerParts {
  /** Asked for once, by the first request that `door` does not answer. */
  readonly app: () => Promise<Hono<{ Bindings: HttpBindings }>>;
  /** Asked first; true when it answers. */
  readonly door?: (incoming: IncomingMessage, outgoing: ServerResponse) => boolean;
  /** Answers plain requests for events; left out: `node:http` has them all. */
  readonly express?: ExpressIngest;
  readonly listen: { readonly host: string; readonly port: number };
  readonly maxConnections: number;
  readonly metrics: Pick<Metrics, "watchConnections" | "refusedConnections">;
  readonly log: Logger;
}

/** Listens, and resolves with the address in use. Rejects when the address cannot be had. */
export function serveNode(
  { app, door, express, listen: { host, port }, maxConnections, metrics, log }: ServerParts,
  timeouts: Partial<Timeouts> = {},
): Promise<Server> {
  const { headersMs, requestMs, stallMs, keepAliveMs, drainMs } = { ...TIMEOUTS, ...timeouts };
  const server = createServer({
    headersTimeout: headersMs,
    requestTimeout: requestMs,
    keepAliveTimeout: keepAliveMs,
    connectionsCheckingInterval: Math.min(headersMs, requestMs) / 4,
    noDelay: true,
  });
  server.timeout = stallMs;
  server.maxConnections = maxConnections;
  metrics.watchConnections(() => countConnections(server));
  server.on("drop", () => metrics.refusedConnections.inc());
  const listener = onceAsked(() => loadListener(app, host));
  const answer = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    if (door?.(incoming, outgoing) === true) return;
    listener().then(
      (listen) => void listen(incoming, outgoing),
      (cause: unknown) => {
        const message =
          "what answers requests could not be loaded; if the package was changed, start the node again";
        log.error({ err: cause, path: incoming.url }, message);
        outgoing.destroy();
      },
    );
  };
  server.on("request", answer);
  server.on("checkContinue", (incoming: IncomingMessage, outgoing: ServerResponse) => {
    // A client that waits before it sends its body is told to go on only when somebody is going to read it.
    incoming.on("newListener", function goOn(event) {
      if (event !== "data") return;
      incoming.off("newListener", goOn);
      if (!outgoing.headersSent) outgoing.writeContinue();
    });
    answer(incoming, outgoing);
  });
  answerClientErrors(server);
  const open = trackOpen(server);
  const way =
    express === undefined
      ? null
      : new ExpressWay(server, express, { headersMs, requestMs, stallMs, keepAliveMs });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve({ url: urlOf(server), close: () => closeServer(server, way, open, drainMs) });
    });
  });
}

type Listener = (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>;

async function loadListener(app: ServerParts["app"], hostname: string): Promise<Listener> {
  const { getRequestListener } = await import("@hono/node-server");
  const { fetch } = await app();
  // Bodies are read, or passed over, by the routes themselves.
  return getRequestListener(fetch, { hostname, autoCleanupIncoming: false, errorHandler: answerBadRequest });
}

/** Loads it when it is first asked for; when that fails, the next one to ask has it tried again. */
function onceAsked<T>(load: () => Promise<T>): () => Promise<T> {
  let loaded: Promise<T> | null = null;
  return () => {
    loaded ??= load().catch((cause: unknown) => {
      loaded = null;
      throw cause;
    });
    return loaded;
  };
}

/** What cannot be made a request of: no host, or a target that is no path. */
function answerBadRequest(): Response {
  const detail = "the request's target or Host header cannot be read";
  return problemResponse({ status: 400, code: "E_BAD_REQUEST", title: "Bad request", detail });
}

function countConnections(server: HttpServer): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((cause, count) => (cause === null ? resolve(count) : reject(cause)));
  });
}

function trackOpen(server: HttpServer): ReadonlySet<ServerResponse> {
  const open = new Set<ServerResponse>();
  const track = (_: IncomingMessage, response: ServerResponse): void => {
    open.add(response);
    response.once("close", () => open.delete(response));
  };
  server.on("request", track).on("checkContinue", track);
  return open;
}

function urlOf(server: HttpServer): string {
  const address = server.address();
  if (address === null || typeof address === "string") return String(address);
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}

function closeServer(
  server: HttpServer,
  way: ExpressWay | null,
  open: ReadonlySet<ServerResponse>,
  drainMs: number,
): Promise<void> {
  return new Promise((resolve) => {
    const idle = setInterval(() => {
      server.closeIdleConnections();
      way?.closeIdle();
    }, CLOSE_IDLE_EVERY_MS);
    const cut = setTimeout(() => {
      server.closeAllConnections();
      way?.closeAll();
    }, drainMs);
    way?.closeIdle();
    server.close(() => {
      clearInterval(idle);
      clearTimeout(cut);
      resolve();
    });
    for (const response of open) {
      if (!response.headersSent) response.setHeader("connection", "close");
      // Whole answers are ended as they begin; what is still open is a live feed, and has no end of its own.
      else if (!response.writableEnded) response.end();
    }
  });
}
