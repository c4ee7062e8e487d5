import type { CommitOperation, ResultRow, StoredBlock } from "../../workers/messages.ts";
import { Store } from "../../workers/store/store.ts";
import type { StoreLimits } from "../../workers/store/writer.ts";
import { type Cleanup, makeTempDir } from "./temp-dir.ts";

export const NOW_US = Date.UTC(2026, 0, 1) * 1000;

export function makeBlock(parts: Partial<StoredBlock> = {}): StoredBlock {
  const data = parts.data ?? Uint8Array.from([1, 2, 3]);
  return {
    data,
    codec: "zstd",
    encodedBytes: data.length * 2,
    count: 10,
    minUs: NOW_US,
    maxUs: NOW_US + 999,
    schema: [{ name: "temp", type: "int" }],
    ...parts,
  };
}

type BlockOperation = CommitOperation & { readonly kind: "block" };

export function makeBlockOperation(parts: Partial<BlockOperation> = {}): BlockOperation {
  const block = parts.block === undefined ? makeBlock() : parts.block;
  return {
    kind: "block",
    stream: "machines",
    arrivalUs: NOW_US,
    block,
    idempotencyKey: null,
    accepted: block?.count ?? 0,
    deadLetters: [],
    unkeptDeadLetters: 0,
    skewed: null,
    ...parts,
  };
}

export function makeResult(parts: Partial<ResultRow> = {}): ResultRow {
  return {
    query: "temp_1m",
    startUs: NOW_US,
    endUs: NOW_US + 60_000_000,
    key: '{"device":"m1"}',
    values: '{"n":5}',
    revision: 0,
    kind: "on-time",
    ...parts,
  };
}

export function makeDeadLetter(line: number) {
  return { line, code: "E_TYPE", message: "temp: not a number", path: "temp", text: `{"temp":"é${line}"}` };
}

/** A store in a directory of its own, closed after the test. `reopen` closes it and opens it again. */
export class StoreFixture {
  readonly dir: string;
  readonly #limits: StoreLimits | undefined;
  store: Store;

  constructor(cleanup: Cleanup, limits?: StoreLimits) {
    this.dir = makeTempDir(cleanup);
    this.#limits = limits;
    this.store = Store.open(this.dir, limits);
    cleanup.after(() => this.store.close());
  }

  reopen(): Store {
    this.store.close();
    this.store = Store.open(this.dir, this.#limits);
    return this.store;
  }

  commit(...operations: readonly CommitOperation[]) {
    return this.store.writer.commit(operations, NOW_US);
  }
}
