import type { Logger } from "pino";
import type { AggregatedBlock, ApplyEntry, LogEntry, StoredBlock } from "../../workers/messages.ts";
import { release } from "../../workers/move.ts";
import type { StorageClient } from "../store/storage-client.ts";
import type { ApplyLoop, CommittedEntry } from "./apply-loop.ts";
import type { Lane } from "./lane.ts";
import { replayBlock } from "./replay-block.ts";
import { type BlockEntry, type Run, RunPlanner } from "./replay-runs.ts";
import type { InForce, RunningStream, StreamRegistry } from "./stream-registry.ts";
import type { WindowWorker } from "./window-worker.ts";

/** Partial aggregates that may wait for the window thread before the lanes do. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** Blocks that are merged one by one go to a lane so many at a time: handing over costs more than many a block. */
const TASK_BLOCKS = 16;

type ReplayLane = Pick<Lane, "replay" | "replayRuns">;

export interface LogReplayParts {
  readonly storage: StorageClient;
  readonly registry: Pick<StreamRegistry, "stream">;
  readonly windows: Pick<WindowWorker, "describe">;
  readonly lanes: readonly ReplayLane[];
  readonly apply: Pick<ApplyLoop, "pendingBytes" | "push" | "settled">;
  /** Puts the queries of an entry in force, and gives what is to be applied. */
  readonly switchAt: (entry: LogEntry & { kind: "config" }) => Promise<CommittedEntry>;
  readonly log: Logger;
}

type MarkEntry = LogEntry & { readonly kind: "watermark" | "tick" };
type Aggregated = readonly (AggregatedBlock | null)[];

/** What a lane is given to do: runs of a stream that follow one another. */
interface RunsStep {
  readonly kind: "runs";
  readonly stream: RunningStream;
  readonly planner: RunPlanner;
  readonly runs: readonly Run[];
  readonly inForce: InForce;
  /** null: something in them failed. */
  readonly aggregated: Promise<Aggregated | null>;
}

type Step = RunsStep | { readonly kind: "mark"; readonly entry: MarkEntry };

/** Brings entries of the log to the windows, in its order. Blocks that may be are merged together, see `RunPlanner`. */
export class LogReplay {
  readonly #parts: LogReplayParts;
  /** Of the queries in force. */
  #planners = new Map<RunningStream, RunPlanner>();
  #tasks = 0;

  constructor(parts: LogReplayParts) {
    this.#parts = parts;
  }

  /** Resolves when all are with the windows, or on their way to them. */
  async take(entries: readonly LogEntry[]): Promise<void> {
    for (let from = 0; from < entries.length; ) {
      const config = entries.findIndex(({ kind }, index) => index >= from && kind === "config");
      const upTo = config < 0 ? entries.length : config;
      await this.#takeUnchanged(entries.slice(from, upTo));
      const entry = entries[upTo];
      if (entry?.kind === "config") {
        this.#parts.apply.push(await this.#parts.switchAt(entry));
        this.#planners = new Map();
      }
      from = upTo + 1;
    }
  }

  /** Entries among which no query changes. */
  async #takeUnchanged(entries: readonly LogEntry[]): Promise<void> {
    if (entries.length === 0) return;
    await this.#learnClocks(entries);
    const steps = this.#prepare(entries);
    for (const step of steps) {
      if (step.kind === "mark") this.#pushMark(step.entry);
      else await this.#pushRuns(step);
      if (this.#parts.apply.pendingBytes > MAX_WAITING_BYTES) await this.#parts.apply.settled();
    }
  }

  /** After a change of the queries, and after watermarks that cannot be foretold. */
  async #learnClocks(entries: readonly LogEntry[]): Promise<void> {
    const { apply, registry, windows } = this.#parts;
    const names = new Set(entries.flatMap((entry) => ("stream" in entry ? [entry.stream] : [])));
    const lost = [...names].filter((name) => {
      const stream = registry.stream(name);
      return stream !== undefined && this.#plannerOf(stream).isLost;
    });
    if (lost.length > 0) {
      await apply.settled();
      const { watermarks } = await windows.describe();
      for (const clock of watermarks) {
        const stream = registry.stream(clock.stream);
        if (stream !== undefined) this.#plannerOf(stream).knowClock(clock);
      }
    }
    for (const planner of this.#planners.values()) planner.start();
  }

