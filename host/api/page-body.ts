import type { ServerResponse } from "node:http";
import { releaseBytes } from "../../workers/move.ts";

/** A page larger than this is handed to the socket in parts of it. */
const PART_BYTES = 128 * 1024;

/**
 * A page as a response's body. A large one goes part by part, as fast as the socket takes it, so that whoever waits for an
 * acknowledgement meanwhile waits for a part. Parts are no copies: a hundred megabytes of them a second would have the garbage
 * collector run all the time. The page's memory is given back once `outgoing` has handed all of it to the system.
 */
export function pageBody(
  ndjson: Uint8Array<ArrayBuffer>,
  outgoing?: Pick<ServerResponse, "once">,
): Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> {
  // Not before, and not where the connection was cut: the socket may hold on to a part.
  outgoing?.once("finish", () => releaseBytes(ndjson));
  if (ndjson.length <= PART_BYTES) return ndjson;
  let at = 0;
  return new ReadableStream(
    {
      pull: (controller) => {
        controller.enqueue(ndjson.subarray(at, at + PART_BYTES));
        at += PART_BYTES;
        if (at >= ndjson.length) controller.close();
      },
    },
    { highWaterMark: 1 },
  );
}
