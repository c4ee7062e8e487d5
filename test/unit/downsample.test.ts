import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { WindowWorker } from "../../host/pipeline/window-worker.ts";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { encodeBatch } from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import type { StoredBlock } from "../../workers/messages.ts";
import { BlockDecoder } from "../../workers/query/block-decoder.ts";
import { createEventWriter } from "../../workers/query/event-json.ts";
import { portableCodec } from "../../workers/zstd.ts";
import { downsample as downsampleWith } from "../support/downsample.ts";
import { makeBlock } from "../support/store-fixtures.ts";

interface Event {
  readonly ts: number;
  readonly device: string | null;
  readonly temp: number | null;
  readonly rpm: number | null;
}

const MINUTE_US = 60_000_000;
const core = instantiateCore();
const codec = await portableCodec();
const decoder = new BlockDecoder(codec);

function blockOf(events: readonly Event[]): StoredBlock {
  const builder = buildBatch(core);
  const device = builder.addColumn("device", "string");
  const temp = builder.addColumn("temp", "float");
  const rpm = builder.addColumn("motor.rpm", "int");
  const state = builder.addColumn("state", "string");
  for (const event of events) {
    const row = builder.addRow(BigInt(event.ts), 0);
    if (event.device !== null) builder.setText(device, row, event.device);
    if (event.temp !== null) builder.setFloat(temp, row, event.temp);
    if (event.rpm !== null) builder.setInt(rpm, row, BigInt(event.rpm));
    builder.setText(state, row, "on");
  }
  const data = encodeBatch(core, builder.batch, { stream: "s" });
  return makeBlock({ data, codec: "none", encodedBytes: data.length, count: events.length });
}

interface Statistics {
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
  readonly first: number;
  readonly last: number;
}
interface Row {
  readonly ts: string;
  readonly device?: string;
  readonly downsampled: true;
  readonly count: number;
  readonly temp?: Statistics;
  readonly motor?: { readonly rpm: Statistics };
}

/** The rows as they are read back over HTTP. */
function downsample(blocks: readonly StoredBlock[], keyFields = ["device"]): Row[] {
  const block = downsampleWith(decoder, blocks, { stream: "s", keyFields, resolutionUs: MINUTE_US });
  const opened = decoder.open(block);
  assert.equal(opened.kind, "rows");
  if (opened.kind !== "rows") return [];
  const write = createEventWriter(opened.rows, "ts");
  return Array.from({ length: opened.rows.rows }, (_, row) => JSON.parse(write(row)) as Row);
}

/** The plain way: filter, sort, loop. */
function expected(events: readonly Event[]): object[] {
  const minute = (us: number): number => Math.floor(us / MINUTE_US) * MINUTE_US;
  const names = [...new Set(events.map(({ ts, device }) => JSON.stringify([minute(ts), device])))];
  return names.map((name) => {
    const [startUs, device] = JSON.parse(name) as [number, string | null];
    const own = events.filter((event) => minute(event.ts) === startUs && event.device === device);
    const statistics = (field: "temp" | "rpm"): object | undefined => {
      const inOrder = own
        .filter((event) => event[field] !== null)
        .map((event, index) => ({ index, ts: event.ts, value: event[field]! }))
        .sort((a, b) => a.ts - b.ts || a.index - b.index)
        .map(({ value }) => value);
      if (inOrder.length === 0) return undefined;
      return {
        count: inOrder.length,
        // Values are multiples of 1/4 and not large: plain sums are exact.
        sum: inOrder.reduce((a, b) => a + b, 0),
        min: Math.min(...inOrder),
        max: Math.max(...inOrder),
        first: inOrder[0],
        last: inOrder.at(-1),
      };
    };
    const [temp, rpm] = [statistics("temp"), statistics("rpm")];
    return {
      ts: new Date(startUs / 1_000).toISOString(),
      ...(device === null ? {} : { device }),
      downsampled: true,
      count: own.length,
      ...(temp === undefined ? {} : { temp }),
      ...(rpm === undefined ? {} : { motor: { rpm } }),
    };
  });
}

const byText = (a: object, b: object): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);

const event = fc.record<Event>({
  ts: fc.integer({ min: -5 * MINUTE_US, max: 5 * MINUTE_US }),
  device: fc.option(fc.constantFrom("a", "b", "ä c"), { nil: null }),
  temp: fc.option(
    fc.integer({ min: -4_000, max: 4_000 }).map((quarters) => quarters / 4),
    { nil: null },
  ),
  rpm: fc.option(fc.integer({ min: -1_000, max: 1_000 }), { nil: null }),
});

test("property: aggregates of a minute and key are those of a plain loop over the events, in one block or in several", () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(event, { minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 4 }),
      (lists) => {
        const rows = downsample(lists.map(blockOf));
        assert.deepEqual(rows.toSorted(byText), expected(lists.flat()).toSorted(byText));
        const times = rows.map(({ ts }) => Date.parse(ts));
        assert.deepEqual(
          times,
          times.toSorted((a, b) => a - b),
        );
      },
    ),
    { numRuns: 60 },
  );
});

