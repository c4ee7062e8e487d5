import { releaseBytes } from "../../workers/move.ts";

/** A page larger than this is handed to the socket in parts of it. */
const PART_BYTES = 128 * 1024;

/**
 * A page as a response's body. A large one goes part by part, as fast as the socket takes it, so that whoever waits for an
 * acknowledgement meanwhile waits for a part; its memory is given back at once when the last has gone.
 */
export function pageBody(
  ndjson: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> {
  if (ndjson.length <= PART_BYTES) return ndjson;
  let at = 0;
  return new ReadableStream(
    {
      pull: (controller) => {
        // A copy: the socket may hold on to a part after the page's memory is given back.
        controller.enqueue(ndjson.slice(at, at + PART_BYTES));
        at += PART_BYTES;
        if (at < ndjson.length) return;
        controller.close();
        releaseBytes(ndjson);
      },
      cancel: () => releaseBytes(ndjson),
    },
    { highWaterMark: 1 },
  );
}
