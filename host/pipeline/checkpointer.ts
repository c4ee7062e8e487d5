import type { CheckpointStep } from "../../workers/checkpoint-pieces.ts";
import type { CaptureKind } from "../../workers/core/capture.ts";
import { MillraceError } from "../../workers/errors.ts";
import { release } from "../../workers/move.ts";
import type { Segments } from "../../workers/store/checkpoint-operations.ts";
import type { CommitQueue } from "./commit-queue.ts";

/** Bytes that may wait to be written: results and alerts wait behind them. */
const MAX_UNWRITTEN_BYTES = 512 * 1024;
/** Bytes that events may make the window thread save before they wait: of memory that it keeps. */
const MAX_SAVED_BYTES = 2 * 1024 * 1024;
/** Steps that are left out in a row, when pieces wait to be written, before events wait too: meanwhile these save more. */
const MAX_SKIPPED = 4;
/** Segments of a checkpoint at most. */
const MAX_SEGMENTS = 32;
/** Pieces that are deleted in one transaction: of 256 KiB at most each. */
const SWEPT_AT_ONCE = 8;

/** The window thread, as far as checkpoints go. */
export interface CapturedWindows {
  beginCheckpoint(kind: CaptureKind): Promise<{ readonly seq: number; readonly heldMs: number }>;
  nextPieces(): Promise<CheckpointStep>;
}

/** What the last checkpoint was. */
export interface CheckpointFigures {
  readonly kind: CaptureKind;
  readonly bytes: number;
  /** Times for which the window thread was held at once: how many, the median and the longest. */
  readonly pauses: number;
  readonly medianPauseMs: number;
  readonly longestPauseMs: number;
  readonly tookMs: number;
}

/** A checkpoint on its way. */
interface Writing {
  readonly kind: CaptureKind;
  readonly segment: number;
  readonly seq: number;
  readonly startedMs: number;
  pieces: number;
  bytes: number;
  readonly pausesMs: number[];
  readonly done: PromiseWithResolvers<number>;
}

/**
 * Writes checkpoints in pieces. The window thread freezes its state and then hands it out in steps of some ms, between groups
 * of entries; each piece is an operation of the commit queue by itself. Once all are durable, an operation names them as the
 * checkpoint, and before that there is none: after a crash the one before it is loaded.
 *
 * A checkpoint holds what has changed since the one before it, until such segments take more than the whole one that they
 * build on, or are many: then comes a whole one. The first after a start, and the first after one that failed, is whole.
 */
export class Checkpointer {
  readonly #windows: CapturedWindows;
  readonly #commits: CommitQueue;
  #requested: PromiseWithResolvers<number> | null = null;
  #writing: Writing | null = null;
  /** All of it has been handed out, but is not durable yet. */
  #isHandedOut = false;
  #chain: (Segments & { readonly wholeBytes: number; readonly changedBytes: number }) | null = null;
  #lastSegment: number;
  #unwrittenBytes = 0;
  #skipped = 0;
  #lastWrite: Promise<unknown> = Promise.resolve();
  figures: CheckpointFigures | null = null;
  /** Told when there is something to do that there was not. */
  onWork: (() => void) | null = null;

  /** `lastSegment`: the greatest number that any segment has had. */
  constructor(windows: CapturedWindows, commits: CommitQueue, lastSegment: number) {
    this.#windows = windows;
    this.#commits = commits;
    this.#lastSegment = lastSegment;
  }

