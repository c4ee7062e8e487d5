import type { Logger } from "pino";
import { Piscina } from "piscina";
import type { BackfillStep } from "../../workers/backfill/step.ts";
import type { BackfillOutcome, BackfillTask } from "../../workers/backfill/task.ts";
import { MillraceError } from "../../workers/errors.ts";
import type { BackfilledState, ResultsSetup, TableData } from "../../workers/messages.ts";
import { piecesOf } from "../../workers/packed-rows.ts";
import { countResults } from "../../workers/result-rows.ts";
import type { MasterKeys } from "../../workers/seal/master-key.ts";
import type { StorageClient } from "../store/storage-client.ts";
import type { CommitQueue } from "./commit-queue.ts";
import type { Backfill } from "./query-set.ts";
import type { RunningQuery } from "./stream-registry.ts";
import { IN_EVENT_LOOP, workerFile } from "./worker-file.ts";

/** Old results deleted at once: a few ms. */
const CLEARED_ROWS = 1_000;
/** Between two slices, so that lanes and storage have the processor to themselves now and then. */
const PAUSE_MS = 5;

export interface BackfillParts {
  readonly dir: string;
  readonly masters: () => MasterKeys | null;
  readonly storage: Pick<StorageClient, "sizes">;
  readonly commits: CommitQueue;
  readonly tables: () => readonly TableData[];
  readonly log: Logger;
  /** Of the entry up to which all is applied, and what came of it durable. */
  readonly durableSeq: () => number;
  /** What the query's events are results of; null: it is from a stream. */
  readonly below: (query: RunningQuery) => QueryBelow | null;
  /** The stream's watermark as it is applied; null: none yet. */
  readonly watermarkUs: (stream: string) => Promise<number | null>;
  /** Once all that is committed by now is applied, and what came of it is durable. */
  readonly settled: () => Promise<void>;
  /** Lets the query go on live; `finish` reads what came before that place of the log. */
  readonly takeOver: (
    query: RunningQuery,
    finish: (seq: number) => Promise<BackfilledState>,
  ) => Promise<void>;
}

/** The query below, and how its results become final: that long behind the watermark of the stream of events. */
export interface QueryBelow {
  readonly query: RunningQuery;
  readonly results: ResultsSetup;
  readonly stream: string;
  readonly behindUs: number;
}

/** Reads stored events for new queries, one query after the other, in a thread that is there only meanwhile. */
export class Backfills {
  readonly #parts: BackfillParts;
  #turn: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  /** Waiting or under way. */
  active = 0;

  constructor(parts: BackfillParts) {
    this.#parts = parts;
  }

  /** Gives the query its events in the background, then lets it go on live. */
  start(query: RunningQuery, backfill: Backfill): void {
    this.#enqueue(query, backfill, async (run) => {
      await run.read();
      await run.readLog(() => this.#parts.durableSeq() + 1);
      if (run.isCancelled()) return;
      // Called in front of the entry that takes over: all before it is settled, and nothing behind it begins.
      await this.#parts.takeOver(query, (seq) => run.finish(seq, this.#parts.settled()));
      await run.finished;
    }).catch((cause: unknown) => {
      if (this.#isClosed || query.isGone) return;
      const reason = cause instanceof Error ? cause.message : String(cause);
      query.progress = { ...progressOf(query, backfill), state: "failed", reason };
      this.#parts.log.error(
        { err: cause, query: query.config.name },
        "a backfill failed; the next start tries again",
      );
    });
  }

  /** For a replay that meets the place where the query went live: all of it at once. */
  complete(query: RunningQuery, backfill: Backfill, seq: number): Promise<BackfilledState> {
    return this.#enqueue(query, backfill, async (run) => {
      await run.read();
      return run.finish(seq, Promise.resolve());
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#turn;
  }

  #enqueue<T>(query: RunningQuery, backfill: Backfill, work: (run: Run) => Promise<T>): Promise<T> {
    this.active++;
    query.progress = progressOf(query, backfill);
    const result = this.#turn.then(async () => {
      const run = new Run(this.#parts, query, backfill, () => this.#isClosed);
      try {
        return await work(run);
      } finally {
        await run.close();
        this.active--;
      }
    });
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

function progressOf(query: RunningQuery, { fromUs }: Backfill): NonNullable<RunningQuery["progress"]> {
  const none = {
    state: "waiting",
    fromUs,
    blocks: 0,
    totalBlocks: 0,
    events: 0,
    unreadable: 0,
    reason: null,
  } as const;
  return query.progress ?? none;
}

