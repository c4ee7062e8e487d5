import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { MillraceError } from "../../workers/errors.ts";
import type { ConfigOrigin, RemoteVersion } from "../pipeline/query-set.ts";

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

const FILE = "remote-config.json";
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

/**
 * The state in a file of the data directory, replaced as a whole. What is in force stands in the store, in the transaction
 * of the change; this is written before and after it, and says what to make of it.
 */
export class RemoteStateFile {
  readonly #file: string;
  #state: RemoteState;

  /** @throws MillraceError E_REMOTE_STATE when the file cannot be read: what it guards would be lost unseen */
  constructor(dataDir: string) {
    this.#file = join(dataDir, FILE);
    this.#state = readState(this.#file);
  }

  get current(): RemoteState {
    return this.#state;
  }

  /** Durable when it returns. Some hundred bytes, a few times a change. */
  update(change: Partial<Omit<RemoteState, "format">>): void {
    const next = { ...this.#state, ...change };
    const temporary = `${this.#file}.new`;
    // A configuration may hold what not everybody on the machine is to see.
    const file = openSync(temporary, "w", 0o600);
    try {
      writeSync(file, JSON.stringify(next));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, this.#file);
    syncFolder(this.#file);
    this.#state = next;
  }
}

function readState(file: string): RemoteState {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return EMPTY;
    throw unreadable(file, cause);
  }
  try {
    const state = JSON.parse(text) as RemoteState;
    if (state.format === 1) return { ...EMPTY, ...state };
  } catch (cause) {
    throw unreadable(file, cause);
  }
  throw unreadable(file, null);
}

function unreadable(file: string, cause: unknown): MillraceError {
  const message =
    `${file} cannot be read, so it is not known which versions of the hub's configuration were refused;` +
    " put it back, or remove it to begin anew";
  return new MillraceError("E_REMOTE_STATE", message, { cause });
}

function syncFolder(file: string): void {
  const folder = openSync(join(file, ".."), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
