import type { StandingAlert } from "../../workers/alert/standing.ts";
import type { Frame } from "../../workers/checkpoint-frames.ts";
import type { CheckpointStep } from "../../workers/checkpoint-pieces.ts";
import type { CaptureKind } from "../../workers/core/capture.ts";
import type { KeySizes } from "../../workers/core/key-sizes.ts";
import { MillraceError } from "../../workers/errors.ts";
import type {
  AlertStats,
  ApplyEntry,
  ApplyResult,
  StoredBlock,
  WindowSetup,
} from "../../workers/messages.ts";
import { releaseBytes } from "../../workers/move.ts";
import type { Closing } from "../../workers/query/corrected-query.ts";
import type {
  Downsampled,
  Downsampling,
  MergeTask,
  QueryFailure,
  TakenBlocks,
} from "../../workers/query/tasks.ts";
import type { ClockReport } from "../../workers/window.ts";
import type { ClosedBefore } from "./closed-before.ts";
import { workerFile } from "./worker-file.ts";
import { WorkerThread } from "./worker-thread.ts";

/** Results wait behind a step of downsampling: some milliseconds, unless a single block has more events. */
const SLICE_EVENTS = 50_000;

/** The window thread: the only place that knows of watermarks, firing and revisions. */
export class WindowWorker {
  readonly #thread = new WorkerThread(workerFile("window"));

  /** What the thread knows is nowhere else but in the log: where it is lost, another must not go on in its place. */
  onLost(listener: (cause: unknown) => void): void {
    this.#thread.onLost = listener;
  }

  configure(setups: readonly WindowSetup[]): Promise<void> {
    return this.#thread.call("configure", setups);
  }

  apply(entries: readonly ApplyEntry[]): Promise<ApplyResult> {
    const transferList = entries.flatMap((entry) => (entry.kind === "block" ? buffersOf(entry) : []));
    return this.#thread.call("applyAndMove", entries, transferList);
  }

  /** The next portion of what came of the entries, when there is more. */
  resume(): Promise<ApplyResult> {
    return this.#thread.call("resumeAndMove", null);
  }

  beginCheckpoint(kind: CaptureKind): Promise<{ readonly seq: number; readonly heldMs: number }> {
    return this.#thread.call("beginCheckpoint", kind);
  }

  nextPieces(): Promise<CheckpointStep> {
    return this.#thread.call("nextPieces", null);
  }

  /** Begins to restore a checkpoint in pieces: `restore` is for one that is whole. Answers as that does. */
  beginRestore(heads: readonly Uint8Array[]): Promise<readonly string[]> {
    return this.#thread.call("beginRestore", heads);
  }

  adopt(segment: number, frames: readonly Frame[]): Promise<void> {
    const transferList = frames.map(({ buffer }) => buffer);
    return this.#thread.call("adopt", { segment, frames }, transferList);
  }

  endRestore(seq: number): Promise<void> {
    return this.#thread.call("endRestore", seq);
  }

  /** Alerts stand as they were told. */
  standAs(standing: readonly StandingAlert[]): Promise<void> {
    return this.#thread.call("standAs", standing);
  }

  /** Windows that start before a time give no more results. */
  closeBefore(queries: readonly ClosedBefore[]): Promise<void> {
    return this.#thread.call("closeBefore", queries);
  }

  /** @returns the queries whose definition changed since: their windows start empty. */
  restore(checkpoint: { readonly seq: number; readonly state: Uint8Array }): Promise<readonly string[]> {
    return this.#thread.call("restore", checkpoint);
  }

  describe(): Promise<Pick<ApplyResult, "watermarks" | "stats" | "alertStats">> {
    return this.#thread.call("describe", null);
  }

  /** The streams where a tick at that time would move the watermark. */
  idleStreams(nowUs: number): Promise<readonly string[]> {
    return this.#thread.call("idleStreams", nowUs);
  }

  largestKeys(task: { queryId: number; from: number; limit: number }): Promise<KeySizes> {
    return this.#thread.call("largestKeys", task);
  }

  clocks(stream: string, limit: number): Promise<ClockReport | null> {
    return this.#thread.call("clocks", { stream, limit });
  }

  /** Up to where the windows of queries are closed, in the order asked. */
  closings(
    asked: readonly { readonly queryId: number; readonly keys: readonly Uint8Array[] | null }[],
  ): Promise<readonly Closing[]> {
    return this.#thread.call("closings", asked);
  }

  /** Counts corrected results for the alerts over them. */
  ignoreRevisions(
    rows: readonly { readonly query: string; readonly count: number }[],
  ): Promise<readonly AlertStats[]> {
    return this.#thread.call("ignoreRevisions", rows);
  }

  /**
   * One block with the events of several, in their order. Their data is given away. It has nothing to do with windows: this is the
   * thread that no acknowledgement waits for, and one of its own would take 15 MB.
   * @throws MillraceError when one of them cannot be read
   */
  merge(task: MergeTask): Promise<StoredBlock> {
    return this.#expect("merge", task, buffersIn(task.blocks));
  }

  /**
   * One block of aggregates of the events of several, or of the first of them where all would take too much memory, in steps of some
   * milliseconds; `turn` is waited for before each that has work to do. Their data is given away.
   * @throws MillraceError when one of them cannot be read
   */
  async downsample(
    blocks: readonly StoredBlock[],
    task: Downsampling,
    turn: () => Promise<void>,
  ): Promise<Downsampled> {
    let taken = 0;
    try {
      await this.#expect("beginDownsampling", task);
      for (const some of slicesOf(blocks)) {
        await turn();
        const step = await this.#expect<TakenBlocks>("addToDownsampling", some, buffersIn(some));
        taken += step.taken;
        if (step.isFull) break;
      }
      await turn();
      await this.#expect("writeDownsampling", null);
      await turn();
      return { into: await this.#expect<StoredBlock>("endDownsampling", null), taken };
    } finally {
      for (const { data } of blocks) releaseBytes(data);
    }
  }

  /** An error with a code comes as a value, and is thrown here. */
  async #expect<T extends object | null>(
    name: string,
    task: unknown,
    buffers: ArrayBuffer[] = [],
  ): Promise<T> {
    const answer = await this.#thread.call<T | QueryFailure>(name, task, buffers);
    if (answer !== null && "failure" in answer)
      throw new MillraceError(answer.failure.code, answer.failure.message);
    return answer as T;
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}

function buffersOf({ partials, sources }: ApplyEntry & { kind: "block" }): ArrayBuffer[] {
  const buffers = partials.map((partial) => partial.bytes.buffer);
  return sources === null ? buffers : [...buffers, sources.buffer];
}

function buffersIn(blocks: readonly StoredBlock[]): ArrayBuffer[] {
  return blocks.map(({ data }) => data.buffer);
}

/** Blocks that follow one another, in pieces of `SLICE_EVENTS` or hardly more. */
function slicesOf(blocks: readonly StoredBlock[]): StoredBlock[][] {
  const slices: StoredBlock[][] = [];
  let left = 0;
  for (const block of blocks) {
    if (left <= 0) {
      slices.push([]);
      left = SLICE_EVENTS;
    }
    slices.at(-1)?.push(block);
    left -= block.count;
  }
  return slices;
}
