import type { IngestResult } from "../../workers/messages.ts";
import type { Limits } from "../config/config.ts";
import type { Clock } from "./clock.ts";
import type { IngestOutcome, IngestRefusal, IngestRequest } from "./engine.ts";
import type { Lane } from "./lane.ts";
import type { Stages } from "./stages.ts";
import type { RunningStream } from "./stream-registry.ts";
import { type JobLimits, type Queued, WaitingJob } from "./waiting-job.ts";

/**
 * Uncompressed bodies without an idempotency key that are parsed into one block: at most so many bytes and requests. Two bodies of 4,000 events
 * fit: what a block costs whatever is in it is a sixth of what they cost. With three, few senders would all wait for one block.
 */
const COALESCED: JobLimits = { bytes: 640 * 1024, requests: 512 };
/** Where requests wait for others: the block that comes of it is so large that it is never merged, and so written once. */
const GATHERED: JobLimits = { bytes: 2 * 1024 * 1024, requests: 4_096 };

/** From so many on, requests go to a lane in the middle of a turn of the event loop. */
const EAGER_REQUESTS = 128;

/** Requests parsed together into one block. */
export interface ParsedJob {
  readonly stream: RunningStream;
  readonly requests: readonly Queued[];
  /** Of its only request, where it has one. */
  readonly idempotencyKey: string | null;
  readonly arrivalUs: number;
  /** Of the stream's settings and queries when it was parsed. */
  readonly planVersion: number;
  readonly result: IngestResult;
  /** That parsed them. */
  readonly lane: Lane;
}

export interface IntakeParts {
  readonly stages: Stages;
  /** Makes what was parsed durable, and answers. */
  readonly deliver: (job: ParsedJob) => Promise<void>;
  readonly mayDispatch: () => boolean;
  /** The answer where that failed. */
  readonly explainLost: (stream: string, cause: unknown) => IngestOutcome;
  /** Told of each new task for a lane. */
  readonly onTask: () => void;
}

/**
 * The way in: a bounded queue before the ingest lanes. Requests of a stream leave it in order; those that come in one turn of the
 * event loop, or while lanes are busy, gather and are parsed as one block.
 */
export class Intake {
  readonly #lanes: readonly Lane[];
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #parts: IntakeParts;
  /** How long requests wait for others; 0: they do not. */
  readonly #gatherMs: number;
  readonly #jobLimits: JobLimits;
  #queue: WaitingJob[] = [];
  /** The last waiting job of a stream, where it may take further requests. */
  readonly #open = new Map<RunningStream, WaitingJob>();
  #queuedBytes = 0;
  #queuedRequests = 0;
  #isDispatchDue = false;
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

  constructor(lanes: readonly Lane[], limits: Limits, clock: Clock, parts: IntakeParts, gatherMs = 0) {
    this.#lanes = lanes;
    this.#limits = limits;
    this.#clock = clock;
    this.#parts = parts;
    this.#gatherMs = gatherMs;
    this.#jobLimits = gatherMs > 0 ? GATHERED : COALESCED;
    this.#answeredSinceMs = clock.monotonicMs();
  }

  /** Tasks that wait for a free lane, and for nothing else. */
  get waitingTasks(): number {
    return this.#isGathering || !this.#parts.mayDispatch() ? 0 : this.#queue.length;
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

  /** @param settle is told what became of it, now or later */
  push(stream: RunningStream, request: IngestRequest, settle: (outcome: IngestOutcome) => void): void {
    const bytes = request.body.byteLength;
    const refusal = this.admits(bytes);
    if (refusal !== null) {
      settle(refusal);
      return;
    }
    this.heldBytes += bytes;
    this.heldRequests++;
    const job = this.#jobFor(stream, request);
    const startedMs = performance.now();
    job.add(request, new Waiting(this, stream, bytes, settle));
    this.#parts.stages.addOnMain("copy", startedMs);
    this.#queuedBytes += bytes;
    this.#queuedRequests++;
    this.#gather();
    if (job.requests.length % EAGER_REQUESTS === 0) this.dispatch();
    else this.#dispatchSoon();
  }

  /** Of a request that was answered. */
  giveBack(bytes: number): void {
    this.heldBytes -= bytes;
    this.heldRequests--;
    this.#answeredBytes += bytes;
  }

  explainLost(stream: RunningStream, cause: unknown): IngestOutcome {
    return this.#parts.explainLost(stream.config.name, cause);
  }

  /** The job that waits for more of its kind, or a new one behind all others. */
  #jobFor(stream: RunningStream, request: IngestRequest): WaitingJob {
    const open = this.#open.get(stream);
    if (open?.takes(request, this.#jobLimits) === true) return open;
    const job = new WaitingJob(stream, request);
    this.#queue.push(job);
    this.#open.set(stream, job);
    this.#parts.onTask();
    return job;
  }

  /** At the end of this turn of the event loop: whatever else it brings is taken along. */
  #dispatchSoon(): void {
    if (this.#isDispatchDue) return;
    this.#isDispatchDue = true;
    setImmediate(() => {
      this.#isDispatchDue = false;
      this.dispatch();
    });
  }

  /** Gives waiting requests to free lanes. Called whenever one may have become free. */
  dispatch(): void {
    while (this.#queue.length > 0 && !this.#isGathering && this.#parts.mayDispatch()) {
      const lane = this.#lanes.reduce((least, next) => (next.busy < least.busy ? next : least));
      if (!lane.isFree) return;
      void this.#parse(lane, this.#take());
    }
  }

  /** Whether what waits goes on waiting for more. Those that may not share a block wait too: they share a commit. */
  #gather(): void {
    if (this.#gatherMs === 0) return;
    // What came before and found no free lane need not wait again.
    if (this.#queuedRequests === 1) this.#isGathering = true;
    const isFull = this.#queuedRequests >= GATHERED.requests || this.#queuedBytes >= GATHERED.bytes;
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

  #take(): WaitingJob {
    const job = this.#queue.shift()!;
    if (this.#open.get(job.stream) === job) this.#open.delete(job.stream);
    for (const { bytes } of job.requests) this.#queuedBytes -= bytes;
    this.#queuedRequests -= job.requests.length;
    return job;
  }

  async #parse(lane: Lane, job: WaitingJob): Promise<void> {
    const { stream, requests, idempotencyKey } = job;
    const arrivalUs = this.#clock.nowUs();
    const { planVersion } = stream;
    try {
      const result = await lane.ingest(stream, arrivalUs, this.#limits.maxBodyBytes, job.bodies());
      this.dispatch();
      await this.#parts.deliver({ stream, requests, idempotencyKey, arrivalUs, planVersion, result, lane });
    } catch (cause) {
      lane.forget(stream);
      for (const request of requests) request.fail(cause);
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

/** A request from its admission to its answer. */
class Waiting implements Queued {
  readonly bytes: number;
  readonly #intake: Intake;
  readonly #stream: RunningStream;
  #settle: ((outcome: IngestOutcome) => void) | null;

  constructor(
    intake: Intake,
    stream: RunningStream,
    bytes: number,
    settle: (outcome: IngestOutcome) => void,
  ) {
    this.#intake = intake;
    this.#stream = stream;
    this.bytes = bytes;
    this.#settle = settle;
  }

  settle(outcome: IngestOutcome): void {
    const settle = this.#settle;
    if (settle === null) return;
    this.#settle = null;
    this.#intake.giveBack(this.bytes);
    settle(outcome);
  }

  fail(cause: unknown): void {
    if (this.#settle !== null) this.settle(this.#intake.explainLost(this.#stream, cause));
  }
}
