import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Problem } from "../api/problem.ts";
import type { ExpressIngest } from "./express-way.ts";
import { ACCEPTED_TYPE, type IngestParts, takeComing, takeEvents, takeWhole } from "./http.ts";
import { refuseUnread } from "./refuse-unread.ts";

/** What stands before the app: true when it answers the request itself. */
export type Door = (incoming: IncomingMessage, outgoing: ServerResponse) => boolean;

/** The route's name in metrics, the app's own. */
const ROUTE = "/v1/streams/:stream/events";
const PATH = /^\/v1\/streams\/([A-Za-z0-9_.-]{1,128})\/events$/;

/**
 * The short way in for events: devices send small requests by the ten thousand, and for these the app's routing, middleware
 * and `Request` cost more than all that is done with the event. Whatever is unusual about a request, such as a browser's
 * `Origin` or an encoded path, goes the long way, which gives the same answers (`postEvents`).
 */
export function ingestDoor(parts: IngestParts, explain: (cause: unknown, path: string) => Problem): Door {
  const { metrics, config } = parts;
  const acceptedSeconds = metrics.requestSeconds.labels({ route: ROUTE, status: "200" });
  const answer = async (
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    stream: string,
  ): Promise<void> => {
    const startedMs = performance.now();
    const taken = await takeEvents(incoming, stream, parts).catch((cause: unknown) =>
      explain(cause, incoming.url ?? ""),
    );
    const seconds = (performance.now() - startedMs) / 1_000;
    if (typeof taken === "string") {
      acceptedSeconds.observe(seconds);
      outgoing.writeHead(200, { "content-type": ACCEPTED_TYPE, "content-length": Buffer.byteLength(taken) });
      outgoing.end(taken);
      return;
    }
    metrics.requestSeconds.observe({ route: ROUTE, status: String(taken.status) }, seconds);
    await send(refuseUnread(incoming, taken, config.limits.maxBodyBytes), outgoing);
  };
  return (incoming, outgoing) => {
    if (incoming.method !== "POST" || incoming.headers.origin !== undefined) return false;
    const stream = PATH.exec(incoming.url ?? "")?.[1];
    if (stream === undefined) return false;
    // A client that has gone gets no answer; its events are stored or not, as the connection's end found them.
    answer(incoming, outgoing, stream).catch(() => outgoing.destroy());
    return true;
  };
}

/** The same for requests that are read from the socket itself (`ExpressWay`). */
export function ingestExpress(
  parts: IngestParts,
  explain: (cause: unknown, path: string) => Problem,
): ExpressIngest {
  const { metrics, config } = parts;
  const acceptedSeconds = metrics.requestSeconds.labels({ route: ROUTE, status: "200" });
  const timed = (reply: (answer: string | Problem) => void): ((answer: string | Problem) => void) => {
    const startedMs = performance.now();
    return (answer) => {
      const seconds = (performance.now() - startedMs) / 1_000;
      if (typeof answer === "string") acceptedSeconds.observe(seconds);
      else metrics.requestSeconds.observe({ route: ROUTE, status: String(answer.status) }, seconds);
      reply(answer);
    };
  };
  const failed = (settle: (answer: Problem) => void, stream: string) => (cause: unknown) =>
    settle(explain(cause, `/v1/streams/${stream}/events`));
  return {
    maxBodyBytes: config.limits.maxBodyBytes,
    answer: (request, reply) => {
      const settle = timed(reply);
      takeWhole(request, parts, settle, failed(settle, request.stream));
    },
    begin: (request, reply) => {
      const settle = timed(reply);
      return takeComing(request, parts, settle, failed(settle, request.stream));
    },
  };
}

async function send(response: Response, outgoing: ServerResponse): Promise<void> {
  const headers = Object.fromEntries(response.headers);
  if (response.body !== null && headers["content-length"] !== undefined) {
    // It lasts until the rest of the request was passed over.
    outgoing.writeHead(response.status, headers);
    await pipeline(Readable.fromWeb(response.body), outgoing);
    return;
  }
  const text = await response.text();
  outgoing.writeHead(response.status, { ...headers, "content-length": Buffer.byteLength(text) });
  outgoing.end(text);
}
