import { serve, type ServerType } from "@hono/node-server";
import type { Hono } from "hono";
import type { HttpBindings } from "@hono/node-server";

/** A client that sends its headers or its body more slowly than this is cut off. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 120_000;
const KEEP_ALIVE_MS = 60_000;
/** At shutdown, how long open requests may take. */
const DRAIN_MS = 5_000;

export interface Server {
  readonly url: string;
  close(): Promise<void>;
}

/** Listens, and resolves with the address in use. Rejects when the address cannot be had. */
export function serveNode(
  app: Hono<{ Bindings: HttpBindings }>,
  { host, port }: { host: string; port: number },
): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server: ServerType = serve(
      {
        fetch: app.fetch,
        hostname: host,
        port,
        autoCleanupIncoming: false,
        serverOptions: {
          headersTimeout: HEADERS_TIMEOUT_MS,
          requestTimeout: REQUEST_TIMEOUT_MS,
          keepAliveTimeout: KEEP_ALIVE_MS,
          noDelay: true,
        },
      },
      (address) => {
        const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;
        resolve({ url: `http://${shown}:${address.port}`, close: () => closeServer(server) });
      },
    );
    server.once("error", reject);
  });
}

function closeServer(server: ServerType): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    if (!("closeIdleConnections" in server)) return;
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), DRAIN_MS).unref();
  });
}
