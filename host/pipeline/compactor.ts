import type { Logger } from "pino";
import type { StoredBlock } from "../../workers/messages.ts";
import { release } from "../../workers/move.ts";
import type { StorageClient } from "../store/storage-client.ts";
import type { Engine } from "./engine.ts";
import { setAsideDamaged } from "./set-aside.ts";

/** How often small blocks are looked for. */
const INTERVAL_MS = 10_000;
/** Of these, merging may take so long, so that it never competes with a full load for more than a tenth of a core. */
const ROUND_MS = 1_000;
/** Blocks are merged until they hold about so many stored bytes: large enough to compress, small enough to read. */
const TARGET_BYTES = 128 * 1024;

/**
 * Merges small blocks in the background. Only blocks up to the last checkpoint are touched: those after it
 * are the replay log, and revisions count block by block.
 */
export class Compactor {
  readonly #storage: StorageClient;
  readonly #engine: Engine;
  readonly #log: Logger;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(storage: StorageClient, engine: Engine, log: Logger) {
    this.#storage = storage;
    this.#engine = engine;
    this.#log = log;
    this.#timer = setInterval(() => {
      this.#running = this.#running.then(() => this.run());
    }, INTERVAL_MS);
  }

  /** Merges until nothing small is left, or the round has had its time. */
  async run(): Promise<void> {
    const endMs = performance.now() + ROUND_MS;
    while (!this.#isClosed && performance.now() < endMs && (await this.#mergeSome()));
  }

  /** A group that cannot be merged is left as it is, and the others go on. @returns whether there was anything to do. */
  async #mergeSome(): Promise<boolean> {
    const { checkpointSeq: upToSeq, backfills } = this.#engine.status();
    if (backfills > 0) return false;
    const groups = await this.#attempt(() => this.#storage.listSmall({ upToSeq, targetBytes: TARGET_BYTES }));
    let hasMerged = false;
    for (const { stream, seqs, blocks } of groups ?? []) {
      if (this.#isClosed) return false;
      const isDone = await this.#attempt(async () => {
        const into = await this.#merge(stream, seqs, blocks);
        if (into === null) return true;
        // A backfill that began meanwhile goes through blocks by their place in time, which a merged one would not have.
        const isSwapped =
          this.#engine.status().backfills === 0 && (await this.#storage.swap({ removeSeqs: seqs, into }));
        release(into.data.buffer);
        return isSwapped;
      });
      hasMerged ||= isDone === true;
    }
    return hasMerged;
  }

  /** null when damaged blocks among them were set aside: the others are merged next time. */
  async #merge(
    stream: string,
    seqs: readonly number[],
    blocks: readonly StoredBlock[],
  ): Promise<StoredBlock | null> {
    try {
      return await this.#engine.mergeBlocks(stream, blocks);
    } catch (cause) {
      if ((await setAsideDamaged(this.#storage, this.#log, "log", seqs)).length === 0) throw cause;
      return null;
    }
  }

  async #attempt<T>(step: () => Promise<T>): Promise<T | null> {
    try {
      return await step();
    } catch (cause) {
      this.#log.warn({ err: cause }, "small blocks were not compacted; tried again later");
      return null;
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#running;
  }
}
