import type { MiddlewareHandler } from "hono";
import { wholeHours } from "../../workers/sync/audit-reader.ts";
import { NDJSON, readAuditRange } from "../api/audit.ts";
import { hubAuditRows, ndjsonOf } from "../api/audit-rows.ts";
import type { HubStore } from "./hub-store.ts";

/** Blocks that could not be read, so that their events are in no row. */
const UNREADABLE_HEADER = "millrace-unreadable-blocks";

/** `GET /v1/audit` of a hub: what is held, by edge, data directory, stream and hour. */
export function getHubAudit(store: HubStore): MiddlewareHandler {
  return async (context) => {
    const range = readAuditRange(context);
    if (range instanceof Response) return range;
    const edge = context.req.query("edge") ?? null;
    const { sums, unreadable } = await store.audit({ ...wholeHours(range), edge });
    const headers = { ...NDJSON, [UNREADABLE_HEADER]: String(unreadable) };
    return context.body(ndjsonOf(hubAuditRows(sums)), 200, headers);
  };
}
