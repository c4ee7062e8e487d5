import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { valueSymbol } from "piscina";
import { parseConfig } from "../../host/config/load.ts";
import { queryPlan, resultStream, resultsSetup, streamPlan } from "../../host/config/plans.ts";
import { type Frame, FrameReader } from "../../workers/checkpoint-frames.ts";
import { ingest } from "../../workers/ingest.ts";
import type { ApplyEntry, QueryPlan, ResultRow, StreamSetup, WindowSetup } from "../../workers/messages.ts";
import { textOf } from "../../workers/packed-rows.ts";
import { unpackResults } from "../../workers/result-rows.ts";
import {
  adopt,
  apply,
  beginCheckpoint,
  beginRestore,
  configure,
  endRestore,
  nextPieces,
  resume,
} from "../../workers/window.ts";

const RUNS = 120;

const WINDOWS = ["{ tumbling: 10s }", "{ sliding: 20s, every: 10s }", "{ session: 3s }", "{ count: 3 }"];

interface Event {
  readonly device: string;
  readonly ts: number;
  readonly v: number;
}

const events: fc.Arbitrary<Event[]> = fc.array(
  fc.record({
    device: fc.constantFrom("a", "b", "c"),
    ts: fc.integer({ min: 0, max: 200_000 }),
    v: fc.integer({ min: -50, max: 50 }),
  }),
  { minLength: 1, maxLength: 25 },
);

/** A stream s, a query over it, and one over that query's results: per device, and of all. */
function configOf(window: string, latenessS: number): string {
  return `
streams: { s: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 5s, maxAhead: 36500d }, lateness: ${latenessS}s } }
queries:
  low: { from: s, window: ${window}, select: { n: count(), total: sum(v) } }
  mid: { from: low, where: n > 1 || total > 0, window: { tumbling: 1m }, select: { rows: count(), n: sum(n), most: max(total) } }
  top: { from: mid, by: [], window: { tumbling: 2m }, select: { n: sum(n) } }
`;
}

let serial = 0;

/** The window thread's code with the three queries of a configuration. */
class Chain {
  readonly #plans: Readonly<Record<"low" | "mid" | "top", QueryPlan>>;
  readonly #setup: StreamSetup;
  readonly #stream: string;
  #isSetUp = false;

