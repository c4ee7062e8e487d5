import type { Context } from "hono";
import { problemResponse } from "./problem.ts";
import type { ResultsTask } from "./reads.ts";
import { parseTime } from "./times.ts";

const DEFAULT_LIMIT = 1_000;
const MAX_LIMIT = 100_000;

interface TimeRange {
  readonly fromUs: number | null;
  readonly toUs: number | null;
  readonly key: string | null;
  readonly limit: number;
  readonly after: string | null;
}

/** `from`, `to`, `key`, `limit` and `after`, or the answer that says which of them is wrong. */
export function readTimeRange(context: Context): TimeRange | Response {
  const times: Record<"from" | "to", number | null> = { from: null, to: null };
  for (const name of ["from", "to"] as const) {
    const text = context.req.query(name);
    if (text === undefined) continue;
    times[name] = parseTime(text);
    if (times[name] === null) return refuse(name, `"${text}" is neither an ISO 8601 time nor epoch microseconds`);
  }
  const limit = readLimit(context);
  if (limit instanceof Response) return limit;
  const { key = null, after = null } = context.req.query();
  return { fromUs: times.from, toUs: times.to, key, limit, after };
}

export function readResultQuery(context: Context, query: string): ResultsTask | Response {
  const range = readTimeRange(context);
  if (range instanceof Response) return range;
  const { kind = null, revisions = "latest" } = context.req.query();
  if (kind !== null && !["early", "on-time", "late"].includes(kind)) {
    return refuse("kind", `"${kind}" is not early, on-time or late`);
  }
  if (revisions !== "latest" && revisions !== "all") return refuse("revisions", `"${revisions}" is not latest or all`);
  return { ...range, query, kind, revisions };
}

export function readListQuery(
  context: Context,
): { stream: string | null; limit: number; after: string | null } | Response {
  const limit = readLimit(context);
  if (limit instanceof Response) return limit;
  const { stream = null, after = null } = context.req.query();
  return { stream, limit, after };
}

function readLimit(context: Context): number | Response {
  const text = context.req.query("limit");
  if (text === undefined) return DEFAULT_LIMIT;
  const limit = Number(text);
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIMIT) return limit;
  return refuse("limit", `"${text}" is not a whole number from 1 to ${MAX_LIMIT}`);
}

function refuse(parameter: string, detail: string): Response {
  const title = "Bad query parameter";
  return problemResponse({ status: 400, code: "E_QUERY_PARAMETER", title, detail: `${parameter}: ${detail}` });
}
