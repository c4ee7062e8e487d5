import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { formatTime } from "../../workers/time-format.ts";
import type { Relay } from "../relay/relay.ts";
import type { Sync } from "../sync/sync.ts";
import type { Page } from "./reads.ts";

type ParkedSource = Pick<Sync, "parked" | "replayParked">;

const utf8 = new TextEncoder();

/** Adds what sinks will not have to the last page of dead letters. */
export async function withParked(
  page: Page,
  sync: ParkedSource | null,
  stream: string | null,
): Promise<Page> {
  if (sync === null || page.next !== null) return page;
  const lines = (await sync.parked())
    .filter(({ streams }) => stream === null || streams.includes(stream))
    .map(({ id, sink, class: kind, streams, rows, bytes, reason, atUs }) => {
      const what = { stream: streams[0] ?? null, at: formatTime(atUs), code: "E_SYNC_REJECTED" };
      return `${JSON.stringify({ ...what, message: reason, sink, batch: id, kind, rows, bytes })}\n`;
    });
  if (lines.length === 0) return page;
  const tail = utf8.encode(lines.join(""));
  const ndjson = new Uint8Array(page.ndjson.length + tail.length);
  ndjson.set(page.ndjson);
  ndjson.set(tail, page.ndjson.length);
  return { ...page, ndjson };
}

/** `POST /v1/dlq/replay`: what sinks would not have is offered to them again. */
export function replayParked(
  sync: ParkedSource | null,
  relay: Pick<Relay, "replayParked"> | null = null,
): (context: Context<{ Bindings: HttpBindings }>) => Promise<Response> {
  return async (context) => {
    const own = (await sync?.replayParked()) ?? 0;
    return context.json({ batches: own + ((await relay?.replayParked()) ?? 0) });
  };
}
