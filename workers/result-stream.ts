import type { BatchHandle } from "./core/codec.ts";
import type { CoreModule } from "./core/module.ts";
import { batchResults } from "./core/result-batch.ts";
import type { ResultRow, ResultsSetup } from "./messages.ts";
import { packResults, unpackResults } from "./result-rows.ts";

/** Rows that become events at once. */
const RELEASE_ROWS = 16_384;

interface BatchExports {
  batchTimes(batch: number): number;
  batchFlags(batch: number): number;
  batchDispose(batch: number): void;
}

const encoder = new TextEncoder();

/**
 * The results of one query as events of others. A row becomes an event once it is final: no revision of it can come any
 * more. So nothing that follows from it is ever taken back, and the outcome does not depend on the order of arrival.
 *
 * An event has the key's fields, the selected values (of lists and objects there is nothing), `window.start` and `window.end`
 * in µs; its time is the last µs of its window. Its values' types are its own, whatever rows are beside it.
 */
export class ResultStream {
  readonly #core: CoreModule;
  readonly #setup: ResultsSetup;
  /** Rows that may still change, by the end of their window and then by window and key. */
  readonly #open = new Map<number, Map<string, ResultRow>>();

  constructor(core: CoreModule, setup: ResultsSetup) {
    this.#core = core;
    this.#setup = setup;
  }

  /** Takes in what the query gave: a revision takes the place of the row before, a retraction takes it away. */
  take(rows: readonly ResultRow[]): void {
    for (const row of rows) {
      if (row.kind === "early") continue;
      const id = this.#setup.isRevised
        ? `${row.startUs} ${row.key}`
        : `${row.startUs} ${row.revision} ${row.key}`;
      const sameEnd = this.#open.get(row.endUs);
      if (row.retracted) sameEnd?.delete(id);
      else if (sameEnd === undefined) this.#open.set(row.endUs, new Map([[id, row]]));
      else sameEnd.set(id, row);
    }
  }

  /** Takes away rows that stand but will be retracted, so that they are not final whatever their end. */
  withdraw(windows: readonly Pick<ResultRow, "startUs" | "endUs" | "key">[]): void {
    for (const { startUs, endUs, key } of windows) this.#open.get(endUs)?.delete(`${startUs} ${key}`);
  }

  /**
   * The rows whose windows ended by that time, as batches of events in the order of these ends. They are forgotten. A batch
   * is there until the next is asked for.
   */
  *release(endUs: bigint): Generator<BatchHandle> {
    let rows: ResultRow[] = [];
    const ends = [...this.#open.keys()].filter((end) => BigInt(end) <= endUs);
    for (const end of ends.sort((a, b) => a - b)) {
      for (const row of this.#open.get(end)?.values() ?? []) {
        if (rows.push(row) < RELEASE_ROWS) continue;
        yield* this.#batchesOf(rows);
        rows = [];
      }
      this.#open.delete(end);
    }
    if (rows.length > 0) yield* this.#batchesOf(rows);
  }

  *#batchesOf(rows: readonly ResultRow[]): Generator<BatchHandle> {
    const exports = this.#core.exports as unknown as BatchExports;
    for (const { batch, indexes } of batchResults(this.#core, rows, this.#setup.names)) {
      const { buffer } = this.#core.memory;
      const times = new BigInt64Array(buffer, exports.batchTimes(batch) >>> 0, indexes.length);
      indexes.forEach((index, at) => {
        times[at] = BigInt(timeOf(rows[index]!));
      });
      new Uint8Array(buffer, exports.batchFlags(batch) >>> 0, indexes.length).fill(0);
      yield batch;
      exports.batchDispose(batch);
    }
  }

  /** End of the last window that has a row waiting, in µs, or null. */
  lastEndUs(): number | null {
    const ends = [...this.#open].flatMap(([end, rows]) => (rows.size > 0 ? [end] : []));
    return ends.length === 0 ? null : Math.max(...ends);
  }

  /** The rows that wait, in the order of their windows: equal states give equal bytes. */
  snapshot(): Uint8Array {
    const rows = [...this.#open.values()].flatMap((sameEnd) => [...sameEnd.values()]);
    rows.sort(
      (a, b) =>
        a.endUs - b.endUs || a.startUs - b.startUs || compare(a.key, b.key) || a.revision - b.revision,
    );
    return encoder.encode(packResults(rows));
  }

  restore(snapshot: Uint8Array): void {
    this.#open.clear();
    this.take(unpackResults(new TextDecoder().decode(snapshot)));
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Windows of counts end with their last event, others before their end. */
function timeOf({ startUs, endUs }: ResultRow): number {
  return Math.max(startUs, endUs - 1);
}
