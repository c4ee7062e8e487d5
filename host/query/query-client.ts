import { Piscina } from "piscina";
import { MillraceError } from "../../workers/errors.ts";
import type { CorrectionTask } from "../../workers/query/correction.ts";
import type { LateKeys, LateKeysTask } from "../../workers/query/late-keys.ts";
import type { QueryFailure } from "../../workers/query/tasks.ts";
import type {
  AlertsTask,
  CorrectionStep,
  LateTask,
  ListTask,
  Page,
  ResultsTask,
} from "../../workers/query.ts";
import type { ScanTask } from "../../workers/scan.ts";
import type { MasterKeys } from "../../workers/seal/master-key.ts";
import type { HistoryReads } from "../api/reads.ts";
import { IN_EVENT_LOOP, workerFile } from "../pipeline/worker-file.ts";

type EventsTask = Omit<ScanTask, "dir" | "masters">;
export type SkippedBlocks = Page["skippedBlocks"];

/** A thread is given up when it had nothing to do for so long: each takes some 13 MB. */
const IDLE_MS = 60_000;

/**
 * The query threads, one for events and one for all else: a long read of events delays no other. They read through connections of their
 * own, so that a long read never delays an acknowledgement. Every method throws a MillraceError with its code: E_CURSOR for an `after` that is none of this list's.
 */
export class QueryClient implements HistoryReads {
  readonly #pool: Piscina;
  readonly #scans: Piscina;
  readonly #dir: string;
  #masters: MasterKeys | null;
  readonly #onSkipped: (blocks: SkippedBlocks) => void;
  /** Unreadable blocks that were told of. */
  readonly #told = new Set<string>();

  /**
   * The database must be there by the first read: the storage thread makes it. `onSkipped` hears once of each block that cannot
   * be read and was left out of a page.
   */
  constructor(
    dir: string,
    onSkipped: (blocks: SkippedBlocks) => void = () => {},
    masters: MasterKeys | null = null,
  ) {
    this.#dir = dir;
    this.#onSkipped = onSkipped;
    this.#masters = masters;
    this.#pool = thread("query");
    this.#scans = thread("scan");
  }

  events(task: EventsTask): Promise<Page> {
    return this.#page("events", { ...task, dir: this.#dir, masters: this.#masters }, this.#scans);
  }

  results(task: ResultsTask): Promise<Page> {
    return this.#page("results", task);
  }

  late(task: LateTask): Promise<Page> {
    return this.#page("late", task);
  }

  alerts(task: AlertsTask): Promise<Page> {
    return this.#page("alerts", task);
  }

  deadLetters(task: ListTask): Promise<Page> {
    return this.#page("deadLetters", task);
  }

  losses(task: ListTask): Promise<Page> {
    return this.#page("losses", task);
  }

  /** A step of correcting windows by late events; writes nothing. Results that live windows gave must be durable. */
  correct(task: CorrectionTask): Promise<CorrectionStep> {
    return this.#run("correct", task);
  }

  /** The keys of late events whose clocks a correction must know. */
  lateKeys(task: LateKeysTask): Promise<LateKeys> {
    return this.#run("lateKeys", task);
  }

  /** Keys that the storage thread is about to turn to. */
  async learnKeys(masters: MasterKeys): Promise<void> {
    this.#masters = masters;
    if (this.#pool.threads.length > 0) await this.#run("learnKeys", masters);
  }

  async close(): Promise<void> {
    await Promise.all([this.#pool.destroy(), this.#scans.destroy()]);
  }

  async #page(name: string, task: object, pool = this.#pool): Promise<Page> {
    const page = await this.#run<Page>(name, task, [], pool);
    const news = page.skippedBlocks.filter(({ where, seq }) => !this.#told.has(`${where} ${seq}`));
    for (const { where, seq } of news) this.#told.add(`${where} ${seq}`);
    if (news.length > 0) this.#onSkipped(news);
    return page;
  }

  async #run<T>(
    name: string,
    task: unknown,
    transferList: ArrayBuffer[] = [],
    pool = this.#pool,
  ): Promise<T> {
    let answer = (await pool.run(task, { name, transferList })) as T | QueryFailure;
    // A thread that was just started, or took a lost one's place, has not opened the store yet.
    if (isFailure(answer) && answer.failure.code === "E_STORE_CLOSED" && transferList.length === 0) {
      const opened: unknown = await pool.run({ dir: this.#dir, masters: this.#masters }, { name: "open" });
      if (isFailure(opened)) throw new MillraceError(opened.failure.code, opened.failure.message);
      answer = (await pool.run(task, { name })) as T | QueryFailure;
    }
    if (isFailure(answer)) throw new MillraceError(answer.failure.code, answer.failure.message);
    return answer;
  }
}

function thread(name: "query" | "scan"): Piscina {
  const filename = workerFile(name);
  return new Piscina({
    filename,
    minThreads: 0,
    maxThreads: 1,
    idleTimeout: IDLE_MS,
    stricterFIFO: true,
    recordTiming: false,
    ...IN_EVENT_LOOP,
  });
}

function isFailure(answer: unknown): answer is QueryFailure {
  return typeof answer === "object" && answer !== null && "failure" in answer;
}
