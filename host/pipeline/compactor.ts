import type { Logger } from "pino";
import type { QueryClient } from "../query/query-client.ts";
import type { StorageClient } from "../store/storage-client.ts";
import type { Engine } from "./engine.ts";

/** How often small blocks are looked for. */
const INTERVAL_MS = 10_000;
/** Blocks are merged until they hold about so many stored bytes: large enough to compress, small enough to read. */
const TARGET_BYTES = 256 * 1024;

/**
 * Merges small blocks in the background. Only blocks up to the last checkpoint are touched: those after it
 * are the replay log, and revisions count block by block.
 */
export class Compactor {
  readonly #storage: StorageClient;
  readonly #reads: QueryClient;
  readonly #engine: Engine;
  readonly #log: Logger;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(storage: StorageClient, reads: QueryClient, engine: Engine, log: Logger) {
    this.#storage = storage;
    this.#reads = reads;
    this.#engine = engine;
    this.#log = log;
    this.#timer = setInterval(() => {
      this.#running = this.#running.then(() => this.run());
    }, INTERVAL_MS);
  }

  /** One round. A group that cannot be merged is left as it is. */
  async run(): Promise<void> {
    try {
      const upToSeq = this.#engine.status().checkpointSeq;
      for (const group of await this.#storage.listSmall({ upToSeq, targetBytes: TARGET_BYTES })) {
        if (this.#isClosed) return;
        const merged = await this.#reads.merge(group.blocks, group.stream);
        await this.#storage.swap({ removeSeqs: group.seqs, into: merged });
      }
    } catch (cause) {
      this.#log.warn({ err: cause }, "small blocks were not compacted; tried again later");
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#running;
  }
}
