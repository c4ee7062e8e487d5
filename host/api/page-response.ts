import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { pageBody } from "./page-body.ts";
import type { Page } from "./reads.ts";

/** A page of NDJSON; `Link` says where the next one is. */
export function pageResponse(context: Context<{ Bindings: HttpBindings }>, { ndjson, next }: Page): Response {
  const headers: Record<string, string> = { "content-type": "application/x-ndjson" };
  if (next !== null) {
    const following = new URL(context.req.url);
    following.searchParams.set("after", next);
    headers.link = `<${following.pathname}${following.search}>; rel="next"`;
  }
  // Where a test asks the app itself, there is no connection.
  const env: Partial<HttpBindings> | undefined = context.env;
  return context.body(pageBody(ndjson as Uint8Array<ArrayBuffer>, env?.outgoing), 200, headers);
}
