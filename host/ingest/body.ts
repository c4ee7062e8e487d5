import type { IncomingMessage } from "node:http";
import { releaseBytes } from "../../workers/move.ts";

export type BodyRead =
  | { readonly kind: "read"; readonly body: Uint8Array<ArrayBuffer> }
  /** More than `maxBytes`. */
  | { readonly kind: "too-large" }
  /** Too many bodies on their way in at once. */
  | { readonly kind: "no-room" }
  /** The client stopped sending. */
  | { readonly kind: "stalled" }
  /** The connection ended before the body did. */
  | { readonly kind: "aborted" };

export interface BodyLimits {
  /** Bytes of unfinished bodies, of all requests together. */
  readonly maxHeldBytes: number;
  /** A body of which nothing came for so long is given up. */
  readonly stallMs?: number;
  /** Hears when the copying of a piece began that is done now, by `performance.now`. */
  readonly onCopied?: (startedMs: number) => void;
}

/** A body up to this that comes in one piece is that piece. */
const SMALL_BYTES = 4 * 1024;
/** First buffer of a body whose length is not announced. */
const UNKNOWN_LENGTH_BYTES = 64 * 1024;
/** Up to this, a body's buffer is made whole at once; a larger one only when so much came, as the rest may never. */
const TRUSTED_LENGTH_BYTES = 1024 * 1024;
const STALL_MS = 10_000;
const EMPTY = Buffer.alloc(0);

interface Reading {
  lastChunkMs: number;
  readonly giveUp: () => void;
}

/**
 * Reads request bodies. One that is not small gets a buffer of its own, which can be handed to another thread without a copy.
 *
 * Invariant: no more than `maxHeldBytes` of unfinished bodies are held, whatever clients announce; only a body that is
 * alone may pass that. A finished body is the caller's to account for.
 */
export class BodyReader {
  readonly #maxHeldBytes: number;
  readonly #stallMs: number;
  readonly #onCopied: (startedMs: number) => void;
  readonly #readings = new Set<Reading>();
  #sweep: NodeJS.Timeout | null = null;
  /** Bytes of bodies that are not complete yet. */
  heldBytes = 0;

  constructor({ maxHeldBytes, stallMs = STALL_MS, onCopied = () => {} }: BodyLimits) {
    this.#onCopied = onCopied;
    this.#maxHeldBytes = maxHeldBytes;
    this.#stallMs = stallMs;
  }

  /** Resolves when the body is complete, or it is clear that it will not be taken: the rest is then still unread. */
  read(request: IncomingMessage, maxBytes: number): Promise<BodyRead> {
    const announced = announcedBytes(request);
    if (announced !== null && announced > maxBytes) return Promise.resolve({ kind: "too-large" });
    if (request.destroyed) return Promise.resolve({ kind: "aborted" });
    let buffer: Buffer<ArrayBuffer> = EMPTY;
    let length = 0;
    return new Promise((resolve) => {
      const finish = (outcome: BodyRead): void => {
        request.off("data", take).off("end", end).off("error", abort).off("close", abort);
        this.heldBytes -= length;
        this.#forget(reading);
        resolve(outcome);
      };
      const take = (chunk: Buffer<ArrayBuffer>): void => {
        const needed = length + chunk.length;
        if (needed > maxBytes) {
          finish({ kind: "too-large" });
          return;
        }
        const others = this.heldBytes - length;
        if (others > 0 && others + needed > this.#maxHeldBytes) {
          finish({ kind: "no-room" });
          return;
        }
        this.heldBytes += chunk.length;
        reading.lastChunkMs = performance.now();
        if (needed === announced && needed === chunk.length && needed <= SMALL_BYTES) {
          buffer = chunk;
          length = needed;
          return;
        }
        if (needed > buffer.length) {
          const larger = Buffer.allocUnsafeSlow(sizeFor(needed, buffer.length, announced, maxBytes));
          buffer.copy(larger, 0, 0, length);
          buffer = larger;
        }
        chunk.copy(buffer, length);
        length = needed;
        // Left to the garbage collector, chunks made it run every 70 ms at 140 MB/s, a fifth of this thread's time.
        releaseBytes(chunk);
        this.#onCopied(reading.lastChunkMs);
      };
      const end = (): void => finish({ kind: "read", body: exactly(buffer, length) });
      const abort = (): void => finish({ kind: "aborted" });
      const reading = { lastChunkMs: performance.now(), giveUp: () => finish({ kind: "stalled" }) };
      request.on("data", take).on("end", end).on("error", abort).on("close", abort);
      this.#watch(reading);
    });
  }

  /** One timer for all: a timer for each body would cost more than the reading of a small one. */
  #watch(reading: Reading): void {
    this.#readings.add(reading);
    this.#sweep ??= setInterval(() => {
      const latestMs = performance.now() - this.#stallMs;
      for (const each of this.#readings) if (each.lastChunkMs < latestMs) each.giveUp();
    }, this.#stallMs / 4).unref();
  }

  #forget(reading: Reading): void {
    this.#readings.delete(reading);
    if (this.#readings.size > 0 || this.#sweep === null) return;
    clearInterval(this.#sweep);
    this.#sweep = null;
  }
}

/** The length that the client announced, or null when it sends in chunks. */
export function announcedBytes(request: IncomingMessage): number | null {
  const text = request.headers["content-length"];
  if (text !== undefined) return Number(text);
  return request.headers["transfer-encoding"] === undefined ? 0 : null;
}

/** How large the buffer of a body is to be that has come so far. */
function sizeFor(needed: number, size: number, announced: number | null, maxBytes: number): number {
  if (announced !== null)
    return size === 0 ? Math.max(needed, Math.min(announced, TRUSTED_LENGTH_BYTES)) : announced;
  return Math.min(maxBytes, Math.max(needed, size * 2, UNKNOWN_LENGTH_BYTES));
}

/** The bytes in a buffer cut to what was filled: what lies behind is not zeroed and must not get out. */
function exactly(buffer: Buffer<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
  return length === buffer.length ? buffer : new Uint8Array(buffer.buffer.transfer(length));
}

/** In a buffer of its own, to be handed to another thread. */
export function ownBuffer({ buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>): ArrayBuffer {
  return buffer.byteLength === byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength);
}
