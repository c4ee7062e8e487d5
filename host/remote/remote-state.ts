import { MillraceError } from "../../workers/errors.ts";
import type { ConfigOrigin, RemoteVersion } from "../pipeline/query-set.ts";
import type { StorageClient } from "../store/storage-client.ts";

/** What an edge tells its hub of a version. */
export interface RemoteReport extends RemoteVersion {
  readonly state: "trying" | "applied" | "refused" | "rolled-back";
  readonly reason: string | null;
  readonly atUs: number;
}

/** A version that is being put in force, or is watched since it is. */
export interface Trial {
  readonly version: RemoteVersion;
  /** What was in force before, and was good. */
  readonly before: ConfigOrigin;
  /** Starts of the node since, without an end in order. */
  readonly starts: number;
}

/** What a node must remember of its hub's configurations, over crashes. */
export interface RemoteState {
  readonly format: 1;
  /** By scope, the greatest version that was in force: no older one is taken, where signatures are asked for. */
  readonly floors: Readonly<Record<string, number>>;
  readonly trial: Trial | null;
  /** Versions that were refused or rolled back, the newest last: they are not tried again. */
  readonly failed: readonly RemoteReport[];
  /** What is to be told; null: nothing yet. */
  readonly report: RemoteReport | null;
  readonly isReported: boolean;
}

const KIND = "remote-config";
export const MAX_FAILED = 32;
/** A version with which the node ended so often, without an end in order, is at fault. */
export const MAX_STARTS = 3;

const EMPTY: RemoteState = {
  format: 1,
  floors: {},
  trial: null,
  failed: [],
  report: null,
  isReported: true,
};

type Storage = Pick<StorageClient, "readDocument" | "putDocument">;

/**
 * The state in the store. What is in force stands in the log, in the transaction of the change; this is written before and
 * after it, and says what to make of it.
 */
export class RemoteStateRecord {
  readonly #storage: Storage;
  #state: RemoteState;

  private constructor(storage: Storage, state: RemoteState) {
    this.#storage = storage;
    this.#state = state;
  }

  /** @throws MillraceError E_REMOTE_STATE when it cannot be read: what it guards would be lost unseen */
  static async open(storage: Storage): Promise<RemoteStateRecord> {
    const document = await storage.readDocument(KIND, "");
    const state = document === null ? EMPTY : (JSON.parse(document.body) as RemoteState);
    if (state.format === 1) return new RemoteStateRecord(storage, state);
    const message =
      "what is known of the hub's configurations was written by a later release; start that one";
    throw new MillraceError("E_REMOTE_STATE", message);
  }

  get current(): RemoteState {
    return this.#state;
  }

  /** Durable when it resolves. Some hundred bytes and what was in force before, a few times a change. */
  async update(change: Partial<Omit<RemoteState, "format">>): Promise<void> {
    const next = { ...this.#state, ...change };
    await this.#storage.putDocument({ kind: KIND, name: "", body: JSON.stringify(next) });
    this.#state = next;
  }
}
