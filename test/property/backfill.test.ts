import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { valueSymbol } from "piscina";
import { automaticStream, streamPlan } from "../../host/config/plans.ts";
import type { BackfillStep } from "../../workers/backfill/step.ts";
import type { BackfillOutcome } from "../../workers/backfill/task.ts";
import { begin, byLog, byTime, finish } from "../../workers/backfill.ts";
import { decodeBlock, newBatch } from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import { ingest } from "../../workers/ingest.ts";
import type { IngestResult, QueryPlan, ResultRow, StoredBlock } from "../../workers/messages.ts";
import { BlockDecoder } from "../../workers/query/block-decoder.ts";
import { unpackResults } from "../../workers/result-rows.ts";
import { Store } from "../../workers/store/store.ts";
import { portableCodec } from "../../workers/zstd.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const RUNS = 100;
const SECOND_US = 1_000_000;
const MINUTE_US = 60 * SECOND_US;
const STREAM = "s";
const BEFORE_ALL = -(2n ** 63n);
const zstd = await portableCodec();
const decoder = new BlockDecoder(zstd);
const core = instantiateCore();

interface Event {
  readonly device: string;
  readonly second: number;
  readonly v: number;
}

const events = fc.array(
  fc.record({
    device: fc.constantFrom("a", "b", "c"),
    second: fc.integer({ min: -50, max: 150 }),
    v: fc.integer({ min: -1_000, max: 1_000 }),
  }),
  { minLength: 1, maxLength: 60 },
);
const windows: fc.Arbitrary<QueryPlan["window"]> = fc.constantFrom(
  { kind: "tumbling", sizeUs: 10 * SECOND_US, offsetUs: 0 },
  { kind: "sliding", sizeUs: 30 * SECOND_US, everyUs: 10 * SECOND_US, offsetUs: 0 },
  { kind: "calendar", timezone: "UTC", unit: "time", size: MINUTE_US, every: MINUTE_US, offsetUs: 0 },
  { kind: "session", gapUs: 7 * SECOND_US },
  { kind: "count", size: 3 },
  { kind: "none" },
);
const keyClocks: fc.Arbitrary<QueryPlan["keyClock"]> = fc.constantFrom(
  undefined,
  { boundUs: 0, maxIdleKeys: 100 },
  { boundUs: 15 * SECOND_US, maxIdleKeys: 100 },
);

/** Events as the blocks that they would be stored in, cut at random. */
function blocksOf(list: readonly Event[], cuts: readonly number[]): StoredBlock[] {
  const blocks: StoredBlock[] = [];
  for (let from = 0, cut = 0; from < list.length; cut++) {
    const part = list.slice(from, from + cuts[cut % cuts.length]!);
    from += part.length;
    const lines = part.map(({ device, second, v }) => JSON.stringify({ device, ts: second * SECOND_US, v }));
    const bytes = new TextEncoder().encode(lines.join("\n"));
    const plan = {
      ...streamPlan(automaticStream(STREAM)),
      time: { fields: ["ts"], isDeclared: true, unit: "us" as const },
    };
    const task = {
      stream: STREAM,
      setup: { plan, queries: [], isPerSource: false, schema: [] },
      arrivalUs: 1_000 * SECOND_US,
      maxBodyBytes: 1e6,
      bodies: [{ format: "ndjson" as const, encoding: "identity" as const, body: bytes }],
    };
    const answer = ingest(task) as unknown as Record<symbol, IngestResult>;
    blocks.push(answer[valueSymbol]!.block!);
  }
  return blocks;
}

/** Stores the blocks, reads them as a backfill does, then closes all windows. */
function backfill(
  dir: string,
  plan: QueryPlan,
  before: readonly StoredBlock[],
  behind: readonly StoredBlock[],
  fromUs: number | null,
  watermarkUs: number | null,
): { readonly rows: Row[]; readonly state: Uint8Array } {
  const store = Store.open(dir);
  const commit = (block: StoredBlock): void => {
    const own = { ...block, data: new Uint8Array(block.data) };
    const rest = {
      idempotencyKey: null,
      accepted: block.count,
      deadLetters: [],
      unkeptDeadLetters: 0,
      skewed: null,
    };
    store.writer.commit([{ kind: "block", stream: STREAM, arrivalUs: 0, block: own, ...rest }], 0);
  };
  for (const block of before) commit(block);
  // The entry that brings the query.
  store.writer.commit([{ kind: "config", body: "{}" }], 0);
  const untilSeq = store.writer.lastSeq;
  for (const block of behind) commit(block);
  const rows: ResultRow[] = [];
  const run = (step: () => BackfillStep): void => {
    for (;;) {
      const { rows: text, unreadable, isDone } = step();
      rows.push(...unpackResults(text));
      assert.equal(unreadable, 0);
      if (isDone) return;
    }
  };
  begin({ dir, plan, tables: [], fromUs, untilSeq, watermarkUs, below: null });
  run(() => byTime(null));
  run(() => byLog(store.writer.lastSeq + 1));
  const { state } = (finish() as unknown as Record<symbol, BackfillOutcome>)[valueSymbol]!;
  store.close();
  const live = createWindows(core, plan);
  live.restore(state);
  rows.push(
    ...live.fire(10_000n * BigInt(SECOND_US)).filter(({ startUs }) => fromUs === null || startUs >= fromUs),
  );
  live.dispose();
  return {
    rows: rows.map(({ startUs, endUs, key, values }) => [`${startUs} ${endUs} ${key}`, values]),
    state,
  };
}