class Run {
  readonly #parts: BackfillParts;
  readonly #query: RunningQuery;
  readonly #backfill: Backfill;
  readonly #isClosed: () => boolean;
  readonly #below: QueryBelow | null;
  #finalUs: number | null = null;
  readonly #pool = new Piscina({
    filename: workerFile("backfill"),
    minThreads: 1,
    maxThreads: 1,
    idleTimeout: Number.POSITIVE_INFINITY,
    stricterFIFO: true,
    recordTiming: false,
    ...IN_EVENT_LOOP,
  });
  readonly #finished = Promise.withResolvers<void>();

  constructor(parts: BackfillParts, query: RunningQuery, backfill: Backfill, isClosed: () => boolean) {
    this.#parts = parts;
    this.#query = query;
    this.#backfill = backfill;
    this.#isClosed = isClosed;
    this.#below = parts.below(query);
    this.#finished.promise.catch(() => undefined);
  }

  /** Once `finish` is through. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** Removed or changed meanwhile, or the node stops. */
  isCancelled(): boolean {
    return this.#isClosed() || this.#query.isGone;
  }

  /** The events before the entry of the log that brought the query. */
  async read(): Promise<void> {
    const { fromUs } = this.#backfill;
    // Whatever put a merged block in place before is through with it.
    await this.#parts.storage.sizes();
    await this.#clear();
    const task: BackfillTask = {
      dir: this.#parts.dir,
      masters: this.#parts.masters(),
      plan: this.#query.plan,
      tables: this.#parts.tables(),
      ...this.#backfill,
      below:
        this.#below === null ? null : { query: this.#below.query.plan.name, results: this.#below.results },
    };
    const totalBlocks = (await this.#pool.run(task, { name: "begin" })) as number;
    const start = { blocks: 0, events: 0, unreadable: 0, totalBlocks, fromUs, reason: null };
    this.#query.progress = { state: "reading", ...start };
    await this.#lookBelow();
    await this.#steps("byTime", () => this.#finalUs);
  }

  /** Up to where the results below are final, and stored. */
  async #lookBelow(): Promise<void> {
    if (this.#below === null) return;
    const { query, stream, behindUs } = this.#below;
    if (query.backfill !== null)
      throw new MillraceError("E_BACKFILL", `${query.plan.name}, which it is from, is not live`);
    const watermarkUs = await this.#parts.watermarkUs(stream);
    this.#finalUs = watermarkUs === null ? null : watermarkUs - behindUs;
  }

  /** What came after it, as far as `before` says each time. */
  async readLog(before: () => number): Promise<void> {
    // Results are read once they are final, by however little: the rest comes at the end.
    if (this.#below !== null) return;
    await this.#steps("byLog", before);
  }

  /** `settled`: once what came before `seq` has given its results. */
  async finish(seq: number, settled: Promise<void>): Promise<BackfilledState> {
    try {
      // Before that, a block's late events that live queries found may not be stored, and would be set aside twice.
      await settled;
      if (this.#below === null) await this.#steps("byLog", () => seq, "last");
      else {
        await this.#lookBelow();
        await this.#steps("byTime", () => this.#finalUs, "last");
      }
      const { state, waiting } = (await this.#pool.run(null, { name: "finish" })) as BackfillOutcome;
      const { progress, plan } = this.#query;
      if (progress !== null)
        this.#query.progress = { ...progress, state: "done", blocks: progress.totalBlocks };
      this.#finished.resolve();
      const taken = { queryId: plan.id, sinceUs: this.#backfill.fromUs, state };
      return waiting === null ? taken : { ...taken, results: { waiting, finalUs: this.#finalUs } };
    } catch (cause) {
      this.#finished.reject(cause);
      throw cause;
    }
  }

  close(): Promise<void> {
    return this.#pool.destroy();
  }

  /** Results of a definition before, or of a run that was cut off. */
  async #clear(): Promise<void> {
    const fromUs = this.#backfill.fromUs ?? Number.MIN_SAFE_INTEGER;
    const query = this.#query.config.name;
    for (let rows = CLEARED_ROWS; rows === CLEARED_ROWS && !this.isCancelled(); ) {
      const outcome = await this.#parts.commits.push(
        { kind: "clear-results", query, fromUs, limit: CLEARED_ROWS },
        64,
      );
      rows = outcome.kind === "cleared" ? outcome.rows : 0;
    }
  }

  async #steps(name: "byTime" | "byLog", argument: () => number | null, haste?: "last"): Promise<void> {
    while (haste === "last" || !this.isCancelled()) {
      const step = (await this.#pool.run(argument(), { name })) as BackfillStep;
      await this.#keep(step);
      if (step.isDone) return;
      if (haste === undefined) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    throw new MillraceError("E_BACKFILL_CANCELLED", "the query was changed or removed, or the node stops");
  }

  async #keep({ rows, late, blocks, events, unreadable }: BackfillStep): Promise<void> {
    const { commits } = this.#parts;
    const stream = this.#query.plan.stream;
    for (const packed of piecesOf(rows))
      await commits.push({ kind: "packed-results", packed }, packed.bytes.length);
    for (const { seq, arrivalUs, block, rows: lateRows } of late) {
      const outcome = await commits.push(
        { kind: "late", stream, sourceSeq: seq, block, rows: lateRows, atUs: arrivalUs },
        block.data.length,
      );
      if (outcome.kind === "committed") this.#query.stream.counts.late += block.count;
    }
    const { progress } = this.#query;
    if (progress === null) return;
    this.#query.results += countResults(rows);
    this.#query.progress = {
      ...progress,
      blocks: progress.blocks + blocks,
      totalBlocks: Math.max(progress.totalBlocks, progress.blocks + blocks),
      events: progress.events + events,
      unreadable: progress.unreadable + unreadable,
    };
  }
}
