import type { CommitOperation, CommitOutcome } from "../../workers/messages.ts";

/** Bytes that a commit may gather before it stops waiting for more. */
const FULL_COMMIT_BYTES = 256 * 1024;
/** Operations and bytes in one transaction at most, beyond the first of each queue, so that one commit stays short. */
const MAX_OPERATIONS = 2_000;
const MAX_COMMIT_BYTES = 1024 * 1024;
/** Of what nobody waits for, in a commit that also has senders' operations: 2,000 results take about 5 ms. */
const MAX_DERIVED_BYTES = 256 * 1024;
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
 * apart, or when 256 KiB have gathered.
 *
 * There are two queues, each in order: an operation is durable no later than those behind it in its queue. Blocks and
 * watermarks, whose senders wait, go first; what is derived from them (results, late events, checkpoints) follows in
 * small parts, so that ten thousand results of one window hold up nobody's acknowledgement.
 */
export class CommitQueue {
  readonly #sink: CommitSink;
  readonly #intervalMs: number;
  readonly #onStall: (cause: unknown) => void;
  #senders: Waiting[] = [];
  #derived: Waiting[] = [];
  #waitingBytes = 0;
  #isCommitting = false;
  #timer: NodeJS.Timeout | null = null;
  #lastStartMs = Number.NEGATIVE_INFINITY;
  /** Commits made, and the time they took on the storage thread and to and fro, in ns. */
  commits = 0;
  commitNs = 0;
  isStalled = false;

  constructor(sink: CommitSink, intervalMs: number, onStall: (cause: unknown) => void) {
    this.#sink = sink;
    this.#intervalMs = intervalMs;
    this.#onStall = onStall;
  }

  get depth(): number {
    return this.#senders.length + this.#derived.length;
  }

  /** Resolves once the operation is fsynced. Rejects only blocks, watermarks and ticks, whose sender can be told. */
  push(operation: CommitOperation, bytes: number): Promise<CommitOutcome> {
    return new Promise((settle, fail) => {
      const queue = isSendersOwn(operation) ? this.#senders : this.#derived;
      queue.push({ operation, bytes, settle, fail });
      this.#waitingBytes += bytes;
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#isCommitting || this.depth === 0) return;
    const dueMs = this.#lastStartMs + this.#intervalMs - performance.now();
    if (dueMs > 0 && this.#waitingBytes < FULL_COMMIT_BYTES) {
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
    const started = performance.now();
    this.#lastStartMs = started;
    const senders = takeUpTo(this.#senders, MAX_COMMIT_BYTES);
    const group = [
      ...senders,
      ...takeUpTo(this.#derived, senders.length > 0 ? MAX_DERIVED_BYTES : MAX_COMMIT_BYTES),
    ];
    for (const { bytes } of group) this.#waitingBytes -= bytes;
    try {
      const outcomes = await this.#sink.commit(group.map((waiting) => waiting.operation));
      this.isStalled = false;
      group.forEach((waiting, index) => {
        const outcome = outcomes[index];
        if (outcome !== undefined) waiting.settle(outcome);
      });
    } catch (cause) {
      this.#recover(group, cause);
    }
    this.commits++;
    this.commitNs += (performance.now() - started) * 1e6;
    this.#isCommitting = false;
    if (!this.isStalled) this.#schedule();
  }

  /**
   * The transaction wrote nothing. Senders of events are told and will resend; results and checkpoints exist
   * nowhere else, so they stay in front and are tried again.
   */
  #recover(group: readonly Waiting[], cause: unknown): void {
    this.isStalled = true;
    this.#onStall(cause);
    const kept = group.filter((waiting) => !isSendersOwn(waiting.operation));
    for (const waiting of group) if (isSendersOwn(waiting.operation)) waiting.fail(cause);
    this.#derived.unshift(...kept);
    for (const { bytes } of kept) this.#waitingBytes += bytes;
    setTimeout(() => {
      this.isStalled = false;
      this.#schedule();
    }, RETRY_MS);
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
