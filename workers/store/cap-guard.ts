import type { Connection } from "./database.ts";
import type { Space } from "./space.ts";

/**
 * Pages that a transaction under guard keeps in memory at most: SQLite writes the others into the log as it goes, where they
 * are seen before the transaction ends. A change of a tree holds some ten at once.
 */
const CACHED_PAGES = 24;
/** Pages that a change holds are not counted by SQLite's limit. */
const HELD_PAGES = 8;

/** Thrown within a transaction, for it to be rolled back: the files could pass the cap by so many bytes. */
export class BeyondCap extends Error {
  override readonly name = "BeyondCap";
  readonly missingBytes: number;

  constructor(missingBytes: number) {
    super(`${missingBytes} bytes beyond the cap`);
    this.missingBytes = missingBytes;
  }
}

/** Of tables and indexes that one step may touch beside its data: an operation, or some rows of one; and of these, new ones. */
const STEP_PAGES = 40;
const SPLIT_PAGES = 8;

/**
 * Asked before each step of a transaction with the bytes that it adds to the data, and before the transaction ends with "end".
 * @throws BeyondCap
 */
export type StepCheck = (step: number | "end") => void;

/**
 * Has transactions end within the cap, whatever they write. What one will write is not known beforehand: a row of a few
 * bytes may touch a page of every index. Under guard nearly all that it writes stands in the log before it ends, which
 * tells how long the log will be; how large the database will be, SQLite knows.
 */
export class CapGuard {
  readonly #db: Connection;
  readonly #space: Space;
  /** As `PRAGMA cache_size` has it. */
  readonly #usualCache: number;

  constructor(db: Connection, space: Space) {
    this.#db = db;
    this.#space = space;
    this.#usualCache = db.pragma("cache_size", { simple: true }) as number;
  }

  /** Cost: some 50 µs, and reading again what falls out of the smaller cache. @throws BeyondCap, or what `run` throws */
  run<T>(run: (check: StepCheck) => T): T {
    this.#db.exec(`PRAGMA cache_size = ${CACHED_PAGES}`);
    try {
      return run((step) => this.#check(step));
    } finally {
      this.#db.exec(`PRAGMA cache_size = ${this.#usualCache}`);
    }
  }

  #check(step: number | "end"): void {
    const pages =
      step === "end"
        ? { written: 0, taken: 0 }
        : { written: this.#space.pagesOf(step) + STEP_PAGES, taken: this.#space.pagesOf(step) + SPLIT_PAGES };
    const missing = this.#space.excessNow(pages, CACHED_PAGES + HELD_PAGES);
    if (missing > 0) throw new BeyondCap(missing);
  }
}
