import assert from "node:assert/strict";
import { test } from "node:test";
import { valueSymbol } from "piscina";
import { parseConfig } from "../../host/config/load.ts";
import { type BlockEntry, RunPlanner } from "../../host/pipeline/replay-runs.ts";
import { type RunningStream, StreamRegistry } from "../../host/pipeline/stream-registry.ts";
import { ingest, replay, replayRuns } from "../../workers/ingest.ts";
import type { AggregatedBlock, IngestResult, StoredBlock } from "../../workers/messages.ts";

const SECOND_US = 1_000_000;

function streamOf(query: string, watermark = "bound: 5s", more = ""): RunningStream {
  const yaml = `
streams:
  s:
    key: device
    time: { field: ts, unit: s }
    watermark: { ${watermark}, maxAhead: 1h }
queries:
  q: { from: s, by: [device], lateness: 10s, ${query} }
${more}`;
  const loaded = parseConfig(yaml, "test.yaml");
  assert.ok(loaded.ok, loaded.ok ? "" : JSON.stringify(loaded.problems));
  return new StreamRegistry(loaded.config).stream("s")!;
}

const TUMBLING = "window: { tumbling: 1m }, select: { n: count(), high: max(v) }";

function moved<T>(answer: unknown): T {
  return (answer as Record<symbol, T>)[valueSymbol] ?? (answer as T);
}

function blockOf(stream: RunningStream, events: readonly object[]): StoredBlock {
  const text = events.map((event) => JSON.stringify(event)).join("\n");
  const body = { format: "ndjson" as const, encoding: "identity" as const, body: Buffer.from(text) };
  const task = {
    stream: "s",
    setup: stream.setup(),
    arrivalUs: 1_000 * SECOND_US,
    maxBodyBytes: 1e6,
    bodies: [body],
  };
  const { block } = moved<IngestResult>(ingest(task));
  return { ...block!, data: new Uint8Array(block!.data) };
}

/** The partials of blocks as one, or null. */
function together(stream: RunningStream, blocks: readonly StoredBlock[]): AggregatedBlock | null {
  const runs = [{ blocks, arrivalsUs: blocks.map(() => 0) }];
  const [run] = moved<(AggregatedBlock | null)[]>(replayRuns({ stream: "s", setup: stream.setup(), runs }));
  return run!;
}

test("blocks with the same columns are aggregated as one of all their events", () => {
  const stream = streamOf(TUMBLING);
  const events = Array.from({ length: 90 }, (_, n) => ({ ts: 600 + n, device: `d${n % 7}`, v: n + 0.5 }));
  const blocks = [events.slice(0, 40), events.slice(40, 41), events.slice(41)].map((part) =>
    blockOf(stream, part),
  );
  const all = blockOf(stream, events);
  const setup = stream.setup();
  const aggregate = (): AggregatedBlock =>
    moved<AggregatedBlock>(replay({ stream: "s", setup, block: all, arrivalUs: 0 }));
  // From the second time on, keys are named by texts that are known.
  aggregate();
  const whole = aggregate();
  const run = together(stream, blocks);
  assert.equal(run?.maxEventUs, whole.maxEventUs);
  assert.deepEqual(run?.partials, whole.partials);
  assert.deepEqual(run?.sources, whole.sources);
});

test("numbers beside texts, and times that are not as told, keep blocks apart; clock skew does not", () => {
  const stream = streamOf(TUMBLING);
  const numbers = blockOf(stream, [{ ts: 600, device: "a", v: 1 }]);
  const others = blockOf(stream, [{ ts: 601, device: "a", v: 2 }]);
  assert.notEqual(together(stream, [numbers, others]), null);
  assert.equal(together(stream, [numbers, blockOf(stream, [{ ts: 601, device: "a", v: "2" }])]), null);
  const ahead = blockOf(stream, [{ ts: 9_000, device: "a", v: 2 }]);
  assert.equal(together(stream, [numbers, ahead])?.maxEventUs, 600 * SECOND_US);
  assert.equal(together(stream, [numbers, { ...others, maxUs: others.maxUs + 1 }]), null);
  assert.equal(together(stream, [numbers, { ...others, count: 2 }]), null);
});

