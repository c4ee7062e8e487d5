import { Piscina } from "piscina";
import type { StoredBlock } from "../../workers/messages.ts";
import type { EventsTask, ListTask, Page, ResultsTask } from "../../workers/query.ts";
import type { HistoryReads } from "../api/reads.ts";
import { workerFile } from "../pipeline/worker-file.ts";

/** The query thread: it reads through a connection of its own, so that a long read never delays an acknowledgement. */
export class QueryClient implements HistoryReads {
  readonly #pool: Piscina;
  readonly #onSkipped: (blocks: Page["skippedBlocks"]) => void;

  private constructor(pool: Piscina, onSkipped: (blocks: Page["skippedBlocks"]) => void) {
    this.#pool = pool;
    this.#onSkipped = onSkipped;
  }

  /** The database must be there: the storage thread makes it. */
  static async open(dir: string, onSkipped: (blocks: Page["skippedBlocks"]) => void): Promise<QueryClient> {
    const pool = new Piscina({
      filename: workerFile("query"),
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
    });
    await pool.run(dir, { name: "open" });
    return new QueryClient(pool, onSkipped);
  }

  events(task: EventsTask): Promise<Page> {
    return this.#page("events", task);
  }

  results(task: ResultsTask): Promise<Page> {
    return this.#page("results", task);
  }

  late(task: { stream: string; timeField: string; limit: number; after: string | null }): Promise<Page> {
    return this.#page("late", task);
  }

  deadLetters(task: ListTask): Promise<Page> {
    return this.#page("deadLetters", task);
  }

  losses(task: ListTask): Promise<Page> {
    return this.#page("losses", task);
  }

  /** One block with the events of several. */
  merge(blocks: readonly StoredBlock[], stream: string): Promise<StoredBlock> {
    return this.#pool.run({ blocks, stream }, { name: "merge" });
  }

  async close(): Promise<void> {
    await this.#pool.run(null, { name: "close" });
    await this.#pool.destroy();
  }

  async #page(name: string, task: object): Promise<Page> {
    const page = (await this.#pool.run(task, { name })) as Page;
    if (page.skippedBlocks.length > 0) this.#onSkipped(page.skippedBlocks);
    return page;
  }
}