test("sums are compensated, and whole beyond what a double counts one by one they are given as floats", () => {
  const at = (temp: number, rpm: number): Event => ({ ts: 0, device: "a", temp, rpm });
  const max = Number.MAX_SAFE_INTEGER;
  const [row] = downsample([blockOf([at(1e16, max), at(1, max), at(-1e16, 1)])]);
  assert.equal(row?.temp?.sum, 1);
  assert.equal(row?.motor?.rpm.sum, Number(2n * BigInt(max) + 1n));
  assert.equal(row?.motor?.rpm.max, max);
});

test("a stream without a key has one row a minute", () => {
  const events = [0, 1, 2].map((ts): Event => ({ ts, device: "a", temp: ts, rpm: null }));
  assert.deepEqual(downsample([blockOf(events)], ["id"]), [
    {
      ts: "1970-01-01T00:00:00.000Z",
      downsampled: true,
      count: 3,
      temp: { count: 3, sum: 3, min: 0, max: 2, first: 0, last: 2 },
    },
  ]);
});

test("a block that cannot be read is an error, and the next task is served", () => {
  const good = blockOf([{ ts: 0, device: "a", temp: 1, rpm: 1 }]);
  const bad = makeBlock({ data: Uint8Array.from([1, 2, 3]), codec: "none" });
  assert.throws(() => downsample([good, bad]), { code: "E_BLOCK_MAGIC" });
  assert.equal(downsample([good]).length, 1);
});

test("the window thread does it in steps, between which it is asked for; a bad block ends one, and blocks are given away", async (context) => {
  const windows = new WindowWorker();
  context.after(() => windows.close());
  const times = Array.from({ length: 30_000 }, (_, at) => at * 1_000);
  const make = (): StoredBlock[] =>
    ["a", "b", "a", "b"].map((device) =>
      blockOf(times.map((ts): Event => ({ ts, device, temp: ts / 1_000, rpm: 1 }))),
    );
  const task = { stream: "s", keyFields: ["device"], resolutionUs: MINUTE_US };
  let turns = 0;
  const turn = async (): Promise<void> => {
    turns++;
    // What others have merged meanwhile takes nothing from it.
    const blocks = [blockOf([{ ts: 0, device: "c", temp: 1, rpm: 1 }])];
    await windows.merge({ blocks, stream: "s", keyFields: [] });
  };
  const blocks = make();
  const made = await windows.downsample(blocks, task, turn);
  assert.deepEqual(made.into.data, downsampleWith(decoder, make(), task).data);
  assert.equal(made.taken, 4);
  assert.equal(turns, 4, "two of events, one of rows, one of the block");
  assert.deepEqual(
    blocks.map(({ data }) => data.length),
    [0, 0, 0, 0],
  );
  const bad = makeBlock({ data: Uint8Array.from([1, 2, 3]), codec: "none", count: 60_000 });
  await assert.rejects(windows.downsample([...make(), bad], task, turn), { code: "E_BLOCK_MAGIC" });
  assert.deepEqual((await windows.downsample(make(), task, turn)).into.data, made.into.data);
});

test("of many fields of many keys so many blocks are taken as fit into some memory, the first one at least", async (context) => {
  const windows = new WindowWorker();
  context.after(() => windows.close());
  // Each of the blocks has keys of its own: 4,096 groups of 80 fields are 20 MiB.
  const make = (block: number): StoredBlock => {
    const builder = buildBatch(core);
    const device = builder.addColumn("device", "string");
    const fields = Array.from({ length: 80 }, (_, at) => builder.addColumn(`f${at}`, "float"));
    for (let at = 0; at < 4_000; at++) {
      const row = builder.addRow(BigInt(at), 0);
      builder.setText(device, row, `${block}-${at}`);
      for (const field of fields) builder.setFloat(field, row, at + field);
    }
    const data = encodeBatch(core, builder.batch, { stream: "s" });
    return makeBlock({ data, codec: "none", encodedBytes: data.length, count: 4_000 });
  };
  const task = { stream: "s", keyFields: ["device"], resolutionUs: MINUTE_US };
  const blocks = [0, 1, 2, 3].map(make);
  const { into, taken } = await windows.downsample(blocks, task, () => Promise.resolve());
  assert.equal(taken, 2);
  assert.deepEqual(into.data, downsampleWith(decoder, [0, 1].map(make), task).data);
});

test("aggregates in the making that were lost are told from those of bad blocks, and are begun anew", () => {
  const task = { stream: "s", keyFields: ["device"], resolutionUs: MINUTE_US };
  const block = blockOf([{ ts: 0, device: "a", temp: 1, rpm: 1 }]);
  const own = new BlockDecoder(codec);
  assert.throws(() => own.addToDownsampling([block]), { code: "E_DOWNSAMPLE_LOST" });
  assert.equal(downsampleWith(own, [block], task).count, 1);
});

test("a count of events that is damaged makes no room: its blocks are not merged, and others are", () => {
  const block = blockOf([{ ts: 0, device: "a", temp: 1, rpm: 1 }]);
  const own = new BlockDecoder(codec);
  const { memoryBytes } = own;
  for (const count of [2 ** 24, 2 ** 40])
    assert.throws(() => own.merge([block, { ...block, count }], "s"), { code: "E_MERGE" });
  assert.equal(own.memoryBytes, memoryBytes);
  assert.equal(own.merge([block, block], "s").count, 2);
});
