import type { CommitOperation, CommitOutcome } from "../../workers/messages.ts";

/**
 * Bytes that a commit may gather before it stops waiting for more: 64 KiB are as much as any commit writes beside its
 * blocks' own pages, and what comes of waiting longer is that senders wait. Who sets a longer interval wants fewer, larger commits.
 */
const FULL_COMMIT = { leastBytes: 64 * 1024, mostBytes: 256 * 1024, bytesByMs: (64 * 1024) / 5 };
/** Operations and bytes in one transaction at most, beyond the first of each queue, so that one commit stays short. */
const MAX_OPERATIONS = 2_000;
const MAX_COMMIT_BYTES = 1024 * 1024;
/**
 * Of what nobody waits for, 2,500 results or 256 KiB take about 4 ms. In a commit that senders wait for it is less than in one of its
 * own, behind which the next sender waits. Of ten thousand results, 1 MiB, that is 128 and 256 KiB; the more waits, the more is
 * taken at once, so that nothing is lost in rate where results are what there is to do.
 */
const BESIDE_SENDERS = { share: 1 / 8, leastBytes: 128 * 1024, mostBytes: 256 * 1024 };
const BY_ITSELF = { share: 1 / 8, leastBytes: 256 * 1024, mostBytes: MAX_COMMIT_BYTES };
const RETRY_MS = 1_000;

export interface CommitSink {
  commit(operations: readonly CommitOperation[]): Promise<readonly CommitOutcome[]>;
}

interface Waiting {
  readonly operation: CommitOperation;
  readonly bytes: number;
  readonly settle: (outcome: CommitOutcome) => void;
  readonly fail: (cause: unknown) => void;
}

/**
 * Group commit: everything that waits while one commit is under way goes into the next, one transaction and one
 * fsync for all. Under light load a commit starts at once; under load commits start at least `intervalMs`
 * apart, or when 64 KiB have gathered (256 KiB where `intervalMs` is 20 or more), or what the one before had no room for waits.
 *
 * There are three queues, each in order: an operation is durable no later than those behind it in its queue. Blocks and
 * watermarks, whose senders wait, go first, then alerts; what else is derived from them (results, late events, checkpoints)
 * follows in small parts, so that ten thousand results of one window hold up nobody's acknowledgement and no alert. After a commit
 * that failed, senders' operations are committed apart: what is derived and cannot be written refuses nobody's events.
 */
export class CommitQueue {
  readonly #sink: CommitSink;
  readonly #intervalMs: number;
  readonly #onStall: (cause: unknown) => void;
  readonly #fullBytes: number;
  #senders: Waiting[] = [];
  #alerts: Waiting[] = [];
  #derived: Waiting[] = [];
  #waitingBytes = 0;
  /** Of these, those of what is derived. */
  #derivedBytes = 0;
  #isCommitting = false;
  #timer: NodeJS.Timeout | null = null;
  #lastStartMs = Number.NEGATIVE_INFINITY;
  /** A commit with derived operations failed: they are written apart from senders' own until one succeeds. */
  #isApart = false;
  /** Derived operations wait until they are tried again. */
  #isDerivedHeld = false;
  /** The last commit had no room for all that is derived: what was left waits for no other, of which it could be a part. */
  #isDraining = false;
  /** Commits made. */
  commits = 0;
  isStalled = false;

  constructor(sink: CommitSink, intervalMs: number, onStall: (cause: unknown) => void) {
    this.#sink = sink;
    this.#intervalMs = intervalMs;
    this.#onStall = onStall;
    const { leastBytes, mostBytes, bytesByMs } = FULL_COMMIT;
    this.#fullBytes = Math.min(mostBytes, Math.max(leastBytes, intervalMs * bytesByMs));
  }

  get depth(): number {
    return this.#senders.length + this.#derivedDepth;
  }

