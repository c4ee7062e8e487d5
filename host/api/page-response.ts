import type { Context } from "hono";
import { pageBody } from "./page-body.ts";
import type { Page } from "./reads.ts";

/** A page of NDJSON; `Link` says where the next one is. */
export function pageResponse(context: Context, { ndjson, next }: Page): Response {
  const headers: Record<string, string> = { "content-type": "application/x-ndjson" };
  if (next !== null) {
    const following = new URL(context.req.url);
    following.searchParams.set("after", next);
    headers.link = `<${following.pathname}${following.search}>; rel="next"`;
  }
  return context.body(pageBody(ndjson as Uint8Array<ArrayBuffer>), 200, headers);
}
