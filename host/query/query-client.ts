import { Piscina } from "piscina";
import { MillraceError } from "../../workers/errors.ts";
import type { StoredBlock } from "../../workers/messages.ts";
import type { CorrectionTask } from "../../workers/query/correction.ts";
import type { QueryFailure } from "../../workers/query/tasks.ts";
import type {
  AlertsTask,
  CorrectionStep,
  EventsTask,
  LateTask,
  ListTask,
  Page,
  ResultsTask,
} from "../../workers/query.ts";
import type { HistoryReads } from "../api/reads.ts";
import { workerFile } from "../pipeline/worker-file.ts";

type SkippedBlocks = Page["skippedBlocks"];

/**
 * The query thread: it reads through a connection of its own, so that a long read never delays an acknowledgement.
 * Every method throws a MillraceError with its code: E_CURSOR for an `after` that is none of this list's.
 */
export class QueryClient implements HistoryReads {
  readonly #pool: Piscina;
  readonly #onSkipped: (blocks: SkippedBlocks) => void;
  /** Unreadable blocks that were told of. */
  readonly #told = new Set<string>();

  private constructor(pool: Piscina, onSkipped: (blocks: SkippedBlocks) => void) {
    this.#pool = pool;
    this.#onSkipped = onSkipped;
  }

  /**
   * The database must be there: the storage thread makes it. `onSkipped` hears once of each block that cannot be
   * read and was left out of a page.
   */
  static async open(
    dir: string,
    onSkipped: (blocks: SkippedBlocks) => void = () => {},
  ): Promise<QueryClient> {
    const pool = new Piscina({
      filename: workerFile("query"),
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      stricterFIFO: true,
    });
    const client = new QueryClient(pool, onSkipped);
    try {
      await client.#run("open", dir);
      return client;
    } catch (cause) {
      await pool.destroy();
      throw cause;
    }
  }

  events(task: EventsTask): Promise<Page> {
    return this.#page("events", task);
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

  /**
   * One block with the events of several, in their order. Their data is given away.
   * @throws MillraceError when one of them cannot be read
   */
  merge(blocks: readonly StoredBlock[], stream: string): Promise<StoredBlock> {
    const transferList = blocks.map(({ data }) => data.buffer);
    return this.#run("compact", { blocks, stream }, transferList);
  }

  async close(): Promise<void> {
    await this.#run("close", null);
    await this.#pool.destroy();
  }

  async #page(name: string, task: object): Promise<Page> {
    const page = await this.#run<Page>(name, task);
    const news = page.skippedBlocks.filter(({ where, seq }) => !this.#told.has(`${where} ${seq}`));
    for (const { where, seq } of news) this.#told.add(`${where} ${seq}`);
    if (news.length > 0) this.#onSkipped(news);
    return page;
  }

  async #run<T>(name: string, task: unknown, transferList: ArrayBuffer[] = []): Promise<T> {
    const answer = (await this.#pool.run(task, { name, transferList })) as T | QueryFailure;
    if (isFailure(answer)) throw new MillraceError(answer.failure.code, answer.failure.message);
    return answer;
  }
}

function isFailure(answer: unknown): answer is QueryFailure {
  return typeof answer === "object" && answer !== null && "failure" in answer;
}
