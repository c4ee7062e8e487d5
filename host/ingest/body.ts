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

/** A body on its way in. What is called after its outcome was told changes nothing. */
export interface ComingBody {
  /** Takes the next part, which is not the caller's any more. */
  take(part: Buffer<ArrayBuffer>): void;
  /** It is complete. */
  end(): void;
  /** Its connection ended before it did. */
  abort(): void;
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
    return new Promise((resolve) => {
      const body = this.begin(announced, maxBytes, (outcome) => {
        request.off("data", take).off("end", end).off("error", abort).off("close", abort);
        resolve(outcome);
      });
      const take = (chunk: Buffer<ArrayBuffer>): void => body.take(chunk);
      const end = (): void => body.end();
      const abort = (): void => body.abort();
      request.on("data", take).on("end", end).on("error", abort).on("close", abort);
    });
  }

  /**
   * For a body whose parts come from elsewhere.
   * @param announced its length, at most `maxBytes`; null: it is not known
   * @param finish is told its outcome, once
   */
  begin(announced: number | null, maxBytes: number, finish: (outcome: BodyRead) => void): ComingBody {
    const reading = new Reading(this, { announced, maxBytes, finish });
    this.#watch(reading);
    return reading;
  }

  /** Whether there is room for a body of which `held` bytes are here and `needed` will be. */
  hasRoom(held: number, needed: number): boolean {
    const others = this.heldBytes - held;
    return others === 0 || others + needed <= this.#maxHeldBytes;
  }

  countCopy(startedMs: number): void {
    this.#onCopied(startedMs);
  }

  forget(reading: Reading): void {
    this.#readings.delete(reading);
  }

  /** One timer for all: a timer for each body would cost more than the reading of a small one. */
  #watch(reading: Reading): void {
    this.#readings.add(reading);
    this.#sweep ??= setInterval(() => this.#giveUpStalled(), this.#stallMs / 4).unref();
  }

  #giveUpStalled(): void {
    const latestMs = performance.now() - this.#stallMs;
    for (const reading of this.#readings) if (reading.lastPartMs < latestMs) reading.giveUp();
    // Not with the last body: the next one is often a millisecond away.
    if (this.#readings.size > 0 || this.#sweep === null) return;
    clearInterval(this.#sweep);
    this.#sweep = null;
  }
}

interface ReadingPlan {
  readonly announced: number | null;
  readonly maxBytes: number;
  readonly finish: (outcome: BodyRead) => void;
}

class Reading implements ComingBody {
  readonly #reader: BodyReader;
  readonly #announced: number | null;
  readonly #maxBytes: number;
  #finish: ((outcome: BodyRead) => void) | null;
  #buffer: Buffer<ArrayBuffer> = EMPTY;
  #length = 0;
  lastPartMs = performance.now();

  constructor(reader: BodyReader, { announced, maxBytes, finish }: ReadingPlan) {
    this.#reader = reader;
    this.#announced = announced;
    this.#maxBytes = maxBytes;
    this.#finish = finish;
  }

  take(part: Buffer<ArrayBuffer>): void {
    if (this.#finish === null) return;
    const needed = this.#length + part.length;
    if (needed > this.#maxBytes) {
      this.#tell({ kind: "too-large" });
      return;
    }
    if (!this.#reader.hasRoom(this.#length, needed)) {
      this.#tell({ kind: "no-room" });
      return;
    }
    this.#reader.heldBytes += part.length;
    this.lastPartMs = performance.now();
    if (needed === this.#announced && needed === part.length && needed <= SMALL_BYTES) {
      this.#buffer = part;
      this.#length = needed;
      return;
    }
    if (needed > this.#buffer.length) {
      const size = sizeFor(needed, this.#buffer.length, this.#announced, this.#maxBytes);
      const larger = Buffer.allocUnsafeSlow(size);
      if (this.#length > 0) this.#buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = larger;
    }
    this.#buffer.set(part, this.#length);
    this.#length = needed;
    // Left to the garbage collector, chunks made it run every 70 ms at 140 MB/s, a fifth of this thread's time.
    releaseBytes(part);
    this.#reader.countCopy(this.lastPartMs);
  }

  end(): void {
    if (this.#finish !== null) this.#tell({ kind: "read", body: exactly(this.#buffer, this.#length) });
  }

  abort(): void {
    this.#tell({ kind: "aborted" });
  }

  giveUp(): void {
    this.#tell({ kind: "stalled" });
  }

  #tell(outcome: BodyRead): void {
    const finish = this.#finish;
    if (finish === null) return;
    this.#finish = null;
    this.#reader.heldBytes -= this.#length;
    this.#reader.forget(this);
    this.#buffer = EMPTY;
    finish(outcome);
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