  constructor(text: string) {
    const loaded = parseConfig(text, "test.yaml", {}, {});
    assert.ok(loaded.ok, JSON.stringify(loaded));
    const { streams, queries } = loaded.config;
    // The window thread's state is one for the process: every chain has streams and query numbers of its own.
    serial += 10;
    const stream = { ...streams.get("s")!, name: `s${serial}` };
    this.#stream = stream.name;
    const unique = (name: string): string => `${name}${serial}`;
    const [low, mid, top] = ["low", "mid", "top"].map((name) => ({
      ...queries.get(name)!,
      name: unique(name),
    }));
    const lowRows = resultStream(low!, stream);
    const midRows = resultStream(mid!, lowRows);
    this.#plans = {
      low: queryPlan(low!, stream, serial),
      mid: queryPlan(mid!, lowRows, serial + 1),
      top: queryPlan(top!, midRows, serial + 2),
    };
    const base = { boundUs: 5_000_000, idleUs: 60_000_000, per: "stream", maxSources: 10 } as const;
    const results = (config: typeof lowRows, above: QueryPlan, below: QueryPlan): WindowSetup => ({
      ...base,
      boundUs: 0,
      stream: config.name,
      key: config.key.fields,
      queries: [above],
      results: resultsSetup(below),
    });
    configure([
      { ...base, stream: stream.name, key: stream.key.fields, queries: [this.#plans.low] },
      results(lowRows, this.#plans.mid, this.#plans.low),
      results(midRows, this.#plans.top, this.#plans.mid),
    ]);
    this.#setup = { plan: streamPlan(stream), queries: [this.#plans.low], isPerSource: false, schema: [] };
  }

  name(query: "low" | "mid" | "top"): string {
    return this.#plans[query].name;
  }

  block(seq: number, batch: readonly Event[]): ApplyEntry {
    const body = new TextEncoder().encode(batch.map((event) => JSON.stringify(event)).join("\n"));
    const setup = this.#isSetUp ? null : this.#setup;
    this.#isSetUp = true;
    const bodies = [{ format: "ndjson", encoding: "identity", body }] as const;
    const task = { stream: this.#stream, setup, arrivalUs: 0, maxBodyBytes: 1 << 20, bodies };
    const { partials, maxEventUs, sources } = unwrap(ingest(task));
    return { kind: "block", seq, stream: this.#stream, arrivalUs: 0, partials, maxEventUs, sources };
  }

  end(seq: number): ApplyEntry {
    return { kind: "watermark", seq, stream: this.#stream, timeUs: "end" };
  }
}

/** What a worker's function answers on the other side. */
function unwrap<T extends object>(answer: T): T {
  return valueSymbol in answer ? (answer[valueSymbol] as T) : answer;
}

/** The rows of an entry, handed over in portions of so many of a query. */
function applied(entry: ApplyEntry, portion: number): ResultRow[] {
  const rows: ResultRow[] = [];
  const limit = { rows: portion, chars: Number.POSITIVE_INFINITY };
  for (let step = apply([copy(entry)], limit); ; step = resume()) {
    const given = step.rows.flatMap((packed) => unpackResults(textOf(packed)));
    const counted = step.fired.reduce((sum, fired) => sum + fired.rows, 0);
    assert.equal(given.length, counted);
    // What was gathered before, and one portion of a query.
    assert.ok(given.length < 2 * portion, `${given.length} rows`);
    rows.push(...given);
    if (!step.hasMore) return rows;
  }
}

/** Partials are given away when they are applied; a replay needs them again. */
const copy = (entry: ApplyEntry): ApplyEntry => structuredClone(entry);

function latest(rows: readonly ResultRow[]): ResultRow[] {
  const last = new Map<string, ResultRow>();
  for (const row of rows) last.set(`${row.startUs} ${row.endUs} ${row.key}`, row);
  return [...last.values()].filter((row) => !row.retracted);
}

const numbers = (row: ResultRow): Record<string, number> => JSON.parse(row.values) as Record<string, number>;
const timeOf = ({ startUs, endUs }: ResultRow): number => Math.max(startUs, endUs - 1);

/** One window after the other, plainly. */
function rollUp(
  rows: readonly ResultRow[],
  sizeUs: number,
  keyOf: (row: ResultRow) => string,
  values: (rows: readonly ResultRow[]) => object,
): string[] {
  const groups = Map.groupBy(rows, (row) => `${Math.floor(timeOf(row) / sizeUs) * sizeUs} ${keyOf(row)}`);
  return [...groups].map(([group, members]) => `${group} ${JSON.stringify(values(members))}`).sort();
}

const shown = (rows: readonly ResultRow[]): string[] =>
  rows.map((row) => `${row.startUs} ${row.key} ${row.values}`).sort();
const sum = (rows: readonly ResultRow[], name: string): number =>
  rows.reduce((total, row) => total + numbers(row)[name]!, 0);

function restOfCheckpoint(): Frame[] {
  const frames: Frame[] = [];
  for (;;) {
    const step = unwrap(nextPieces());
    frames.push(...step.frames);
    if (step.isDone) return frames;
  }
}

function restoreFrom(frames: readonly Frame[], seq: number): void {
  const reader = new FrameReader();
  const head = frames.map((frame) => reader.push(frame)).find((framed) => framed?.kind === "head");
  assert.deepEqual(beginRestore([head!.bytes]), []);
  adopt({ segment: 0, frames });
  endRestore(seq);
}

test("a query over a query's results has each final result once, through restores", () => {
  const runs = fc.record({
    window: fc.constantFrom(...WINDOWS),
    latenessS: fc.constantFrom(0, 10, 60),
    batches: fc.array(events, { minLength: 1, maxLength: 8 }),
    restoreAfter: fc.integer({ min: 0, max: 8 }),
    portion: fc.integer({ min: 1, max: 9 }),
  });
  fc.assert(
    fc.property(runs, ({ window, latenessS, batches, restoreAfter, portion }) => {
      const chain = new Chain(configOf(window, latenessS));
      const entries = batches.map((batch, index) => chain.block(index + 1, batch));
      entries.push(chain.end(entries.length + 1));
      const rows: ResultRow[] = [];
      const saved = { at: Math.min(restoreAfter, entries.length - 1), rows: 0, seq: 0 };
      entries.forEach((entry, index) => {
        if (index === saved.at)
          Object.assign(saved, { rows: rows.length, seq: beginCheckpoint("whole").seq });
        rows.push(...applied(entry, 10_000));
      });
      // As of when it began, though all entries have been applied since.
      const frames = restOfCheckpoint();
      const replayed = rows.slice(0, saved.rows);
      restoreFrom(frames, saved.seq);
      for (const entry of entries.slice(saved.at)) replayed.push(...applied(entry, portion));
      // In what order a window gives its keys is nobody's concern.
      assert.deepEqual(
        replayed.map((row) => JSON.stringify(row)).sort(),
        rows.map((row) => JSON.stringify(row)).sort(),
        "a replay repeats every row, whatever the portions",
      );

      const of = (name: "low" | "mid" | "top"): ResultRow[] =>
        rows.filter((row) => row.query === chain.name(name));
      // Windows of counts are never revised, and may be of the same instant.
      const all = window.includes("count") ? of("low") : latest(of("low"));
      const low = all.filter((row) => numbers(row).n! > 1 || numbers(row).total! > 0);
      const mid = of("mid");
      const top = of("top");
      assert.deepEqual(
        [...mid, ...top].filter((row) => row.revision > 0 || row.kind !== "on-time"),
        [],
      );
      assert.deepEqual(
        shown(mid),
        rollUp(
          low,
          60_000_000,
          (row) => row.key,
          (members) => ({
            rows: members.length,
            n: sum(members, "n"),
            most: Math.max(...members.map((row) => numbers(row).total!)),
          }),
        ),
      );
      assert.deepEqual(
        shown(top),
        rollUp(
          mid,
          120_000_000,
          () => "{}",
          (members) => ({ n: sum(members, "n") }),
        ),
      );
    }),
    { numRuns: RUNS },
  );
});