  #plannerOf(stream: RunningStream): RunPlanner {
    const planner = this.#planners.get(stream) ?? new RunPlanner(stream);
    this.#planners.set(stream, planner);
    return planner;
  }

  /** Spreads the blocks over the lanes. */
  #prepare(entries: readonly LogEntry[]): Step[] {
    const steps: Step[] = [];
    for (let from = 0; from < entries.length; ) {
      const entry = entries[from]!;
      const upTo = entry.kind === "block" ? endOfBlocks(entries, from) : from + 1;
      const stream = entry.kind === "config" ? undefined : this.#parts.registry.stream(entry.stream);
      if (stream !== undefined && entry.kind === "block")
        steps.push(...this.#prepareBlocks(stream, entries.slice(from, upTo) as BlockEntry[]));
      else if (stream !== undefined && (entry.kind === "watermark" || entry.kind === "tick")) {
        this.#plannerOf(stream).foretell(timeOf(entry));
        steps.push({ kind: "mark", entry });
      }
      from = upTo;
    }
    return steps;
  }

  #prepareBlocks(stream: RunningStream, entries: readonly BlockEntry[]): RunsStep[] {
    const planner = this.#plannerOf(stream);
    return tasksOf(planner.plan(entries)).map((runs) => {
      const lane = this.#parts.lanes[this.#tasks++ % this.#parts.lanes.length]!;
      const tasks = runs.map((run) => ({
        blocks: run.entries.map(({ block }) => block),
        arrivalsUs: run.entries.map(({ arrivalUs }) => arrivalUs),
      }));
      // Whatever failed, its blocks are taken one by one in their turn, and those that fail again are told of there.
      const aggregated = lane.replayRuns(stream, tasks).catch(() => null);
      return { kind: "runs", stream, planner, runs, inForce: stream.inForce, aggregated };
    });
  }

  #pushMark(entry: MarkEntry): void {
    const { apply, registry } = this.#parts;
    apply.push({ entry, block: null, arrivalUs: 0 });
    const stream = registry.stream(entry.stream);
    if (stream !== undefined) this.#plannerOf(stream).pushedMark(timeOf(entry));
  }

  async #pushRuns(step: RunsStep): Promise<void> {
    const aggregated = await step.aggregated;
    for (const [index, run] of step.runs.entries()) {
      const result = aggregated?.[index] ?? null;
      const [first, ...others] = run.entries;
      if (others.length > 0 && result !== null && step.planner.isProven(run))
        this.#pushRun(step, run, result);
      else if (others.length > 0) {
        step.planner.mistook();
        for (const entry of run.entries) await this.#pushBlock(step, entry, null);
      } else await this.#pushBlock(step, first!, result);
    }
  }

  /** No event of a run is late, so none of its blocks is asked for any more. */
  #pushRun(step: RunsStep, { entries }: Run, result: AggregatedBlock): void {
    const last = entries[entries.length - 1]!;
    this.#push(step, last, result, null);
    for (const { block } of entries) release(block.data.buffer);
  }

  async #pushBlock(step: RunsStep, entry: BlockEntry, known: AggregatedBlock | null): Promise<void> {
    // Not the lane that the run was given to: with nothing to do since then, it may have been ended. The first one stays.
    const lane = this.#parts.lanes[0]!;
    const result = known ?? (await replayBlock({ ...this.#parts, lane }, step.stream, entry));
    if (result !== null) this.#push(step, entry, result, entry.block);
  }

  #push(
    { planner, inForce }: RunsStep,
    { seq, stream, arrivalUs }: BlockEntry,
    { partials, maxEventUs, sources }: AggregatedBlock,
    block: StoredBlock | null,
  ): void {
    const entry: ApplyEntry = { kind: "block", seq, stream, arrivalUs, partials, maxEventUs, sources };
    this.#parts.apply.push({ entry, block, arrivalUs, inForce });
    planner.pushedBlock(maxEventUs);
  }
}

/** Where the blocks of the entry's stream end that follow one another from it on. */
function endOfBlocks(entries: readonly LogEntry[], from: number): number {
  const first = entries[from];
  let upTo = from;
  while (upTo < entries.length) {
    const entry = entries[upTo]!;
    if (entry.kind !== "block" || first?.kind !== "block" || entry.stream !== first.stream) break;
    upTo++;
  }
  return upTo;
}

/** A run of several blocks by itself, others together. */
function tasksOf(runs: readonly Run[]): Run[][] {
  const tasks: Run[][] = [];
  let single: Run[] = [];
  for (const run of runs) {
    if (run.entries.length > 1) {
      tasks.push([run]);
      single = [];
      continue;
    }
    if (single.length === 0 || single.length === TASK_BLOCKS) {
      single = [];
      tasks.push(single);
    }
    single.push(run);
  }
  return tasks;
}

/** What an entry says of its stream's watermark; null: nothing. */
function timeOf(entry: MarkEntry): number | "end" | null {
  return entry.kind === "watermark" ? entry.timeUs : null;
}
