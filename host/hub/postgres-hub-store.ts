import { Piscina } from "piscina";
import { MillraceError } from "../../workers/errors.ts";
import type { HubSum } from "../../workers/hub/audit.ts";
import type { Received } from "../../workers/hub/batch-writer.ts";
import { DEFAULT_ATTRIBUTE_LIMITS, type HubAttributeLimits } from "../../workers/hub/edge-news.ts";
import type {
  NextParked,
  NextParkedTask,
  ParkedBatch,
  ParkedLimits,
  ParkedTotals,
  SettleParkedTask,
} from "../../workers/hub/parked.ts";
import type { ReadLimits, ReceivedBatch } from "../../workers/hub/read-batch.ts";
import type { HubRecord, RecordWrite } from "../../workers/hub/records.ts";
import type { EdgeDetail, EdgeSummary } from "../../workers/hub/tasks.ts";
import type { KeepTask, PostgresWorkerData, ReceiveTask } from "../../workers/hub-postgres.ts";
import type { StoreFailure } from "../../workers/store/failure.ts";
import type { Page } from "../api/reads.ts";
import { workerFile } from "../pipeline/worker-file.ts";
import { addSums } from "./add-sums.ts";
import type { HubAudit, HubStore } from "./hub-store.ts";
import type { RecordStore } from "./record-store.ts";

type Answer<T> = { readonly value: T } | StoreFailure;

export interface PostgresStoreOptions extends ReadLimits {
  readonly url: string;
  readonly attributes?: HubAttributeLimits;
  /** Events older than this, µs, go, a day at a time; null: none do. */
  readonly retentionUs: number | null;
  /** Told of what is done again at the next round: making partitions ahead, dropping old ones. */
  readonly onFailure: (cause: unknown) => void;
}

/** Threads that write, each with a connection: decoding and the server's work overlap. */
const WRITERS = 2;
/** Connections that read, of one thread. */
const READERS = 8;
/** Bytes of batches in one transaction, beyond the first. */
const MAX_GROUP_BYTES = 16 * 1024 * 1024;
const KEEP_EVERY_MS = 3_600_000;
/** An edge settles a batch within its longest backoff of the answer; a week is far beyond. */
const BATCH_KEYS_KEPT_MS = 7 * 86_400_000;

interface Waiting {
  readonly batch: ReceivedBatch;
  readonly settle: (received: Received) => void;
  readonly fail: (cause: unknown) => void;
}

/**
 * A hub's store in PostgreSQL. Any number of hubs may share one database: this holds nothing that is not in it. Batches that
 * come while others are written share the next transaction; those of one edge are written one after the other.
 */
export class PostgresHubStore implements HubStore, RecordStore {
  readonly #writes: Piscina;
  readonly #reads: Piscina;
  readonly #options: PostgresStoreOptions;
  readonly #keeping: NodeJS.Timeout;
  readonly #busyEdges = new Set<string>();
  #waiting: Waiting[] = [];
  #writing = 0;

  private constructor(writes: Piscina, reads: Piscina, options: PostgresStoreOptions) {
    this.#writes = writes;
    this.#reads = reads;
    this.#options = options;
    this.#keeping = setInterval(() => void this.#keep(), KEEP_EVERY_MS).unref();
  }

  /** @throws MillraceError E_STORE_UNAVAILABLE, E_STORE_ACCESS, E_STORE_NEWER, E_STORE_VERSION, E_DATABASE_URL */
  static async open(options: PostgresStoreOptions): Promise<PostgresHubStore> {
    const { url } = options;
    const writes = makePool({ url, connections: 1 }, WRITERS, 1, options.onFailure);
    const reads = makePool({ url, connections: READERS }, 1, READERS, options.onFailure);
    try {
      await run(reads, "migrate", null);
      const store = new PostgresHubStore(writes, reads, options);
      await store.#keep();
      return store;
    } catch (cause) {
      await Promise.all([writes.destroy(), reads.destroy()]);
      throw cause;
    }
  }

