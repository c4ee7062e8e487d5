import { Piscina } from "piscina";
import type { PackForm } from "../../../workers/sync.ts";
import { sinkFile } from "../../pipeline/worker-file.ts";
import { unreachable } from "../failure-text.ts";
import type { Delivery, OutgoingBatch, Sink } from "../sink.ts";
import { inTime } from "./in-time.ts";
import type { SinkParts } from "./sink-parts.ts";
import type { Delivered } from "./sink-thread.ts";

/** A thread with nothing to do for so long ends, and its connections with it. */
const IDLE_MS = 120_000;
/** The thread itself gives an attempt up after `timeout`; one that does not is stuck. */
const GRACE_MS = 5_000;
const MOST_AT_ONCE = 64;

/**
 * A sink on a thread of its own. Clients of servers fail where nobody can catch it when a line is cut at the wrong moment:
 * then the thread ends, its attempts have failed, and the next one starts another. The node goes on.
 */
export class ThreadedSink implements Sink {
  readonly name: string;
  readonly form: PackForm;
  readonly #parts: SinkParts;
  #pool: Piscina | null = null;
  #largestBytes: number | null = null;

  constructor(parts: SinkParts, form: PackForm) {
    this.name = parts.name;
    this.form = form;
    this.#parts = parts;
  }

  largestBytes(): number | null {
    return this.#largestBytes;
  }

  async deliver(batch: OutgoingBatch, signal: AbortSignal): Promise<Delivery> {
    const { key, items, rows, body, tables, incarnation, claimed } = batch;
    const sent = { key, items, rows, body, tables, incarnation, claimed };
    const pool = this.#open();
    try {
      const run = pool.run({ parts: this.#parts, batch: sent }, { name: "deliver" }) as Promise<Delivered>;
      const { delivery, largestBytes } = await inTime(run, this.#parts.timeoutMs + GRACE_MS, signal);
      this.#largestBytes = largestBytes;
      return delivery;
    } catch (cause) {
      await this.#drop(pool);
      return unreachable(cause);
    }
  }

  async probe(signal: AbortSignal): Promise<boolean> {
    const pool = this.#open();
    try {
      const run = pool.run(this.#parts, { name: "probe" }) as Promise<boolean>;
      return await inTime(run, this.#parts.timeoutMs + GRACE_MS, signal);
    } catch {
      await this.#drop(pool);
      return false;
    }
  }

  async close(): Promise<void> {
    if (this.#pool !== null) await this.#drop(this.#pool);
  }

  #open(): Piscina {
    if (this.#pool !== null) return this.#pool;
    const pool = new Piscina({
      filename: sinkFile(),
      minThreads: 0,
      maxThreads: 1,
      concurrentTasksPerWorker: MOST_AT_ONCE,
      idleTimeout: IDLE_MS,
      recordTiming: false,
    });
    // It failed between two attempts: the next finds another thread.
    pool.on("error", () => void this.#drop(pool));
    this.#pool = pool;
    return pool;
  }

  /** Attempts under way on it fail, and are made again. */
  async #drop(pool: Piscina): Promise<void> {
    if (this.#pool === pool) this.#pool = null;
    await pool.destroy();
  }
}
