import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type { MasterKeys } from "../../workers/seal/master-key.ts";
import type { PlainLeft } from "../../workers/store/plain-data.ts";
import type { EncryptionConfig } from "../config/encryption-schema.ts";
import type { QueryClient } from "../query/query-client.ts";
import type { StorageClient } from "../store/storage-client.ts";
import { loadKeys } from "./load-keys.ts";

/** Between two steps of sealing old data, so that commits have the storage thread to themselves most of the time. */
const STEP_PAUSE_MS = 20;
/** After a step that failed, for a full disk, say. */
const RETRY_MS = 10_000;

const REWRITE_LATER =
  "all rows are encrypted, but unused parts of the database may hold old copies: start the node again to have the file " +
  "rewritten, which takes its time and 2.2 times its size of free space";

export interface EncryptionStatus {
  /** Id of the master key in force. */
  readonly keyId: string;
  /** Blocks, late groups and dead letters that are still in the plain. */
  readonly plainRows: number;
  /** Nothing is in the plain, and neither is what was deleted before. */
  readonly isComplete: boolean;
}

/** The keys of a running node: changes them at a reload, and sees to it that old data is sealed. */
export class Encryption {
  #masters: MasterKeys | null;
  readonly #storage: StorageClient;
  readonly #log: Logger;
  readonly #readers: Pick<QueryClient, "learnKeys">[] = [];
  /** null: not known before the first step. */
  #left: PlainLeft | null = null;
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(masters: MasterKeys | null, storage: StorageClient, log: Logger) {
    this.#masters = masters;
    this.#storage = storage;
    this.#log = log;
  }

  /** As they are now; null when the data is not encrypted. */
  readonly masters = (): MasterKeys | null => this.#masters;

  status(): EncryptionStatus | null {
    if (this.#masters === null) return null;
    const left = this.#left;
    return {
      keyId: this.#masters.current.id,
      plainRows: typeof left === "number" ? left : 0,
      isComplete: left === 0,
    };
  }

  /** Readers hear of new keys before the storage thread uses them. */
  addReader(reader: Pick<QueryClient, "learnKeys">): void {
    this.#readers.push(reader);
  }

  /** Begins to seal what was stored before there was a key. */
  start(): void {
    if (this.#masters !== null) this.#schedule(0);
  }

  /**
   * Turns to the keys of a configuration that was read again; events go on meanwhile. Nothing has changed when it throws.
   * @throws MillraceError E_KEY…, E_ENCRYPTION_START when the node runs without encryption, or as the store
   */
  async change(config: EncryptionConfig | undefined): Promise<void> {
    const before = this.#masters;
    if (config === undefined) return;
    if (before === null) {
      throw new MillraceError(
        "E_ENCRYPTION_START",
        "encryption begins with a start of the node: it seals what is looked up before anything else; start it again",
      );
    }
    const next = await loadKeys(config);
    const isSame = next.current.id === before.current.id;
    // Until the storage thread has turned to the new key, readers need the one before.
    const both = { current: next.current, previous: [before.current, ...before.previous, ...next.previous] };
    for (const reader of this.#readers) await reader.learnKeys(both);
    this.#masters = both;
    if (isSame) return;
    try {
      await this.#storage.changeKeys(both);
    } catch (cause) {
      this.#masters = before;
      throw cause;
    }
    this.#log.info({ from: before.current.id, to: next.current.id }, "the encryption key was changed");
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#step();
    }, delayMs);
  }

  async #step(): Promise<void> {
    try {
      const before = this.#left;
      this.#left = await this.#storage.sealSome();
      if (this.#left === "rewrite") this.#log.warn(REWRITE_LATER);
      else if (this.#left > 0) this.#schedule(STEP_PAUSE_MS);
      else if (before !== null) this.#log.info("all that is stored is encrypted");
    } catch (cause) {
      this.#log.warn({ err: cause }, "old data was not sealed; tried again soon");
      this.#schedule(RETRY_MS);
    }
  }
}
