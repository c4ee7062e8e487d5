import type { HttpBindings } from "@hono/node-server";
import type { MiddlewareHandler } from "hono";
import type { Metrics } from "../observe/metrics.ts";
import { problemResponse } from "./problem.ts";
import { SAFETY_HEADERS } from "./safety-headers.ts";

type Guard = MiddlewareHandler<{ Bindings: HttpBindings }>;

const MAX_WAITING_READS = 256;
/** Pages have their own. */
const OF_THE_PAGE: ReadonlySet<string> = new Set(["content-security-policy", "cache-control"]);

/**
 * A page of some other site, open in a browser on this machine, may send requests here; it must not change anything.
 * Browsers name the page's origin in every such request; other clients name none.
 */
export const refuseOtherSites: Guard = async (context, next) => {
  const { method, headers } = context.env.incoming;
  const { origin } = headers;
  if (origin === undefined || method === "GET" || method === "HEAD" || hostOf(origin) === headers.host) {
    await next();
    return;
  }
  const detail = `a page of ${origin} may not send requests to this node`;
  return problemResponse({ status: 403, code: "E_OTHER_SITE", title: "Request of another site", detail });
};

/** Reads share one thread: when too many wait for it, further ones are told to come back. */
export function limitReads(metrics: Pick<Metrics, "waitingReads">): Guard {
  let waiting = 0;
  return async (_, next) => {
    if (waiting >= MAX_WAITING_READS) {
      const detail = `${MAX_WAITING_READS} reads are waiting; ask again later`;
      const headers = { "retry-after": "1" };
      return problemResponse({
        status: 503,
        code: "E_READS_WAITING",
        title: "Too many reads",
        detail,
        headers,
      });
    }
    metrics.waitingReads.set(++waiting);
    try {
      await next();
    } finally {
      metrics.waitingReads.set(--waiting);
    }
    return;
  };
}

/** For what browsers get. The pages' own headers, set by their routes, stay. */
export const addSafetyHeaders: Guard = async (context, next) => {
  await next();
  const { method } = context.env.incoming;
  if (method !== "GET" && method !== "HEAD") return;
  const { headers } = context.res;
  for (const [name, value] of Object.entries(SAFETY_HEADERS))
    if (!OF_THE_PAGE.has(name) || !headers.has(name)) headers.set(name, value);
};

function hostOf(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null;
}
