import type { HttpBindings } from "@hono/node-server";
import type { Context, Hono } from "hono";
import { refuseUnread } from "../ingest/refuse-unread.ts";
import type { Problem } from "./problem.ts";

/** Answers what no route takes: 405 when the path is there for other methods, else 404. */
export function answerNotFound(
  app: Hono<{ Bindings: HttpBindings }>,
  maxBodyBytes: number,
): (context: Context<{ Bindings: HttpBindings }>) => Response {
  let known: { readonly method: string; readonly path: RegExp }[] | null = null;
  return (context) => {
    known ??= app.routes
      .filter(({ method }) => method !== "ALL")
      .map(({ method, path }) => ({ method, path: patternOf(path) }));
    const { method, path } = context.req;
    const allowed = new Set(known.filter((route) => route.path.test(path)).map((route) => route.method));
    if (allowed.has("GET")) allowed.add("HEAD");
    const problem = allowed.size > 0 ? wrongMethod(method, path, [...allowed]) : unknownPath(method, path);
    return refuseUnread(context.env.incoming, problem, maxBodyBytes);
  };
}

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(".", "\\.").replaceAll(/:\w+/g, "[^/]+")}$`);
}

function wrongMethod(method: string, path: string, allowed: readonly string[]): Problem {
  const allow = allowed.join(", ");
  const detail = `${method} is not for ${path}; it takes ${allow}`;
  return { status: 405, code: "E_METHOD", title: "Method not allowed", detail, headers: { allow } };
}

function unknownPath(method: string, path: string): Problem {
  const detail = `there is nothing at ${method} ${path}; GET /openapi.json lists what there is`;
  return { status: 404, code: "E_NOT_FOUND", title: "Not found", detail };
}
