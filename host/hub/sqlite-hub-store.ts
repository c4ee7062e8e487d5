import { Piscina } from "piscina";
import { MillraceError } from "../../workers/errors.ts";
import type { HubAuditSlice, HubAuditTask, HubSum } from "../../workers/hub/audit.ts";
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
import type { ReceivedBatch } from "../../workers/hub/read-batch.ts";
import type { HubRecord, RecordWrite } from "../../workers/hub/records.ts";
import type { RetentionRules } from "../../workers/hub/retention.ts";
import type { EdgeDetail, EdgeSummary } from "../../workers/hub/tasks.ts";
import type { Tended } from "../../workers/hub/upkeep.ts";
import type { ReceiveTask } from "../../workers/hub.ts";
import type { StoreFailure } from "../../workers/store/failure.ts";
import type { Page } from "../api/reads.ts";
import { IN_EVENT_LOOP, workerFile } from "../pipeline/worker-file.ts";
import { addSums } from "./add-sums.ts";
import type { HubAudit, HubStore } from "./hub-store.ts";
import type { RecordStore } from "./record-store.ts";

type Answer<T> = { readonly value: T } | StoreFailure;
type Limits = Omit<ReceiveTask, "batches"> & { readonly attributes?: HubAttributeLimits };

/** Bytes of batches in one transaction, beyond the first. */
const MAX_GROUP_BYTES = 16 * 1024 * 1024;

interface Waiting {
  readonly batch: ReceivedBatch;
  readonly settle: (received: Received) => void;
  readonly fail: (cause: unknown) => void;
}

/**
 * A hub's store in SQLite: a thread that writes and one that reads. Batches that come while others are written share the next
 * transaction and its fsync.
 */
export class SqliteHubStore implements HubStore, RecordStore {
  readonly #writes: Piscina;
  readonly #reads: Piscina;
  readonly #limits: Limits;
  #waiting: Waiting[] = [];
  #isWriting = false;
  /** Audits and upkeep take turns. */
  #turn: Promise<void> = Promise.resolve();

  private constructor(writes: Piscina, reads: Piscina, limits: Limits) {
    this.#writes = writes;
    this.#reads = reads;
    this.#limits = limits;
  }

  /** @throws MillraceError E_DATA_DIR_LOCKED, E_DATA_DIR_ACCESS, E_STORE_NEWER, E_STORE_UNREADABLE */
  static async open(dir: string, limits: Limits): Promise<SqliteHubStore> {
    const [writes, reads] = [makePool(), makePool()];
    try {
      await run(writes, "openWriter", { dir, attributes: limits.attributes ?? DEFAULT_ATTRIBUTE_LIMITS });
      await run(reads, "openReader", dir);
      return new SqliteHubStore(writes, reads, limits);
    } catch (cause) {
      await Promise.all([writes.destroy(), reads.destroy()]);
      throw cause;
    }
  }

  receive(batch: ReceivedBatch): Promise<Received> {
    return new Promise((settle, fail) => {
      this.#waiting.push({ batch, settle, fail });
      if (!this.#isWriting) void this.#write();
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

  /** Slice by slice, so that other reads come in between; no block goes or is merged meanwhile. */
  audit(range: Omit<HubAuditTask, "afterId">): Promise<HubAudit> {
    return this.#alone(() => this.#audit(range));
  }

  /** A portion of upkeep; not while an audit goes through the blocks. */
  tend(rules: RetentionRules): Promise<Tended> {
    return this.#alone(() => run(this.#writes, "tend", rules));
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  async #audit(range: Omit<HubAuditTask, "afterId">): Promise<HubAudit> {
    let sums: readonly HubSum[] = [];
    let unreadable = 0;
    for (let afterId: number | null = 0; afterId !== null; ) {
      const slice: HubAuditSlice = await run(this.#reads, "audit", { ...range, afterId });
      sums = addSums(sums, slice.sums);
      unreadable += slice.unreadable;
      afterId = slice.next;
    }
    return { sums, unreadable };
  }

  devices(task: Parameters<HubStore["devices"]>[0]): Promise<Page> {
    return run(this.#reads, "devices", task);
  }

  parked(task: Parameters<HubStore["parked"]>[0]): Promise<Page> {
    return run(this.#reads, "parked", task);
  }

  park(batch: ParkedBatch, limits: ParkedLimits): Promise<boolean> {
    return run(this.#writes, "park", { batch, limits });
  }

  parkedTotals(): Promise<ParkedTotals> {
    return run(this.#writes, "parkedTotals", null);
  }

  nextParked(task: NextParkedTask): Promise<NextParked | null> {
    return run(this.#writes, "nextParked", task);
  }

  async settleParked(id: number, refusal: SettleParkedTask["refusal"]): Promise<void> {
    await run(this.#writes, "settleParked", { id, refusal });
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
    return run(this.#writes, "readRecord", { kind, name });
  }

  listRecords(kind: string): Promise<readonly HubRecord[]> {
    return run(this.#writes, "listRecords", kind);
  }

  writeRecords(writes: readonly RecordWrite[]): Promise<boolean> {
    return run(this.#writes, "writeRecords", writes);
  }

  /** Its file was opened and is locked: nothing else is in the way. */
  isReady(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async close(): Promise<void> {
    for (const pool of [this.#reads, this.#writes]) {
      await pool.run(null, { name: "close" });
      await pool.destroy();
    }
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      const batches = group.map(({ batch }) => batch);
      try {
        const task: ReceiveTask = { batches, ...this.#limits };
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
    }
    this.#isWriting = false;
  }

  #takeGroup(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { batch } of this.#waiting) {
      bytes += batch.body.byteLength;
      if (count > 0 && bytes > MAX_GROUP_BYTES) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }
}

function makePool(): Piscina {
  return new Piscina({
    filename: workerFile("hub"),
    minThreads: 1,
    maxThreads: 1,
    stricterFIFO: true,
    idleTimeout: Number.POSITIVE_INFINITY,
    recordTiming: false,
    ...IN_EVENT_LOOP,
  });
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
  const answer = (await pool.run(task, { name, transferList })) as Answer<T>;
  if ("failure" in answer) throw new MillraceError(answer.failure.code, answer.failure.message);
  return answer.value;
}
