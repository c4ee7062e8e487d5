import type { BatchHandle } from "./core/codec.ts";
import type { CoreModule } from "./core/module.ts";
import { createParser, type Parser } from "./core/parse.ts";
import type { ResultRow, ResultsSetup } from "./messages.ts";
import { packResults, unpackResults } from "./result-rows.ts";

/** Rows that become events at once. */
const RELEASE_ROWS = 16_384;
/** Events of results have no arrival: every time is within any limit. */
const NO_ARRIVAL_US = 0;

const encoder = new TextEncoder();

/**
 * The results of one query as events of others. A row becomes an event once it is final: no revision of it can come any
 * more. So nothing that follows from it is ever taken back, and the outcome does not depend on the order of arrival.
 *
 * An event has the key's fields, the selected values, and `window.start`, `window.end` and `window.time` in µs; its time is
 * the last µs of its window.
 */
export class ResultStream {
  readonly #parser: Parser;
  /** Rows that may still change, by the end of their window and then by window and key. */
  readonly #open = new Map<number, Map<string, ResultRow>>();

  readonly #isRevised: boolean;

  constructor(core: CoreModule, { plan, isRevised }: ResultsSetup) {
    this.#parser = createParser(core, plan);
    this.#isRevised = isRevised;
  }

  /** Takes in what the query gave: a revision takes the place of the row before, a retraction takes it away. */
  take(rows: readonly ResultRow[]): void {
    for (const row of rows) {
      if (row.kind === "early") continue;
      const id = this.#isRevised ? `${row.startUs} ${row.key}` : `${row.startUs} ${row.revision} ${row.key}`;
      const sameEnd = this.#open.get(row.endUs);
      if (row.retracted) sameEnd?.delete(id);
      else if (sameEnd === undefined) this.#open.set(row.endUs, new Map([[id, row]]));
      else sameEnd.set(id, row);
    }
  }

  /**
   * The rows whose windows ended by that time, as batches of events in the order of these ends. They are forgotten. A batch
   * is there until the next is asked for.
   */
  *release(endUs: bigint): Generator<BatchHandle> {
    let lines: string[] = [];
    const ends = [...this.#open.keys()].filter((end) => BigInt(end) <= endUs);
    for (const end of ends.sort((a, b) => a - b)) {
      for (const row of this.#open.get(end)?.values() ?? []) {
        lines.push(eventOf(row));
        if (lines.length < RELEASE_ROWS) continue;
        yield this.#batchOf(lines);
        lines = [];
      }
      this.#open.delete(end);
    }
    if (lines.length > 0) yield this.#batchOf(lines);
  }

  #batchOf(lines: readonly string[]): BatchHandle {
    this.#parser.begin(NO_ARRIVAL_US);
    this.#parser.parse("ndjson", encoder.encode(lines.join("\n")));
    return this.#parser.finish();
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

/** Windows of counts and of single events end with their last event, others before their end. */
function eventOf({ startUs, endUs, key, values }: ResultRow): string {
  const timeUs = Math.max(startUs, endUs - 1);
  const members = [key, values].map((object) => object.slice(1, -1)).filter((text) => text !== "");
  const window = `"window":{"start":${startUs},"end":${endUs},"time":${timeUs}}`;
  return `{${[...members, window].join(",")}}`;
}
