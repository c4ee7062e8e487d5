import { Piscina } from "piscina";
import { MillraceError } from "../../workers/errors.ts";
import type { MasterKeys } from "../../workers/seal/master-key.ts";
import type { StoreFailure } from "../../workers/store/failure.ts";
import type { ParkedBatch, SyncBacklog } from "../../workers/store/sync-operations.ts";
import type { AuditRange, EdgeAudit } from "../../workers/sync/audit-reader.ts";
import type { Inspected, InspectTask, PackedBatch, PackTask } from "../../workers/sync.ts";
import { IN_EVENT_LOOP, workerFile } from "../pipeline/worker-file.ts";

type Answer<T> = { readonly value: T } | StoreFailure;

/** The sync thread: it reads what is to be sent through a connection of its own, and packs it. */
export class SyncClient {
  readonly #pool: Piscina;

  private constructor(pool: Piscina) {
    this.#pool = pool;
  }

  /** The database must be there: the storage thread makes it. */
  static async open(dir: string, masters: MasterKeys | null): Promise<SyncClient> {
    const pool = new Piscina({
      filename: workerFile("sync"),
      minThreads: 1,
      maxThreads: 1,
      stricterFIFO: true,
      idleTimeout: Number.POSITIVE_INFINITY,
      recordTiming: false,
      ...IN_EVENT_LOOP,
    });
    const client = new SyncClient(pool);
    try {
      await client.#run("open", { dir, masters });
      return client;
    } catch (cause) {
      await pool.destroy();
      throw cause;
    }
  }

  /** @throws MillraceError when an item of the batch cannot be read */
  pack(task: PackTask): Promise<PackedBatch> {
    return this.#run("pack", task);
  }

  /** @throws MillraceError as a hub refuses it */
  inspect(task: InspectTask): Promise<Inspected> {
    return this.#run("inspect", task);
  }

  learnKeys(masters: MasterKeys): Promise<void> {
    return this.#run("learnKeys", masters);
  }

  backlog(sink: string): Promise<SyncBacklog> {
    return this.#run("backlog", sink);
  }

  audit(sink: string, range: AuditRange): Promise<EdgeAudit> {
    return this.#run("audit", { ...range, sink });
  }

  /** Batches that sinks will not have, the first so many. */
  parked(limit: number): Promise<readonly ParkedBatch[]> {
    return this.#run("parked", limit);
  }

  async close(): Promise<void> {
    await this.#pool.run(null, { name: "close" });
    await this.#pool.destroy();
  }

  async #run<T>(name: string, task: unknown): Promise<T> {
    const answer = (await this.#pool.run(task, { name })) as Answer<T>;
    if ("failure" in answer) throw new MillraceError(answer.failure.code, answer.failure.message);
    return answer.value;
  }
}
