import type { IncomingMessage } from "node:http";

export type BodyRead =
  | { readonly kind: "read"; readonly body: ArrayBuffer }
  | { readonly kind: "too-large" }
  | { readonly kind: "aborted" };

/** First size of a body whose length is not announced. */
const UNKNOWN_LENGTH_BYTES = 64 * 1024;

/**
 * Reads a request's body into one buffer, each byte copied once when its length is announced.
 * Stops at `maxBytes`: no more than that is ever held, whatever the client sends.
 */
export function readBody(request: IncomingMessage, maxBytes: number): Promise<BodyRead> {
  const announced = Number(request.headers["content-length"] ?? Number.NaN);
  if (announced > maxBytes) return Promise.resolve({ kind: "too-large" });
  let buffer = new Uint8Array(Number.isNaN(announced) ? Math.min(UNKNOWN_LENGTH_BYTES, maxBytes) : announced);
  let length = 0;
  return new Promise((resolve) => {
    const finish = (outcome: BodyRead): void => {
      request.off("data", take).off("end", end).off("error", abort).off("close", abort);
      resolve(outcome);
    };
    const take = (chunk: Buffer): void => {
      const needed = length + chunk.length;
      if (needed > maxBytes) {
        request.pause();
        finish({ kind: "too-large" });
        return;
      }
      if (needed > buffer.length) {
        const larger = new Uint8Array(Math.min(maxBytes, Math.max(needed, buffer.length * 2)));
        larger.set(buffer.subarray(0, length));
        buffer = larger;
      }
      buffer.set(chunk, length);
      length = needed;
    };
    const end = (): void => {
      const isWhole = length === buffer.length;
      finish({ kind: "read", body: isWhole ? buffer.buffer : buffer.buffer.slice(0, length) });
    };
    const abort = (): void => finish({ kind: "aborted" });
    request.on("data", take).on("end", end).on("error", abort).on("close", abort);
  });
}
