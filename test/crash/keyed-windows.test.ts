import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient, type Result } from "../support/http-client.ts";
import { type KeyedEvent, KeyedOracle, type KeyedRow, type KeyedSettings } from "../support/keyed-oracle.ts";
import { spawnNode } from "../support/node-process.ts";
import { Random } from "../support/random.ts";

const BATCHES = 60;
const KILLS = Number(process.env.MILLRACE_KILLS ?? 5);
const MS = 1_000;
const BOUND_US = 40 * MS;
const LATENESS_US = 60 * MS;
const KEYS = ["a", "b", "c", "d"];

const STREAM = `
    key: k
    time: { field: ts, unit: us }
    fields: { v: int, id: int }
    lateness: 60ms`;
const SELECT = "select: { n: count(), sum: sum(v), first: first(v), last: last(v) }";
const CONFIG = `
checkpoint: { every: 150ms }
workers: { ingest: 3 }
streams:
  s:${STREAM}
    watermark: { bound: 40ms, maxAhead: 36500d }
  p:${STREAM}
    watermark: { bound: 40ms, per: key, maxAhead: 36500d }
queries:
  session: { from: s, window: { session: 12ms }, ${SELECT} }
  count: { from: s, window: { count: 4 }, ${SELECT} }
  none: { from: s, window: none, ${SELECT} }
  key_session: { from: p, window: { session: 12ms }, ${SELECT} }
  key_tumbling: { from: p, window: { tumbling: 30ms }, ${SELECT} }
  key_count: { from: p, window: { count: 4 }, ${SELECT} }
`;

const QUERIES: Readonly<Record<string, KeyedSettings["window"]>> = {
  session: { kind: "session", gapUs: 12 * MS },
  count: { kind: "count", size: 4 },
  none: { kind: "none" },
  key_session: { kind: "session", gapUs: 12 * MS },
  key_tumbling: { kind: "tumbling", sizeUs: 30 * MS, offsetUs: 0 },
  key_count: { kind: "count", size: 4 },
};

interface SentEvent extends KeyedEvent {
  readonly id: number;
}

/** Batches of events that come in any order within a few hundred ms; values tell events of one time and key apart. */
function makeBatches(random: Random): SentEvent[][] {
  let id = 0;
  return Array.from({ length: BATCHES }, (_, batch) =>
    Array.from({ length: random.integer(1, 12) }, () => ({
      key: random.pick(KEYS),
      timeUs: (batch * 10 + random.integer(-80, 60)) * MS,
      value: id,
      id: id++,
    })),
  );
}

/** What the rows and the late events of a stream's queries must be, batch by batch. */
function expect(
  batches: readonly (readonly SentEvent[])[],
  isPerKey: boolean,
): { rows: Map<string, KeyedRow[]>; late: Set<number> } {
  const names = Object.keys(QUERIES).filter((name) => name.startsWith("key_") === isPerKey);
  const oracles = names.map((name) => {
    const window = QUERIES[name]!;
    const keyBoundUs = isPerKey ? BOUND_US : null;
    return { name, oracle: new KeyedOracle({ window, latenessUs: LATENESS_US, keyBoundUs }) };
  });
  const rows = new Map<string, KeyedRow[]>(names.map((name) => [name, []]));
  const late = new Set<number>();
  let watermarkUs = Number.NEGATIVE_INFINITY;
  let greatestUs = Number.NEGATIVE_INFINITY;
  let lastEndUs = Number.NEGATIVE_INFINITY;
  for (const batch of batches) {
    for (const { oracle } of oracles)
      for (const event of oracle.merge(batch, watermarkUs)) late.add((event as SentEvent).id);
    greatestUs = Math.max(greatestUs, ...batch.map(({ timeUs }) => timeUs));
    // No window ends later than this after its last event.
    lastEndUs = greatestUs + 1_000 * MS;
    if (!isPerKey) watermarkUs = Math.max(watermarkUs, greatestUs - BOUND_US);
    for (const { name, oracle } of oracles) rows.get(name)!.push(...oracle.fire(watermarkUs));
  }
  for (const { name, oracle } of oracles) rows.get(name)!.push(...oracle.fire(lastEndUs));
  return { rows, late };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

function expectedRow({ key, startUs, endUs, revision, kind, isRetracted, events }: KeyedRow): string {
  const inOrder = events.toSorted((a, b) => a.timeUs - b.timeUs || a.value! - b.value!);
  const numbers = inOrder.map(({ value }) => value!);
  const values = isRetracted
    ? {}
    : { n: numbers.length, sum: sum(numbers), first: numbers[0], last: numbers.at(-1) };
  return JSON.stringify([key, startUs, endUs, revision, kind, isRetracted, values]);
}

function microseconds(time: string): number {
  const [, seconds = "", digits = ""] = /^(.*)\.(\d+)Z$/.exec(time) ?? [];
  return (Date.parse(`${seconds}Z`) / 1_000) * 1_000_000 + Number(digits.padEnd(6, "0"));
}

function givenRow({ key, window, revision, kind, retracted, values }: Result): string {
  const [start, end] = [microseconds(window.start), microseconds(window.end)];
  return JSON.stringify([key.k, start, end, revision, kind, retracted === true, values]);
}

test(`sessions, counts, single events and clocks of keys through ${KILLS} kills: every revision is as without`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const batches = makeBatches(random);
  const node = await spawnNode({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const kills = new Set<number>();
  while (kills.size < KILLS) kills.add(random.integer(1, BATCHES - 1));

  for (const [index, batch] of batches.entries()) {
    for (const stream of ["s", "p"]) {
      const lines = batch.map(({ key, timeUs, value, id }) => ({ k: key, ts: timeUs, v: value, id }));
      const options = { idempotencyKey: `${stream}-${index}` };
      if (kills.has(index)) {
        const doomed = client.post(stream, lines, options).catch(() => null);
        await sleep(random.integer(0, 15));
        await node.kill("SIGKILL");
        await doomed;
        await node.start();
      }
      assert.equal((await client.send(stream, lines, options)).accepted, batch.length);
    }
  }
  for (const stream of ["s", "p"]) await client.watermark(stream, { end: true });

  for (const [stream, isPerKey] of [
    ["s", false],
    ["p", true],
  ] as const) {
    const { rows, late } = expect(batches, isPerKey);
    const given = (await client.late(stream)).map(({ event }) => Number(event.id));
    assert.deepEqual(
      given.toSorted((a, b) => a - b),
      [...late].toSorted((a, b) => a - b),
    );
    for (const [query, expected] of rows) {
      const all = await client.results(query, { revisions: "all" });
      assert.deepEqual(all.map(givenRow).toSorted(), expected.map(expectedRow).toSorted(), query);
      const last = new Map<string, KeyedRow>();
      for (const row of expected.toSorted((a, b) => a.revision - b.revision))
        last.set(`${row.key} ${row.startUs} ${row.endUs}`, row);
      const latest = await client.results(query);
      assert.deepEqual(
        latest.map(givenRow).toSorted(),
        [...last.values()]
          .filter((row) => !row.isRetracted)
          .map(expectedRow)
          .toSorted(),
        query,
      );
    }
    const retracted = [...rows.values()].flat().filter((row) => row.isRetracted).length;
    context.diagnostic(
      `${stream}: ${[...rows.values()].flat().length} rows, ${retracted} retractions, ${late.size} late`,
    );
  }
  await node.stop();
});
