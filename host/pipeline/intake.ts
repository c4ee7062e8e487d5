import type { IngestResult } from "../../workers/messages.ts";
import type { Limits } from "../config/config.ts";
import type { Clock } from "./clock.ts";
import type { IngestOutcome, IngestRefusal, IngestRequest } from "./engine.ts";
import type { Lane } from "./lane.ts";
import type { RunningStream } from "./stream-registry.ts";

/** Uncompressed bodies without an idempotency key that are parsed into one block: at most so many bytes and requests. */
const COALESCE_BYTES = 512 * 1024;
const COALESCE_REQUESTS = 512;
/** Where requests wait for others: the block that comes of it is so large that it is never merged, and so written once. */
const GATHERED_BYTES = 2 * 1024 * 1024;
const GATHERED_REQUESTS = 4_096;

/** A request that waits for its turn. */
interface Queued {
  readonly stream: RunningStream;
  readonly request: IngestRequest;
  readonly bytes: number;
  readonly settle: (outcome: IngestOutcome) => void;
  readonly fail: (cause: unknown) => void;
}

/** Requests parsed together into one block. Those with an idempotency key stand alone: it guards the whole block. */
export interface ParsedJob {
  readonly stream: RunningStream;
  readonly requests: readonly Queued[];
  readonly arrivalUs: number;
  /** Of the stream's settings and queries when it was parsed. */
  readonly planVersion: number;
  readonly result: IngestResult;
  /** That parsed them. */
  readonly lane: Lane;
}

/** A key guards a whole block; of a compressed body nobody knows yet how large it is. Such requests stand alone. */
function mayShare({ request }: Queued): boolean {
  return request.idempotencyKey === null && request.encoding === "identity";
}

/**
 * The way in: a bounded queue before the ingest lanes. Requests leave it in order; when lanes are busy,
 * small requests of one stream gather and are parsed as one block.
 */
export class Intake {
  readonly #lanes: readonly Lane[];
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #deliver: (job: ParsedJob) => Promise<void>;
  readonly #mayDispatch: () => boolean;
  /** How long requests wait for others; 0: they do not. */
  readonly #gatherMs: number;
  readonly #queue: Queued[] = [];
  #head = 0;
  #queuedBytes = 0;
  /** Those that wait go on waiting for others. */
  #isGathering = false;
  #timer: NodeJS.Timeout | null = null;
  /** Bytes of bodies from their admission until their request is answered. */
  heldBytes = 0;
  heldRequests = 0;
  rejected = 0;
  #answeredBytes = 0;
  #answeredSinceMs = 0;
  #bytesPerSecond = 0;
  isClosed = false;

  constructor(
    lanes: readonly Lane[],
    limits: Limits,
    clock: Clock,
    deliver: (job: ParsedJob) => Promise<void>,
    mayDispatch: () => boolean,
    gatherMs = 0,
  ) {
    this.#gatherMs = gatherMs;
    this.#lanes = lanes;
    this.#limits = limits;
    this.#clock = clock;
    this.#deliver = deliver;
    this.#mayDispatch = mayDispatch;
    this.#answeredSinceMs = clock.monotonicMs();
  }

  /** null when a body of so many bytes would be taken now; else the answer for its sender. */
  admits(bytes: number): IngestRefusal | null {
    if (this.isClosed) {
      return { kind: "overloaded", status: 503, retryAfterSeconds: 1, detail: "the node is shutting down" };
    }
    const { maxQueuedBytes, maxQueuedRequests } = this.#limits;
    const isFull =
      this.heldRequests >= maxQueuedRequests ||
      (this.heldRequests > 0 && this.heldBytes + bytes > maxQueuedBytes);
    if (!isFull) return null;
    this.rejected++;
    const limit =
      this.heldRequests >= maxQueuedRequests
        ? `limits.maxQueuedRequests (${maxQueuedRequests})`
        : `limits.maxQueuedBytes (${maxQueuedBytes})`;
    return {
      kind: "overloaded",
      status: 429,
      retryAfterSeconds: this.#secondsToDrain(),
      detail: `more requests are waiting to be made durable than ${limit} allows; send again later or slower`,
    };
  }

  push(stream: RunningStream, request: IngestRequest): Promise<IngestOutcome> {
    const bytes = request.body.byteLength;
    const refusal = this.admits(bytes);
    if (refusal !== null) return Promise.resolve(refusal);
    this.heldBytes += bytes;
    this.heldRequests++;
    return new Promise<IngestOutcome>((settle, fail) => {
      this.#queue.push({ stream, request, bytes, settle, fail });
      this.#queuedBytes += bytes;
      this.#gather();
      this.dispatch();
    }).finally(() => {
      this.heldBytes -= bytes;
      this.heldRequests--;
      this.#answeredBytes += bytes;
    });
  }

