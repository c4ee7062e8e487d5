import type { IncomingMessage } from "node:http";
import { type Problem, problemResponse, problemText } from "../api/problem.ts";
import { announcedBytes } from "./body.ts";

/** What a client may still send, after the answer, to a connection that is to be closed. */
const MAX_DRAIN_BYTES = 128 * 1024 * 1024;
const MAX_DRAIN_MS = 5_000;

/**
 * Answers a request whose body was not read to its end.
 *
 * A body of ordinary size is passed over and the connection stays. Otherwise it is closed, but not at once: closing
 * with bytes unread resets the connection, and a client that is still sending would never see why. So the answer goes
 * out whole, what comes is thrown away for a while, and then the connection ends.
 */
export function refuseUnread(request: IncomingMessage, problem: Problem, maxBodyBytes: number): Response {
  const announced = announcedBytes(request);
  if (request.complete || (announced !== null && announced <= maxBodyBytes)) return problemResponse(problem);
  const answer = Buffer.from(problemText(problem));
  let isOpen = true;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(answer),
    // Asked for more: the answer is on its way, and a client that waits with its body for a go-ahead got it instead.
    pull: async (controller) => {
      await drained(request);
      if (isOpen) controller.close();
    },
    cancel: () => {
      isOpen = false;
    },
  });
  const headers = { connection: "close", "content-length": String(answer.length) };
  return problemResponse({ ...problem, headers: { ...problem.headers, ...headers } }, body);
}

function drained(request: IncomingMessage): Promise<void> {
  if (request.complete || request.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    let drainedBytes = 0;
    const finish = (): void => {
      clearTimeout(timer);
      request.off("data", count).off("end", finish).off("close", finish);
      resolve();
    };
    const count = (chunk: Buffer): void => {
      drainedBytes += chunk.length;
      if (drainedBytes > MAX_DRAIN_BYTES) finish();
    };
    const timer = setTimeout(finish, MAX_DRAIN_MS).unref();
    request.on("data", count).on("end", finish).on("close", finish);
  });
}
