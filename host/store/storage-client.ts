import { Piscina } from "piscina";
import { MillraceError } from "../../workers/errors.ts";
import type { CommitOperation, CommitOutcome, LogEntry, StoredBlock } from "../../workers/messages.ts";
import type { OpenFailure, Recovered } from "../../workers/storage.ts";
import type { SmallBlocks } from "../../workers/store/writer.ts";
import { workerFile } from "../pipeline/worker-file.ts";

/** The storage thread: the only writer of the database. */
export class StorageClient {
  readonly #pool: Piscina;
  /** What was found at the opening. */
  readonly recovered: Recovered;

  private constructor(pool: Piscina, recovered: Recovered) {
    this.#pool = pool;
    this.recovered = recovered;
  }

  /** @throws MillraceError E_DATA_DIR_LOCKED, E_STORE_NEWER, E_STORE_UNREADABLE */
  static async open(dir: string): Promise<StorageClient> {
    const pool = new Piscina({
      filename: workerFile("storage"),
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
    });
    const opened = (await pool.run(dir, { name: "open" })) as Recovered | OpenFailure;
    if ("code" in opened) {
      await pool.destroy();
      throw new MillraceError(opened.code, opened.message);
    }
    return new StorageClient(pool, opened);
  }

  commit(operations: readonly CommitOperation[]): Promise<readonly CommitOutcome[]> {
    return this.#pool.run(operations, { name: "commit" });
  }

  readLog(task: { readonly afterSeq: number; readonly maxBytes: number }): Promise<readonly LogEntry[]> {
    return this.#pool.run(task, { name: "readLog" });
  }

  listSmall(task: { readonly upToSeq: number; readonly targetBytes: number }): Promise<readonly SmallBlocks[]> {
    return this.#pool.run(task, { name: "listSmall" });
  }

  swap(task: { readonly removeSeqs: readonly number[]; readonly into: StoredBlock }): Promise<void> {
    return this.#pool.run(task, { name: "swap" });
  }

  sizes(): Promise<{ databaseBytes: number; walBytes: number }> {
    return this.#pool.run(null, { name: "sizes" });
  }

  async close(): Promise<void> {
    await this.#pool.run(null, { name: "close" });
    await this.#pool.destroy();
  }
}
