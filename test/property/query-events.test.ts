import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { StorageClient } from "../../host/store/storage-client.ts";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { encodeBatch } from "../../workers/core/codec.ts";
import { type CoreModule, instantiateCore } from "../../workers/core/module.ts";
import type { CommitOperation, StoredBlock } from "../../workers/messages.ts";
import { BlockDecoder } from "../../workers/query/block-decoder.ts";
import { BlockScanner } from "../../workers/query/block-scanner.ts";
import { EVENT_CURSOR } from "../../workers/query/cursor.ts";
import { type EventLimits, readEvents } from "../../workers/query/events.ts";
import type { EventsTask } from "../../workers/query/tasks.ts";
import { Reader } from "../../workers/store/reader.ts";
import { portableCodec } from "../../workers/zstd.ts";
import { makeTempDir } from "../support/temp-dir.ts";

interface Event {
  readonly timeUs: number;
  readonly device: string;
  readonly n: number;
}

const codec = await portableCodec();
let builder: { core: CoreModule; used: number } | null = null;

/** Encodes events as one block, zstd outside, as an ingest worker does. */
function encode(events: readonly Event[], stream: string): StoredBlock {
  if (builder === null || ++builder.used > 2_000) builder = { core: instantiateCore(), used: 0 };
  const { core } = builder;
  const batch = buildBatch(core);
  const device = batch.addColumn("device", "string");
  const n = batch.addColumn("n", "int");
  for (const event of events) {
    const row = batch.addRow(BigInt(event.timeUs), 0);
    batch.setText(device, row, event.device);
    batch.setInt(n, row, BigInt(event.n));
  }
  const encoded = encodeBatch(core, batch.batch, { stream });
  (core.exports as unknown as { batchDispose(batch: number): void }).batchDispose(batch.batch);
  const times = events.map(({ timeUs }) => timeUs);
  return {
    data: new Uint8Array(codec.compress(encoded, 1)),
    codec: "zstd",
    encodedBytes: encoded.length,
    count: events.length,
    minUs: Math.min(...times),
    maxUs: Math.max(...times),
    schema: [],
  };
}

class TestStore {
  readonly #storage: StorageClient;
  readonly reader: Reader;
  readonly decoder = new BlockDecoder(codec);
  readonly scanner = new BlockScanner(codec);
  #streams = 0;

  private constructor(storage: StorageClient, reader: Reader) {
    this.#storage = storage;
    this.reader = reader;
  }

  static async open(context: TestContext): Promise<TestStore> {
    const dir = makeTempDir(context);
    const storage = await StorageClient.open(dir);
    const reader = new Reader(dir);
    context.after(async () => {
      reader.close();
      await storage.close();
    });
    return new TestStore(storage, reader);
  }

  /** Stores the events as blocks of a new stream. */
  async put(
    blocks: readonly (readonly Event[])[],
  ): Promise<{ readonly stream: string; readonly seqs: readonly number[] }> {
    const stream = `s${this.#streams++}`;
    const operations = blocks.map((events): CommitOperation => {
      const block = encode(events, stream);
      const rest = {
        idempotencyKey: null,
        accepted: events.length,
        deadLetters: [],
        unkeptDeadLetters: 0,
        skewed: null,
      };
      return { kind: "block", stream, arrivalUs: 0, block, ...rest };
    });
    const outcomes = operations.length === 0 ? [] : await this.#storage.commit(operations);
    const seqs = outcomes.map((outcome) => (outcome.kind === "committed" ? outcome.seq : -1));
    return { stream, seqs };
  }

  /** Merges neighbouring blocks into one, as compaction does. */
  async compact(stream: string, seqs: readonly number[]): Promise<void> {
    const blocks = seqs.map((seq) => this.reader.block(seq)!);
    await this.#storage.swap({ removeSeqs: seqs, into: this.decoder.merge(blocks, stream, ["device"]) });
    assert.equal(this.reader.block(seqs[1]!), null, "the blocks were merged");
  }
}

type Query = Omit<EventsTask, "limit" | "after" | "timeField">;

