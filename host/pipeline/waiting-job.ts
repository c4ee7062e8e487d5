import type { IngestBody, PackedTask } from "../../workers/messages.ts";
import { BodyPack } from "../../workers/packed-bodies.ts";
import { COPIED_BYTES, type IngestOutcome, type IngestRequest } from "./engine.ts";
import type { RunningStream } from "./stream-registry.ts";

/** A request that waits for its turn, or for its answer. */
export interface Queued {
  readonly bytes: number;
  /** Tells what became of it, or that it failed; only the first of all calls counts. */
  settle(outcome: IngestOutcome): void;
  fail(cause: unknown): void;
}

/** The bodies of a job as a lane gets them. */
export type JobBodies =
  | ({ readonly kind: "packed" } & Pick<PackedTask, "format" | "bodies" | "ends">)
  | { readonly kind: "apart"; readonly bodies: readonly IngestBody[] };

export interface JobLimits {
  readonly bytes: number;
  readonly requests: number;
}

/**
 * Requests of one stream that are parsed together into one block. One with an idempotency key stands alone, for the key guards
 * the whole block, and so does a compressed one, of which nobody knows yet how large it is.
 */
export class WaitingJob {
  readonly stream: RunningStream;
  readonly requests: Queued[] = [];
  readonly idempotencyKey: string | null;
  /** Small bodies in one piece, since handing each over by itself costs more than parsing it; null: this job's are not. */
  readonly #pack: BodyPack | null;
  readonly #apart: IngestBody[] = [];
  readonly #isShared: boolean;
  #bytes = 0;

  constructor(stream: RunningStream, first: IngestRequest) {
    this.stream = stream;
    this.idempotencyKey = first.idempotencyKey;
    this.#isShared = mayShare(first);
    this.#pack = isSmall(first) ? new BodyPack(first.format) : null;
  }

  /** Whether a further request may be parsed with those that are here. */
  takes(request: IngestRequest, most: JobLimits): boolean {
    return (
      this.#isShared &&
      mayShare(request) &&
      (this.#pack === null || (isSmall(request) && request.format === this.#pack.format)) &&
      this.#bytes + request.body.byteLength <= most.bytes &&
      this.requests.length < most.requests
    );
  }

  add({ format, encoding, body }: IngestRequest, queued: Queued): void {
    if (this.#pack !== null) this.#pack.add(body);
    else {
      // `slice` of a Buffer would be the same memory.
      const own = body.byteLength <= COPIED_BYTES ? new Uint8Array(body) : body;
      this.#apart.push({ format, encoding, body: own });
    }
    this.requests.push(queued);
    this.#bytes += queued.bytes;
  }

  /** Once, when the job goes to a lane. */
  bodies(): JobBodies {
    return this.#pack === null
      ? { kind: "apart", bodies: this.#apart }
      : { kind: "packed", ...this.#pack.take() };
  }
}

function mayShare({ idempotencyKey, encoding }: IngestRequest): boolean {
  return idempotencyKey === null && encoding === "identity";
}

function isSmall({ body, encoding }: IngestRequest): boolean {
  return encoding === "identity" && body.byteLength <= COPIED_BYTES;
}