  /** Whether `step` has something to do. */
  get hasWork(): boolean {
    return this.isCapturing || (this.#requested !== null && this.#writing === null);
  }

  /** Between the first and the last step of a checkpoint. */
  get isCapturing(): boolean {
    return this.#writing !== null && !this.#isHandedOut;
  }

  /** Whether a checkpoint is asked for or on its way. */
  get isBusy(): boolean {
    return this.#requested !== null || this.#writing !== null;
  }

  /** Asks for a checkpoint; the steps are to be called for it. Resolves with its seq once it is durable. */
  request(): Promise<number> {
    this.#requested ??= Promise.withResolvers();
    const { promise } = this.#requested;
    this.onWork?.();
    return promise;
  }

  /**
   * One step, between two groups of entries: what came of all before it is already in the commit queue, in front of the
   * checkpoint. `whenBehind`: what to do when pieces wait to be written. More than one when events have made the windows save
   * much.
   */
  async step(whenBehind: "wait" | "skip"): Promise<void> {
    try {
      if (this.#writing === null) await this.#begin();
      if (this.#writing === null || this.#isHandedOut) return;
      if (this.#unwrittenBytes >= MAX_UNWRITTEN_BYTES) {
        if (whenBehind === "skip" && this.#skipped++ < MAX_SKIPPED) return;
        await this.#lastWrite;
        if (whenBehind === "wait") return;
      }
      this.#skipped = 0;
      while (this.isCapturing && (await this.#goOn(this.#writing)) > MAX_SAVED_BYTES) await this.#lastWrite;
    } catch (cause) {
      this.fail(cause);
    }
  }

  /** Hands out all that is left of it: for what may not come between. */
  async finishCapture(): Promise<void> {
    while (this.isCapturing) await this.step("wait");
  }

  /** No checkpoint comes of what was asked for. */
  fail(cause: unknown): void {
    const writing = this.#writing;
    this.#writing = null;
    this.#chain = null;
    this.#isHandedOut = false;
    const requested = writing === null ? this.#requested : null;
    if (writing === null) this.#requested = null;
    (writing?.done ?? requested)?.reject(cause);
    if (this.#requested !== null) this.onWork?.();
  }

  async #begin(): Promise<void> {
    const done = this.#requested;
    if (done === null) return;
    this.#requested = null;
    const kind = this.#nextKind();
    this.#lastSegment++;
    const startedMs = performance.now();
    this.#isHandedOut = false;
    const writing = {
      kind,
      segment: this.#lastSegment,
      startedMs,
      pieces: 0,
      bytes: 0,
      done,
    };
    try {
      const { seq, heldMs } = await this.#windows.beginCheckpoint(kind);
      this.#writing = { ...writing, seq, pausesMs: [heldMs] };
    } catch (cause) {
      this.#chain = null;
      done.reject(cause);
    }
  }

  #nextKind(): CaptureKind {
    const chain = this.#chain;
    if (chain === null || chain.changedBytes > chain.wholeBytes) return "whole";
    return chain.last - chain.first + 1 < MAX_SEGMENTS ? "changes" : "whole";
  }

  /** @returns the bytes that the windows have saved and not told. */
  async #goOn(writing: Writing): Promise<number> {
    const { frames, isDone, savedBytes, heldMs } = await this.#windows.nextPieces();
    writing.pausesMs.push(heldMs);
    for (const bytes of frames) {
      const { length } = bytes;
      const number = writing.pieces++;
      writing.bytes += length;
      this.#unwrittenBytes += length;
      const operation = { kind: "checkpoint-piece", segment: writing.segment, number, bytes } as const;
      this.#lastWrite = this.#commits.push(operation, length).then(() => {
        this.#unwrittenBytes -= length;
        release(bytes.buffer);
      });
    }
    if (!isDone) return savedBytes;
    this.#isHandedOut = true;
    // Operations of the queue are durable in their order: with this one, all of its pieces are.
    void this.#name(writing).catch((cause: unknown) => this.fail(cause));
    return 0;
  }

  async #name(writing: Writing): Promise<void> {
    const { kind, segment, seq, bytes } = writing;
    const before = kind === "whole" ? null : this.#chain;
    const segments = {
      first: before?.first ?? segment,
      last: segment,
      pieces: (before?.pieces ?? 0) + writing.pieces,
    };
    const operation = { kind: "checkpoint", seq, state: new Uint8Array(0), segments } as const;
    const outcome = await this.#commits.push(operation, 128);
    if (outcome.kind !== "committed") throw new MillraceError("E_STORE", "the checkpoint was not written");
    this.#chain = {
      ...segments,
      wholeBytes: before?.wholeBytes ?? bytes,
      changedBytes: before === null ? 0 : before.changedBytes + bytes,
    };
    const sorted = writing.pausesMs.toSorted((a, b) => a - b);
    this.figures = {
      kind,
      bytes,
      pauses: sorted.length,
      medianPauseMs: sorted[sorted.length >> 1] ?? 0,
      longestPauseMs: sorted.at(-1) ?? 0,
      tookMs: performance.now() - writing.startedMs,
    };
    this.#writing = null;
    writing.done.resolve(seq);
    if (this.#requested !== null) this.onWork?.();
    await this.#sweep(segment);
  }

  /** Deletes what no checkpoint has any more, a little at a time. */
  async #sweep(below: number): Promise<void> {
    for (;;) {
      const operation = { kind: "checkpoint-sweep", below, limit: SWEPT_AT_ONCE } as const;
      const outcome = await this.#commits.push(operation, 128);
      if (outcome.kind !== "cleared" || outcome.rows < SWEPT_AT_ONCE) return;
    }
  }
}