  receive(batch: ReceivedBatch): Promise<Received> {
    return new Promise((settle, fail) => {
      this.#waiting.push({ batch, settle, fail });
      if (this.#writing < WRITERS) void this.#write();
    });
  }

  events(task: Parameters<HubStore["events"]>[0]): Promise<Page> {
    return run(this.#reads, "events", task);
  }

  results(task: Parameters<HubStore["results"]>[0]): Promise<Page> {
    return run(this.#reads, "results", task);
  }

  alerts(task: Parameters<HubStore["alerts"]>[0]): Promise<Page> {
    return run(this.#reads, "alerts", task);
  }

  losses(task: Parameters<HubStore["losses"]>[0]): Promise<Page> {
    return run(this.#reads, "losses", task);
  }

  devices(task: Parameters<HubStore["devices"]>[0]): Promise<Page> {
    return run(this.#reads, "devices", task);
  }

  async audit(range: Parameters<HubStore["audit"]>[0]): Promise<HubAudit> {
    const sums = await run<HubSum[]>(this.#reads, "audit", range);
    return { sums: addSums(sums, []), unreadable: 0 };
  }

  parked(task: Parameters<HubStore["parked"]>[0]): Promise<Page> {
    return run(this.#reads, "parked", task);
  }

  park(batch: ParkedBatch, limits: ParkedLimits): Promise<boolean> {
    return run(this.#writes, "park", { batch, limits });
  }

  parkedTotals(): Promise<ParkedTotals> {
    return run(this.#reads, "parkedTotals", null);
  }

  nextParked(task: NextParkedTask): Promise<NextParked | null> {
    return run(this.#reads, "nextParked", task);
  }

  async settleParked(id: number, refusal: SettleParkedTask["refusal"]): Promise<void> {
    await run(this.#reads, "settleParked", { id, refusal });
  }

  edges(): Promise<EdgeSummary[]> {
    return run(this.#reads, "edges", null);
  }

  edge(name: string): Promise<EdgeDetail | null> {
    return run(this.#reads, "edge", name);
  }

  knows(what: Parameters<HubStore["knows"]>[0]): Promise<boolean> {
    return run(this.#reads, "knows", what);
  }

  readRecord(kind: string, name: string): Promise<HubRecord | null> {
    return run(this.#reads, "readRecord", { kind, name });
  }

  listRecords(kind: string): Promise<readonly HubRecord[]> {
    return run(this.#reads, "listRecords", kind);
  }

  writeRecords(writes: readonly RecordWrite[]): Promise<boolean> {
    return run(this.#reads, "writeRecords", writes);
  }

  async isReady(): Promise<boolean> {
    try {
      return await this.knows({ stream: "" }).then(() => true);
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#keeping);
    await this.#reads.run(null, { name: "close" });
    await Promise.all([this.#reads.destroy(), this.#writes.destroy()]);
  }

  async #write(): Promise<void> {
    this.#writing++;
    for (let group = this.#takeGroup(); group.length > 0; group = this.#takeGroup()) {
      const batches = group.map(({ batch }) => batch);
      for (const { edge } of batches) this.#busyEdges.add(edge);
      try {
        const { limits, maxBlockBytes, attributes = DEFAULT_ATTRIBUTE_LIMITS } = this.#options;
        const task: ReceiveTask = { batches, limits, maxBlockBytes, attributes };
        const transferList = batches.map(({ body }) => body);
        const answers = await run<Answer<Received>[]>(this.#writes, "receive", task, transferList);
        group.forEach(({ settle, fail }, index) => {
          const answer = answers[index];
          if (answer !== undefined && "value" in answer) settle(answer.value);
          else fail(failureOf(answer));
        });
      } catch (cause) {
        for (const { fail } of group) fail(cause);
      }
      for (const { edge } of batches) this.#busyEdges.delete(edge);
    }
    this.#writing--;
  }

  /** Of edges that no other thread writes for now. */
  #takeGroup(): Waiting[] {
    const group: Waiting[] = [];
    const left: Waiting[] = [];
    let bytes = 0;
    for (const waiting of this.#waiting) {
      const size = waiting.batch.body.byteLength;
      const isTaken =
        !this.#busyEdges.has(waiting.batch.edge) && (group.length === 0 || bytes + size <= MAX_GROUP_BYTES);
      if (isTaken) bytes += size;
      (isTaken ? group : left).push(waiting);
    }
    this.#waiting = left;
    return group;
  }

  /** A failure passes: the next round does it, and what is needed at once is made when it is. */
  async #keep(): Promise<void> {
    const nowMs = Date.now();
    const { retentionUs } = this.#options;
    const task: KeepTask = {
      nowUs: nowMs * 1000,
      eventsBeforeUs: retentionUs === null ? null : nowMs * 1000 - retentionUs,
      batchesBeforeUs: (nowMs - BATCH_KEYS_KEPT_MS) * 1000,
    };
    await run(this.#reads, "keep", task).catch(this.#options.onFailure);
  }
}

function makePool(
  workerData: PostgresWorkerData,
  threads: number,
  concurrentTasksPerWorker: number,
  onFailure: (cause: unknown) => void,
): Piscina {
  const pool = new Piscina({
    filename: workerFile("hub-postgres"),
    workerData,
    minThreads: threads,
    maxThreads: threads,
    concurrentTasksPerWorker,
    idleTimeout: Number.POSITIVE_INFINITY,
    recordTiming: false,
  });
  // A thread that ended between two tasks: another has taken its place.
  pool.on("error", onFailure);
  return pool;
}

function failureOf(answer: StoreFailure | undefined): MillraceError {
  const { code, message } = answer?.failure ?? { code: "E_STORE", message: "the batch was not answered" };
  return new MillraceError(code, message);
}

async function run<T>(
  pool: Piscina,
  name: string,
  task: unknown,
  transferList: ArrayBuffer[] = [],
): Promise<T> {
  const answer = await answerOf<T>(pool, name, task, transferList);
  if ("failure" in answer) throw new MillraceError(answer.failure.code, answer.failure.message);
  return answer.value;
}

/** A thread that ended in the middle of the task stored nothing, and was replaced: the same may be asked again. */
async function answerOf<T>(
  pool: Piscina,
  name: string,
  task: unknown,
  transferList: ArrayBuffer[],
): Promise<Answer<T>> {
  try {
    return (await pool.run(task, { name, transferList })) as Answer<T>;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `the thread that talks to PostgreSQL ended (${why}) and was started anew; nothing was stored in part`;
    throw new MillraceError("E_STORE_UNAVAILABLE", message, { cause });
  }
}