/** All pages of a query, with something done between them. Cursors go through their text. */
async function readAll(
  { reader, scanner }: TestStore,
  query: Query,
  nextLimit: () => number,
  between: () => Promise<void>,
  limits?: EventLimits,
): Promise<Event[]> {
  const lines: Event[] = [];
  let after: string | null = null;
  let pages = 0;
  do {
    const limit = nextLimit();
    const task: EventsTask = {
      ...query,
      timeField: "ts",
      limit,
      after: after === null ? null : EVENT_CURSOR.decode(after),
    };
    const page = readEvents(reader, scanner, task, limits);
    assert.deepEqual(page.skippedBlocks, []);
    const rows = Buffer.from(page.ndjson).toString().split("\n").slice(0, -1);
    assert.ok(rows.length <= limit);
    if (limits === undefined)
      assert.equal(page.next !== null && rows.length < limit, false, "a short page is the last");
    for (const row of rows) {
      const { ts, device, n } = JSON.parse(row) as { ts: string; device: string; n: number };
      const [, fraction = ""] = /\.(\d+)Z$/.exec(ts) ?? [];
      lines.push({
        timeUs: Date.parse(ts.replace(/\.\d+Z$/, "Z")) * 1000 + Number(fraction.padEnd(6, "0")),
        device,
        n,
      });
    }
    after = page.next === null ? null : EVENT_CURSOR.encode(page.next);
    assert.ok(++pages < 10_000, "the walk comes to an end");
    await between();
  } while (after !== null);
  return lines;
}

/** What a plain array says. Blocks in the order of their seq; ties in time keep it. */
function expected(blocks: readonly (readonly Event[])[], { fromUs, toUs, key, keyFields }: Query): Event[] {
  return blocks
    .flat()
    .filter(({ timeUs }) => timeUs >= (fromUs ?? -Infinity) && timeUs < (toUs ?? Infinity))
    .filter(
      ({ device, n }) => key === null || device === key || (keyFields.includes("n") && String(n) === key),
    )
    .sort((a, b) => a.timeUs - b.timeUs);
}

/** Few distinct times, so that ties within and across blocks are common; before the epoch too. */
const time = fc.oneof(
  fc.integer({ min: -3, max: 3 }),
  fc.integer({ min: -40, max: 40 }),
  fc.integer({ min: -9e8, max: 9e8 }),
);
const event = fc.record(
  { timeUs: time, device: fc.constantFrom("a", "b", "7"), n: fc.integer({ min: 0, max: 9 }) },
  { noNullPrototype: true },
);
const blockList = fc.array(fc.array(event, { minLength: 1, maxLength: 12 }), { maxLength: 8 });
const bound = fc.option(time);
const limitList = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 });

const queryOf = (stream: string, fromUs: number | null, toUs: number | null, key: string | null): Query => ({
  stream,
  keyFields: ["device", "n"],
  fromUs,
  toUs,
  key,
});

const cycle = (limits: readonly number[]): (() => number) => {
  let at = 0;
  return () => limits[at++ % limits.length]!;
};

const nothing = (): Promise<void> => Promise.resolve();

test("pages of any size, put together, are the sorted array", async (context) => {
  const store = await TestStore.open(context);
  const key = fc.option(fc.constantFrom("a", "7", "3", "none"));
  await fc.assert(
    fc.asyncProperty(blockList, bound, bound, key, limitList, async (blocks, from, to, key, limits) => {
      const query = queryOf((await store.put(blocks)).stream, from, to, key);
      assert.deepEqual(await readAll(store, query, cycle(limits), nothing), expected(blocks, query));
    }),
    { numRuns: 300 },
  );
});

test("compaction between pages loses and repeats nothing", async (context) => {
  const store = await TestStore.open(context);
  const merges = fc.array(fc.tuple(fc.nat({ max: 7 }), fc.integer({ min: 2, max: 5 })), { maxLength: 12 });
  const key = fc.option(fc.constantFrom("a", "7"));
  await fc.assert(
    fc.asyncProperty(blockList, key, limitList, merges, async (blocks, key, limits, plan) => {
      const { stream, seqs } = await store.put(blocks);
      const steps = [...plan];
      let present = [...seqs];
      const compactSome = async (): Promise<void> => {
        const [from, count] = steps.shift() ?? [0, 0];
        const group = present.slice(from, from + count);
        if (group.length < 2) return;
        await store.compact(stream, group);
        present = present.filter((seq) => seq === group[0] || !group.includes(seq));
      };
      const query = { ...queryOf(stream, null, null, key), keyFields: ["device"] };
      assert.deepEqual(await readAll(store, query, cycle(limits), compactSome), expected(blocks, query));
    }),
    { numRuns: 300 },
  );
});

test("pages cut short by their size or by the rows looked at still make up the whole", async (context) => {
  const store = await TestStore.open(context);
  const key = fc.option(fc.constantFrom("a", "9"));
  const cuts = fc.record({
    maxCharacters: fc.integer({ min: 1, max: 400 }),
    maxScannedRows: fc.integer({ min: 1, max: 30 }),
  });
  await fc.assert(
    fc.asyncProperty(blockList, bound, key, limitList, cuts, async (blocks, from, key, rows, limits) => {
      const query = queryOf((await store.put(blocks)).stream, from, null, key);
      assert.deepEqual(await readAll(store, query, cycle(rows), nothing, limits), expected(blocks, query));
    }),
    { numRuns: 300 },
  );
});
