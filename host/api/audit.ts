import type { Context, MiddlewareHandler } from "hono";
import type { AuditRange } from "../../workers/sync/audit-reader.ts";
import type { Sync } from "../sync/sync.ts";
import { edgeAuditRows, ndjsonOf } from "./audit-rows.ts";
import { type Problem, problemResponse } from "./problem.ts";
import { readTimeRange } from "./query-parameters.ts";

export const NDJSON = { "content-type": "application/x-ndjson" } as const;

const noSync: Problem = {
  status: 404,
  code: "E_NO_SYNC",
  title: "Nothing is sent anywhere",
  detail: "this node has no hub (sync.url) in its configuration, so there is nothing that a hub should have",
};

/** `stream`, `from` and `to` of an audit, or the answer that says which of them is wrong. */
export function readAuditRange(context: Context): AuditRange | Response {
  const range = readTimeRange(context);
  if (range instanceof Response) return range;
  return { stream: context.req.query("stream") ?? null, fromUs: range.fromUs, toUs: range.toUs };
}

/** `GET /v1/audit` of a node: what the hub should have, by stream and hour. */
export function getAudit(sync: Pick<Sync, "audit"> | null): MiddlewareHandler {
  return async (context) => {
    if (sync === null) return problemResponse(noSync);
    const range = readAuditRange(context);
    if (range instanceof Response) return range;
    const audit = await sync.audit(range);
    if (audit === null) return problemResponse(noSync);
    return context.body(ndjsonOf(edgeAuditRows(audit)), 200, NDJSON);
  };
}
