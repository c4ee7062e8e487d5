import type { Context } from "hono";
import { type Problem, problemResponse } from "./problem.ts";
import type { AlertsRequest, ListRequest, ResultsRequest } from "./reads.ts";
import { parseTime } from "./times.ts";

const DEFAULT_LIMIT = 1_000;
const MAX_LIMIT = 100_000;
export const MAX_DEVICES = 10_000;
const KINDS: ReadonlySet<string> = new Set(["early", "on-time", "late"]);
const ALERT_STATES: ReadonlySet<string> = new Set(["pending", "firing", "resolved"]);
const TIME_HINT = "is neither an ISO 8601 time, such as 2026-01-01T08:00:00Z, nor epoch microseconds";

type TimeRange = Omit<ResultsRequest, "query" | "kind" | "revisions">;

/** `from`, `to`, `key`, `limit` and `after`, or the answer that says which of them is wrong. */
export function readTimeRange(context: Context): TimeRange | Response {
  const parameters = context.req.query();
  const times: Record<"from" | "to", number | null> = { from: null, to: null };
  for (const name of ["from", "to"] as const) {
    const text = parameters[name];
    if (text === undefined) continue;
    times[name] = parseTime(text);
    if (times[name] === null) return refuse(name, `"${text}" ${TIME_HINT}`);
  }
  const limit = readLimit(parameters.limit);
  if (limit instanceof Response) return limit;
  const { key = null, after = null } = parameters;
  return { fromUs: times.from, toUs: times.to, key, limit, after };
}

export function readResultQuery(context: Context, query: string): ResultsRequest | Response {
  const range = readTimeRange(context);
  if (range instanceof Response) return range;
  const { kind = null, revisions = "latest" } = context.req.query();
  if (kind !== null && !KINDS.has(kind))
    return refuse("kind", `"${kind}" is not one of ${[...KINDS].join(", ")}`);
  if (revisions !== "latest" && revisions !== "all")
    return refuse("revisions", `"${revisions}" is not latest or all`);
  return { ...range, query, kind, revisions };
}

export function readAlertQuery(context: Context): AlertsRequest | Response {
  const range = readTimeRange(context);
  if (range instanceof Response) return range;
  const { alert = null, state = null, revisions = "latest" } = context.req.query();
  if (state !== null && !ALERT_STATES.has(state))
    return refuse("state", `"${state}" is not one of ${[...ALERT_STATES].join(", ")}`);
  if (revisions !== "latest" && revisions !== "all")
    return refuse("revisions", `"${revisions}" is not latest or all`);
  return { ...range, alert, state, revisions };
}

export function readListQuery(context: Context): ListRequest | Response {
  const { stream = null, after = null, limit: text } = context.req.query();
  const limit = readLimit(text);
  return limit instanceof Response ? limit : { stream, limit, after };
}

/** Of a list that is made on the window thread, which must not be held up. */
export function readDeviceLimit(context: Context): number | Response {
  return readLimit(context.req.query("limit"), MAX_DEVICES);
}

function readLimit(text: string | undefined, most = MAX_LIMIT): number | Response {
  if (text === undefined) return DEFAULT_LIMIT;
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= most) return limit;
  return refuse("limit", `"${text}" is not a whole number from 1 to ${most}`);
}

/** `after` is not what a page before gave. */
export function badCursor(message: string): Problem {
  return { status: 400, code: "E_CURSOR", title: "Bad query parameter", detail: message };
}

function refuse(parameter: string, detail: string): Response {
  const title = "Bad query parameter";
  return problemResponse({
    status: 400,
    code: "E_QUERY_PARAMETER",
    title,
    detail: `${parameter}: ${detail}`,
  });
}