/** A window of a key, and its values. */
type Row = readonly [string, string];

/** The state that live windows have with the events in the order of time, one by one. */
function liveState(plan: QueryPlan, list: readonly Event[]): Uint8Array {
  const local = createLocal(core, plan);
  const windows = createWindows(core, plan);
  for (const block of blocksOf(
    list.toSorted((a, b) => a.second - b.second),
    [1],
  )) {
    const batch = newBatch(core);
    decodeBlock(
      core,
      block.codec === "zstd" ? zstd.decompress(block.data, block.encodedBytes) : block.data,
      batch,
    );
    windows.merge(local.aggregate(batch), BEFORE_ALL);
    windows.fire(BEFORE_ALL);
  }
  return windows.snapshot();
}

test(`${RUNS} backfills: the same results however events were sent, stored and merged`, (context) => {
  const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(
      events,
      cuts,
      cuts,
      windows,
      keyClocks,
      fc.option(fc.integer({ min: -50, max: 100 })),
      fc.integer({ min: -60, max: 160 }),
      fc.infiniteStream(fc.nat()),
      (list, someCuts, otherCuts, window, keyClock, fromSecond, watermarkSecond, order) => {
        const plan: QueryPlan = {
          id: 0,
          name: "q",
          stream: STREAM,
          window,
          latenessUs: 0,
          ...(keyClock === undefined ? {} : { keyClock }),
          by: [["device"]],
          select: [
            { name: "n", fn: "count", field: null, parameter: null },
            { name: "sum", fn: "sum", field: "v", parameter: null },
            { name: "last", fn: "last", field: "v", parameter: null },
          ],
        };
        const fromUs = fromSecond === null ? null : fromSecond * SECOND_US;
        // What is behind the first part comes after the watermark, as it would live.
        const watermarkUs = watermarkSecond * SECOND_US;
        const early = list.filter(({ second }) => second < watermarkSecond);
        const behind = list.filter(({ second }) => second >= watermarkSecond);
        // By clocks of keys some of these would be late, were they not in order.
        const late = keyClock === undefined ? behind : behind.toSorted((a, b) => a.second - b.second);
        const clockUs = keyClock === undefined ? watermarkUs : null;
        const run = (first: readonly StoredBlock[], second: readonly StoredBlock[]): Row[] =>
          backfill(makeTempDir(context), plan, first, second, fromUs, clockUs).rows;
        // All in one part, in one block: nothing is left to the order.
        const expected = run(blocksOf(list, [list.length]), []);
        const shuffled = early
          .map((event) => ({ event, at: order.next().value! }))
          .toSorted((a, b) => a.at - b.at)
          .map(({ event }) => event);
        assert.deepEqual(
          sorted(run(blocksOf(shuffled, someCuts), blocksOf(late, otherCuts))),
          sorted(expected),
        );
        const small = blocksOf(shuffled, someCuts);
        const merged =
          small.length > 2 ? [decoder.merge(small.slice(0, 2), STREAM), ...small.slice(2)] : small;
        assert.deepEqual(sorted(run(merged, blocksOf(late, otherCuts))), sorted(expected));
        if (window.kind === "tumbling") assert.deepEqual(countsOf(expected), oracle(list, fromSecond));
        if (window.kind === "none" && fromSecond === null) assert.equal(expected.length, list.length);
        if (keyClock === undefined || fromSecond !== null || window.kind === "none") return;
        const { state } = backfill(makeTempDir(context), plan, blocksOf(shuffled, someCuts), [], null, null);
        assert.deepEqual(state, liveState(plan, early), "as the clocks of keys would have left it");
      },
    ),
    { numRuns: RUNS, verbose: true },
  );
});

function sorted(rows: Iterable<Row>): Row[] {
  return [...rows].toSorted((a, b) => (a.join() < b.join() ? -1 : 1));
}

function countsOf(rows: readonly Row[]): Record<string, unknown> {
  return Object.fromEntries(
    sorted(rows).map(([id, values]) => [id, (JSON.parse(values) as { n: number }).n]),
  );
}

/** Tumbling windows of 10 s, as plainly as can be. */
function oracle(list: readonly Event[], fromSecond: number | null): Record<string, number> {
  const counts = new Map<string, number>();
  for (const { device, second } of list) {
    const start = Math.floor(second / 10) * 10;
    if (fromSecond !== null && start < fromSecond) continue;
    const id = `${start * SECOND_US} ${(start + 10) * SECOND_US} ${JSON.stringify({ device })}`;
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return Object.fromEntries([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