  get #derivedDepth(): number {
    return this.#alerts.length + this.#derived.length;
  }

  /** Nothing waits, and nothing is being written. */
  get isIdle(): boolean {
    return !this.#isCommitting && this.depth === 0;
  }

  /** Resolves once the operation is fsynced. Rejects only blocks, watermarks and ticks, whose sender can be told. */
  push(operation: CommitOperation, bytes: number): Promise<CommitOutcome> {
    return new Promise((settle, fail) => {
      this.#queueOf(operation).push({ operation, bytes, settle, fail });
      this.#countWaiting(operation, bytes);
      this.#schedule();
    });
  }

  #queueOf(operation: CommitOperation): Waiting[] {
    if (isSendersOwn(operation)) return this.#senders;
    return operation.kind === "alerts" ? this.#alerts : this.#derived;
  }

  #schedule(): void {
    if (this.#isCommitting || this.isStalled) return;
    if (this.#senders.length === 0 && (this.#derivedDepth === 0 || this.#isDerivedHeld)) return;
    const dueMs = this.#lastStartMs + this.#intervalMs - performance.now();
    if (dueMs > 0 && !this.#isDraining && this.#waitingBytes < this.#fullBytes) {
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.#schedule();
      }, dueMs);
      return;
    }
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    void this.#commit();
  }

  async #commit(): Promise<void> {
    this.#isCommitting = true;
    this.#lastStartMs = performance.now();
    const senders = this.#take(this.#senders, MAX_COMMIT_BYTES);
    const { share, leastBytes, mostBytes } = senders.length > 0 ? BESIDE_SENDERS : BY_ITSELF;
    const most = Math.min(mostBytes, Math.max(leastBytes, this.#derivedBytes * share));
    const derived = this.#isDerivedHeld
      ? []
      : [...this.#take(this.#alerts, mostBytes), ...this.#take(this.#derived, most)];
    this.#isDraining = !this.#isDerivedHeld && this.#derivedDepth > 0;
    const groups = this.#isApart ? [senders, derived] : [[...senders, ...derived]];
    for (const group of groups) {
      const cause = await this.#write(group);
      if (cause === null) continue;
      // Nothing of it is written. Which part of it was the reason shows when each is tried by itself.
      const own = group.filter(({ operation }) => isSendersOwn(operation));
      const causeOfOwn = own.length === group.length || own.length === 0 ? cause : await this.#write(own);
      if (own.length > 0 && causeOfOwn !== null) this.#refuse(own, causeOfOwn);
      if (own.length < group.length) this.#keep(group.slice(own.length), cause);
    }
    this.commits++;
    this.#isCommitting = false;
    this.#schedule();
  }

  #take(queue: Waiting[], maxBytes: number): Waiting[] {
    const taken = takeUpTo(queue, maxBytes);
    for (const { operation, bytes } of taken) this.#countWaiting(operation, -bytes);
    return taken;
  }

  #countWaiting(operation: CommitOperation, bytes: number): void {
    this.#waitingBytes += bytes;
    if (!isSendersOwn(operation)) this.#derivedBytes += bytes;
  }

  /** In one transaction. @returns why it failed; null when it did not. */
  async #write(group: readonly Waiting[]): Promise<unknown> {
    if (group.length === 0) return null;
    try {
      const outcomes = await this.#sink.commit(group.map((waiting) => waiting.operation));
      if (group.some(({ operation }) => !isSendersOwn(operation))) this.#isApart = false;
      group.forEach((waiting, index) => {
        const outcome = outcomes[index];
        if (outcome !== undefined) waiting.settle(outcome);
      });
      return null;
    } catch (cause) {
      return cause ?? new Error("the commit failed");
    }
  }

  /** Senders of events are told and will resend. */
  #refuse(group: readonly Waiting[], cause: unknown): void {
    this.isStalled = true;
    this.#onStall(cause);
    for (const { fail } of group) fail(cause);
    setTimeout(() => {
      this.isStalled = false;
      this.#schedule();
    }, RETRY_MS);
  }

  /**
   * Results and checkpoints exist nowhere else, so they stay in front and are tried again: by themselves, until they are
   * written, so that no sender is refused for their sake.
   */
  #keep(group: readonly Waiting[], cause: unknown): void {
    this.#isApart = true;
    this.#isDerivedHeld = true;
    setTimeout(() => {
      this.#isDerivedHeld = false;
      this.#schedule();
    }, RETRY_MS);
    if (!this.isStalled) this.#onStall(cause);
    for (const waiting of group.toReversed()) this.#queueOf(waiting.operation).unshift(waiting);
    for (const { operation, bytes } of group) this.#countWaiting(operation, bytes);
  }
}

/** Takes operations off the front: at least one, then as long as they fit. */
function takeUpTo(queue: Waiting[], maxBytes: number): Waiting[] {
  let count = 0;
  let bytes = 0;
  while (count < queue.length && count < MAX_OPERATIONS) {
    bytes += queue[count]!.bytes;
    if (count > 0 && bytes > maxBytes) break;
    count++;
  }
  return queue.splice(0, count);
}

function isSendersOwn(operation: CommitOperation): boolean {
  const { kind } = operation;
  return kind === "block" || kind === "watermark" || kind === "tick" || kind === "config";
}
