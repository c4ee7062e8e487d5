import type { LaneTask } from "../../workers/ingest.ts";
import type {
  AggregatedBlock,
  FormerQueries,
  IngestResult,
  LateEvents,
  LateTask,
  ReplayRun,
  ReplayTask,
  RunsTask,
  StoredBlock,
  TableData,
} from "../../workers/messages.ts";
import { type PackedResult, unpackOutcomes } from "../../workers/packed-bodies.ts";
import type { RunningStream } from "./stream-registry.ts";
import type { JobBodies } from "./waiting-job.ts";
import { workerFile } from "./worker-file.ts";
import { WorkerThread } from "./worker-thread.ts";

/** The worker's one function: what is asked first is done first. */
const TASKS = "run";
/** Tasks given to a lane ahead of the one it works on, so that it never waits for the main thread. */
export const LANE_DEPTH = 2;

export interface LaneOptions {
  /** Whether blocks' events are summed up for an audit, while they are at hand. */
  readonly isSummed: boolean;
}

/** One ingest thread. It remembers which version of each stream's setup the thread has. */
export class Lane {
  readonly #thread = new WorkerThread(workerFile("ingest"));
  readonly #options: LaneOptions;
  readonly #known = new Map<string, string>();
  readonly #tables = new Map<string, TableData>();
  /** Tasks under way. */
  busy = 0;
  /** Told whenever a task has ended, so that requests that wait for a free lane go on. */
  onFree: (() => void) | null = null;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  get isFree(): boolean {
    return this.busy < LANE_DEPTH;
  }

  ingest(
    stream: RunningStream,
    arrivalUs: number,
    maxBodyBytes: number,
    bodies: JobBodies,
  ): Promise<IngestResult> {
    const about = {
      stream: stream.config.name,
      setup: this.#setupFor(stream),
      arrivalUs,
      maxBodyBytes,
      isSummed: this.#options.isSummed,
    };
    if (bodies.kind === "apart") {
      const own = bodies.bodies.filter(({ body }) => body.buffer.byteLength === body.byteLength);
      const transferList = own.map(({ body }) => body.buffer);
      return this.#run({ name: "ingest", task: { ...about, bodies: bodies.bodies } }, transferList);
    }
    const { kind: _, ...packed } = bodies;
    const task = { ...about, ...packed };
    return this.#run<PackedResult>({ name: "ingestPacked", task }, [
      task.bodies.buffer,
      task.ends.buffer,
    ]).then(({ packed: outcomes, ...result }) => ({ ...result, outcomes: unpackOutcomes(outcomes) }));
  }

  replay(stream: RunningStream, block: StoredBlock, arrivalUs: number): Promise<AggregatedBlock> {
    const task: ReplayTask = { stream: stream.config.name, setup: this.#setupFor(stream), block, arrivalUs };
    return this.#run({ name: "replay", task }, []);
  }

  /** Of runs of several blocks null where they cannot be taken together. */
  replayRuns(
    stream: RunningStream,
    runs: readonly ReplayRun[],
  ): Promise<readonly (AggregatedBlock | null)[]> {
    const task: RunsTask = { stream: stream.config.name, setup: this.#setupFor(stream), runs };
    return this.#run({ name: "replayRuns", task }, []);
  }

  extractLate(
    stream: RunningStream,
    block: StoredBlock,
    groups: LateTask["groups"],
    former: FormerQueries | null,
  ): Promise<LateEvents | null> {
    const setup = this.#setupFor(stream);
    const task: LateTask = { stream: stream.config.name, setup, block, groups, former };
    return this.#run({ name: "extractLate", task }, []);
  }

  /** Reference tables that the thread has, or will have before its next task. */
  get tables(): ReadonlyMap<string, TableData> {
    return this.#tables;
  }

  /** Resolves when the thread is there and has nothing to do. */
  ready(): Promise<void> {
    return this.#thread.call(TASKS, { name: "ready", task: null } satisfies LaneTask);
  }

  /** Makes a reference table known to the thread, which then has it for every later task. */
  loadTable(table: TableData): Promise<void> {
    this.#tables.set(table.name, table);
    return this.#thread.call(TASKS, { name: "loadTable", task: table } satisfies LaneTask);
  }

  /**
   * Sets the stream up anew with its next task: what the thread has learned of its fields came from events that were not
   * stored.
   */
  forget(stream: RunningStream): void {
    this.#known.delete(stream.config.name);
  }

  close(): Promise<void> {
    return this.#thread.close();
  }

  #setupFor(stream: RunningStream): LateTask["setup"] {
    const version = `${stream.schemaVersion} ${stream.planVersion}`;
    if (this.#known.get(stream.config.name) === version) return null;
    this.#known.set(stream.config.name, version);
    return stream.setup();
  }

  async #run<T>(task: LaneTask, transferList: ArrayBuffer[]): Promise<T> {
    this.busy++;
    try {
      return await this.#thread.call<T>(TASKS, task, transferList);
    } catch (cause) {
      // The thread may not have taken the setup in, or lost all of them with its core: it gets them again.
      this.#known.clear();
      // Before any later task, for tasks are run in order. Without its tables a setup is refused.
      await Promise.allSettled([...this.#tables.values()].map((table) => this.loadTable(table)));
      throw cause;
    } finally {
      this.busy--;
      this.onFree?.();
    }
  }
}
