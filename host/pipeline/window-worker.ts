import { Piscina } from "piscina";
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
import type { Closing } from "../../workers/query/corrected-query.ts";
import type { MergeTask, QueryFailure } from "../../workers/query/tasks.ts";
import type { ClockReport } from "../../workers/window.ts";
import type { ClosedBefore } from "./closed-before.ts";
import { workerFile } from "./worker-file.ts";

/** The window thread: the only place that knows of watermarks, firing and revisions. */
export class WindowWorker {
  readonly #pool = new Piscina({
    filename: workerFile("window"),
    minThreads: 1,
    maxThreads: 1,
    idleTimeout: Number.POSITIVE_INFINITY,
    stricterFIFO: true,
    recordTiming: false,
  });

  configure(setups: readonly WindowSetup[]): Promise<void> {
    return this.#pool.run(setups, { name: "configure" });
  }

  apply(entries: readonly ApplyEntry[]): Promise<ApplyResult> {
    const transferList = entries.flatMap((entry) => (entry.kind === "block" ? buffersOf(entry) : []));
    return this.#pool.run(entries, { name: "apply", transferList });
  }

  /** The next portion of what came of the entries, when there is more. */
  resume(): Promise<ApplyResult> {
    return this.#pool.run(null, { name: "resume" });
  }

  beginCheckpoint(kind: CaptureKind): Promise<{ readonly seq: number; readonly heldMs: number }> {
    return this.#pool.run(kind, { name: "beginCheckpoint" });
  }

  nextPieces(): Promise<CheckpointStep> {
    return this.#pool.run(null, { name: "nextPieces" });
  }

  /** Begins to restore a checkpoint in pieces: `restore` is for one that is whole. Answers as that does. */
  beginRestore(heads: readonly Uint8Array[]): Promise<readonly string[]> {
    return this.#pool.run(heads, { name: "beginRestore" });
  }

  adopt(segment: number, frames: readonly Frame[]): Promise<void> {
    const transferList = frames.map(({ buffer }) => buffer);
    return this.#pool.run({ segment, frames }, { name: "adopt", transferList });
  }

  endRestore(seq: number): Promise<void> {
    return this.#pool.run(seq, { name: "endRestore" });
  }

  /** Alerts stand as they were told. */
  standAs(standing: readonly StandingAlert[]): Promise<void> {
    return this.#pool.run(standing, { name: "standAs" });
  }

  /** Windows that start before a time give no more results. */
  closeBefore(queries: readonly ClosedBefore[]): Promise<void> {
    return this.#pool.run(queries, { name: "closeBefore" });
  }

  /** @returns the queries whose definition changed since: their windows start empty. */
  restore(checkpoint: { readonly seq: number; readonly state: Uint8Array }): Promise<readonly string[]> {
    return this.#pool.run(checkpoint, { name: "restore" });
  }

  describe(): Promise<Pick<ApplyResult, "watermarks" | "stats" | "alertStats">> {
    return this.#pool.run(null, { name: "describe" });
  }

  /** The streams where a tick at that time would move the watermark. */
  idleStreams(nowUs: number): Promise<readonly string[]> {
    return this.#pool.run(nowUs, { name: "idleStreams" });
  }

  largestKeys(task: { queryId: number; from: number; limit: number }): Promise<KeySizes> {
    return this.#pool.run(task, { name: "largestKeys" });
  }

  clocks(stream: string, limit: number): Promise<ClockReport | null> {
    return this.#pool.run({ stream, limit }, { name: "clocks" });
  }

  /** Up to where the windows of queries are closed, in the order asked. */
  closings(
    asked: readonly { readonly queryId: number; readonly keys: readonly Uint8Array[] | null }[],
  ): Promise<readonly Closing[]> {
    return this.#pool.run(asked, { name: "closings" });
  }

  /** Counts corrected results for the alerts over them. */
  ignoreRevisions(
    rows: readonly { readonly query: string; readonly count: number }[],
  ): Promise<readonly AlertStats[]> {
    return this.#pool.run(rows, { name: "ignoreRevisions" });
  }

  /**
   * One block with the events of several, in their order. Their data is given away. It has nothing to do with windows: this is the
   * thread that no acknowledgement waits for, and one of its own would take 15 MB.
   * @throws MillraceError when one of them cannot be read
   */
  async merge(task: MergeTask): Promise<StoredBlock> {
    const transferList = task.blocks.map(({ data }) => data.buffer);
    const run = this.#pool.run(task, { name: "merge", transferList });
    const answer = (await run) as StoredBlock | QueryFailure;
    if ("failure" in answer) throw new MillraceError(answer.failure.code, answer.failure.message);
    return answer;
  }

  close(): Promise<void> {
    return this.#pool.destroy();
  }
}

function buffersOf({ partials, sources }: ApplyEntry & { kind: "block" }): ArrayBuffer[] {
  const buffers = partials.map((partial) => partial.bytes.buffer);
  return sources === null ? buffers : [...buffers, sources.buffer];
}