  /** Gives waiting requests to free lanes. Called whenever one may have become free. */
  dispatch(): void {
    while (this.#head < this.#queue.length && !this.#isGathering && this.#mayDispatch()) {
      const lane = this.#lanes.reduce((least, next) => (next.busy < least.busy ? next : least));
      if (!lane.isFree) return;
      void this.#parse(lane, this.#take());
    }
  }

  /** Whether what waits goes on waiting for more. Those that may not share a block wait too: they share a commit. */
  #gather(): void {
    if (this.#gatherMs === 0) return;
    const waiting = this.#queue.length - this.#head;
    // What came before and found no free lane need not wait again.
    if (waiting === 1) this.#isGathering = true;
    const isFull = waiting >= GATHERED_REQUESTS || this.#queuedBytes >= GATHERED_BYTES;
    if (isFull) this.#endGathering();
    else if (this.#isGathering) {
      this.#timer ??= setTimeout(() => {
        this.#endGathering();
        this.dispatch();
      }, this.#gatherMs);
    }
  }

  #endGathering(): void {
    this.#isGathering = false;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** The next request, and those behind it that may share its block. */
  #take(): Queued[] {
    const job = this.#gatherMs > 0 ? this.#takeGathered() : this.#takeNext();
    for (const { bytes } of job) this.#queuedBytes -= bytes;
    return job;
  }

  /** Requests of one stream, whatever came between them. */
  #takeGathered(): Queued[] {
    const waiting = this.#queue.slice(this.#head);
    const first = waiting[0]!;
    const job: Queued[] = [];
    const left: Queued[] = [];
    let bytes = 0;
    let isOpen = true;
    for (const next of waiting) {
      const isOfStream = next.stream === first.stream;
      const fits = mayShare(next) && bytes + next.bytes <= GATHERED_BYTES && job.length < GATHERED_REQUESTS;
      // Requests of a stream keep their order.
      if (isOfStream && job.length > 0 && !(fits && mayShare(first))) isOpen = false;
      if (isOfStream && isOpen) {
        job.push(next);
        bytes += next.bytes;
      } else left.push(next);
    }
    this.#queue.length = 0;
    this.#queue.push(...left);
    this.#head = 0;
    return job;
  }

  #takeNext(): Queued[] {
    const first = this.#queue[this.#head++]!;
    const job = [first];
    let bytes = first.bytes;
    while (mayShare(first) && this.#head < this.#queue.length) {
      const next = this.#queue[this.#head]!;
      const fits =
        next.stream === first.stream &&
        mayShare(next) &&
        bytes + next.bytes <= COALESCE_BYTES &&
        job.length < COALESCE_REQUESTS;
      if (!fits) break;
      job.push(next);
      bytes += next.bytes;
      this.#head++;
    }
    if (this.#head > 1024 && this.#head * 2 > this.#queue.length) {
      this.#queue.splice(0, this.#head);
      this.#head = 0;
    }
    return job;
  }

  async #parse(lane: Lane, requests: readonly Queued[]): Promise<void> {
    const stream = requests[0]!.stream;
    const arrivalUs = this.#clock.nowUs();
    const { planVersion } = stream;
    try {
      const bodies = requests.map(({ request }) => ({
        format: request.format,
        encoding: request.encoding,
        body: request.body,
      }));
      const result = await lane.ingest(stream, arrivalUs, this.#limits.maxBodyBytes, bodies);
      this.dispatch();
      await this.#deliver({ stream, requests, arrivalUs, planVersion, result, lane });
    } catch (cause) {
      lane.forget(stream);
      for (const { fail } of requests) fail(cause);
    } finally {
      this.dispatch();
    }
  }

  /** From the rate of the last seconds; between 1 and 30 s. */
  #secondsToDrain(): number {
    const nowMs = this.#clock.monotonicMs();
    const elapsedMs = nowMs - this.#answeredSinceMs;
    if (elapsedMs >= 1_000) {
      this.#bytesPerSecond = (this.#answeredBytes / elapsedMs) * 1_000;
      this.#answeredBytes = 0;
      this.#answeredSinceMs = nowMs;
    }
    if (this.#bytesPerSecond === 0) return 1;
    return Math.min(30, Math.max(1, Math.ceil(this.heldBytes / this.#bytesPerSecond)));
  }
}
