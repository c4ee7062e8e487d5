import { MillraceError } from "../../workers/errors.ts";
import type { CommitOutcome, DeadLetter, IngestResult } from "../../workers/messages.ts";
import type { ApplyLoop } from "./apply-loop.ts";
import type { Clock } from "./clock.ts";
import type { CommitQueue } from "./commit-queue.ts";
import type { IngestRefusal } from "./engine.ts";
import type { FullBuffer } from "./full-buffer.ts";
import type { ParsedJob } from "./intake.ts";
import type { Lane } from "./lane.ts";
import type { LogEnd } from "./log-end.ts";
import type { Stages } from "./stages.ts";
import type { StateGuard } from "./state-guard.ts";

const ERRORS_IN_ANSWER = 10;

export interface JobCommitParts {
  readonly commits: CommitQueue;
  readonly apply: ApplyLoop;
  readonly lanes: readonly Lane[];
  readonly stateGuard: StateGuard;
  readonly clock: Clock;
  readonly logEnd: LogEnd;
  readonly fullBuffer: FullBuffer;
  readonly maxBodyBytes: number;
  readonly stages: Stages;
}

/** Commit before apply: what the lanes parsed becomes durable, is answered, and goes on to the windows. */
export class JobCommit {
  readonly #parts: JobCommitParts;

  constructor(parts: JobCommitParts) {
    this.#parts = parts;
  }

  /** Makes a parsed job durable, answers its senders, and hands its partials on in the order of their seq. */
  async commit(job: ParsedJob): Promise<void> {
    const { commits, apply, lanes, stateGuard, clock, logEnd, stages } = this.#parts;
    const { stream, requests, idempotencyKey, arrivalUs, result } = job;
    let parsed = 0;
    let accepted = 0;
    let bad = 0;
    const deadLetters: DeadLetter[] = [];
    for (const outcome of result.outcomes) {
      if (outcome.kind !== "parsed") continue;
      parsed++;
      accepted += outcome.accepted;
      bad += outcome.bad;
      for (const error of outcome.errors) deadLetters.push(error);
    }
    this.#countStages(result, accepted + bad);
    const { block, skewed } = result;
    if (block === null && deadLetters.length === 0) return this.#answer(job, null);
    const refusal = block === null ? null : stateGuard.refusal(stream, result, requests.length);
    if (refusal !== null) {
      job.lane.forget(stream);
      return this.#refuse(job, refusal);
    }
    const operation = {
      kind: "block",
      stream: stream.config.name,
      arrivalUs,
      block,
      idempotencyKey: parsed === 0 ? null : idempotencyKey,
      accepted,
      deadLetters,
      unkeptDeadLetters: bad - deadLetters.length,
      skewed,
      timeSources: result.timeSources,
    } as const;
    const outcome = await commits.push(operation, block?.data.length ?? 256);
    if (outcome.kind === "refused") {
      job.lane.forget(stream);
      return this.#refuse(job, this.#parts.fullBuffer.refuse(outcome.detail));
    }
    if (outcome.kind !== "committed") {
      if (outcome.kind === "cleared")
        throw new MillraceError("E_STORE", "a block was answered as something else");
      stream.duplicates++;
      job.lane.forget(stream);
      return this.#answer(job, outcome);
    }
    logEnd.seq = outcome.seq;
    stages.add("commit", 0, accepted);
    stream.count(accepted, bad, result, block?.data.length ?? 0, clock.monotonicMs());
    if (block !== null) {
      stream.learn(block.schema);
      stream.learnTimes(result.timeSources);
      stream.acknowledge(result.maxEventUs);
      const { partials, maxEventUs, sources } = result;
      const { inForce } = stream;
      const entry = {
        kind: "block",
        seq: outcome.seq,
        stream: stream.config.name,
        arrivalUs,
        partials,
        maxEventUs,
        sources,
      } as const;
      if (job.planVersion === stream.planVersion) apply.push({ entry, block, arrivalUs, inForce });
      else {
        // Parsed before a change of the queries and committed after it: its partials are those of the queries before.
        const lane = lanes.reduce((least, next) => (next.busy < least.busy ? next : least));
        const later = lane
          .replay(stream, block, arrivalUs)
          .then((aggregated) => ({ ...entry, ...aggregated }));
        apply.push({ entry, block, arrivalUs, inForce, later });
      }
    }
    this.#answer(job, null);
  }

  #answer(job: ParsedJob, duplicate: (CommitOutcome & { kind: "duplicate" }) | null): void {
    job.requests.forEach((request, index) => {
      const outcome = job.result.outcomes[index]!;
      if (duplicate !== null) {
        const { accepted, deadLettered } = duplicate;
        request.settle({ kind: "accepted", accepted, deadLettered, isDuplicate: true, errors: [] });
      } else if (outcome.kind === "parsed") {
        const { accepted, bad, errors } = outcome;
        const first = errors.slice(0, ERRORS_IN_ANSWER);
        request.settle({ kind: "accepted", accepted, deadLettered: bad, isDuplicate: false, errors: first });
      } else if (outcome.kind === "too-large") {
        request.settle({ kind: "too-large", limitBytes: this.#parts.maxBodyBytes });
      } else {
        request.settle(outcome);
      }
    });
  }

  #refuse(job: ParsedJob, refusal: IngestRefusal): void {
    for (const request of job.requests) request.settle(refusal);
  }

  #countStages({ block, stages: took }: IngestResult, events: number): void {
    const { stages } = this.#parts;
    const good = block?.count ?? 0;
    for (const stage of ["socket", "copy"] as const) stages.add(stage, 0, events);
    stages.add("parse", took.parseNs, events);
    stages.add("apply", took.applyNs, good);
    stages.add("encode", took.encodeNs, good);
    stages.add("compress", took.compressNs, good);
  }
}