test("a field of an expression that has values in some events alone keeps blocks apart", () => {
  const stream = streamOf(`where: v > 0, ${TUMBLING}`);
  const blocks = [1, null].map((v) => blockOf(stream, [{ ts: 600, device: "a", v, w: 1 }]));
  const withValues = blocks.map(() => blocks[0]!);
  assert.notEqual(together(stream, withValues), null);
  const mixed = blockOf(stream, [
    { ts: 600, device: "a", v: 1, w: 1 },
    { ts: 600, device: "a", v: null, w: 1 },
  ]);
  assert.equal(together(stream, [mixed, mixed]), null);
});

function entriesAt(times: readonly (readonly [minS: number, maxS: number])[]): BlockEntry[] {
  return times.map(([minS, maxS], index) => ({
    kind: "block",
    seq: index + 1,
    stream: "s",
    arrivalUs: index,
    block: {
      data: new Uint8Array(),
      codec: "none",
      encodedBytes: 0,
      count: 10,
      minUs: minS * SECOND_US,
      maxUs: maxS * SECOND_US,
      schema: [],
    },
  }));
}

/** The lengths of the runs that blocks are parted into. */
function runsOf(
  stream: RunningStream,
  times: readonly (readonly [number, number])[],
  watermarkS: number,
): number[] {
  const planner = new RunPlanner(stream);
  planner.knowClock({ watermarkUs: watermarkS * SECOND_US, maxEventUs: (watermarkS + 5) * SECOND_US });
  planner.start();
  return planner.plan(entriesAt(times)).map(({ entries }) => entries.length);
}

test("a run ends with the block that takes the watermark over a window's end", () => {
  const stream = streamOf(TUMBLING);
  const times = [62, 64, 66, 70, 124, 126, 128].map((second) => [60, second] as const);
  assert.deepEqual(runsOf(stream, times, 55), [3, 3, 1]);
});

test("an event of a window that has ended comes alone", () => {
  const stream = streamOf(TUMBLING);
  assert.deepEqual(
    runsOf(
      stream,
      [
        [120, 130],
        [119, 131],
        [125, 132],
        [120, 133],
      ],
      121,
    ),
    [1, 1, 2],
  );
});

test("where a window slides, each slice's boundary ends a run", () => {
  const stream = streamOf("window: { sliding: 50s, every: 20s }, select: { n: count() }");
  // Slices begin at 0, 10, 20, 30, … s; the watermark is 5 s behind.
  const times = [66, 68, 74, 76].map((second) => [61, second] as const);
  assert.deepEqual(runsOf(stream, [...times, [75, 78], [75, 85], [75, 86]], 61), [4, 2, 1]);
});

test("blocks are merged one by one where single moves of a clock, or single events, may tell", () => {
  const times = [
    [60, 62],
    [60, 63],
    [60, 64],
  ] as const;
  const apart = (stream: RunningStream): void => assert.deepEqual(runsOf(stream, times, 61), [1, 1, 1]);
  assert.deepEqual(runsOf(streamOf(TUMBLING), times, 61), [3]);
  apart(streamOf(TUMBLING, "bound: 5s, per: source"));
  apart(streamOf(TUMBLING, "bound: 5s, per: key"));
  apart(streamOf(`early: 10s, ${TUMBLING}`));
  apart(streamOf("window: { session: 10s }, select: { n: count() }"));
  apart(streamOf("window: { count: 10 }, select: { n: count() }"));
  apart(streamOf("window: { tumbling: 1m }, select: { often: topk(v, 3) }"));
  apart(
    streamOf(TUMBLING, "bound: 5s", "  above: { from: q, window: { tumbling: 1h }, select: { n: count() } }"),
  );
  apart(streamOf(TUMBLING, "bound: 5s", "alerts:\n  hot: { from: s, when: v > 9 }"));
});

test("a run that was planned by a clock that is another when its turn comes is not proven", () => {
  const planner = new RunPlanner(streamOf(TUMBLING));
  planner.knowClock({ watermarkUs: 61 * SECOND_US, maxEventUs: 66 * SECOND_US });
  planner.start();
  const runs = planner.plan(
    entriesAt([
      [59, 67],
      [61, 68],
      [62, 69],
    ]),
  );
  assert.deepEqual(
    runs.map(({ entries }) => entries.length),
    [1, 2],
  );
  assert.equal(planner.isProven(runs[1]!), false);
  planner.pushedBlock(67 * SECOND_US);
  assert.equal(planner.isProven(runs[1]!), true);
  planner.pushedMark("end");
  assert.equal(planner.isProven(runs[1]!), false);
  assert.ok(planner.isLost);
});
