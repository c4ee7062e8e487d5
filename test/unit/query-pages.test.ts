import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { QueryClient } from "../../host/query/query-client.ts";
import { StorageClient } from "../../host/store/storage-client.ts";
import { type BatchBuilder, buildBatch } from "../../workers/core/batch-builder.ts";
import { encodeBatch, readHeader } from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import type { CommitOperation, ResultRow, StoredBlock } from "../../workers/messages.ts";
import { BlockScanner } from "../../workers/query/block-scanner.ts";
import { type BlockStore, readEvents } from "../../workers/query/events.ts";
import type { SkippedBlock } from "../../workers/query/tasks.ts";
import { type Connection, openForWriting } from "../../workers/store/database.ts";
import { Reader } from "../../workers/store/reader.ts";
import { portableCodec } from "../../workers/zstd.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const codec = await portableCodec();
const core = instantiateCore();

function blockOf(fill: (batch: BatchBuilder) => void): StoredBlock {
  const builder = buildBatch(core);
  fill(builder);
  const encoded = encodeBatch(core, builder.batch, { stream: "s" });
  (core.exports as unknown as { batchDispose(batch: number): void }).batchDispose(builder.batch);
  const { count, minUs, maxUs, schema } = readHeader(encoded);
  const data = new Uint8Array(codec.compress(encoded, 1));
  return {
    data,
    codec: "zstd",
    encodedBytes: encoded.length,
    count,
    minUs: Number(minUs),
    maxUs: Number(maxUs),
    schema,
  };
}

/** A block with one event a time, numbered in column `n`. */
const numbered = (times: readonly bigint[], type: "int" | "float" = "int"): StoredBlock =>
  blockOf((batch) => {
    const column = batch.addColumn("n", type);
    for (const time of times) {
      const row = batch.addRow(time, 0);
      if (type === "int") batch.setInt(column, row, BigInt(row));
      else batch.setFloat(column, row, row + 0.5);
    }
  });

const range = (count: number, at: (index: number) => bigint): bigint[] =>
  Array.from({ length: count }, (_, i) => at(i));

interface Store {
  readonly dir: string;
  readonly reader: Reader;
  /** A second connection, to damage what is stored. */
  readonly db: Connection;
  /** Gives the last operation's seq. */
  commit(...operations: CommitOperation[]): Promise<number>;
  /** Stores blocks of stream `s` and gives their seqs. */
  put(...blocks: StoredBlock[]): Promise<number[]>;
}

async function makeStore(context: TestContext): Promise<Store> {
  const dir = makeTempDir(context);
  const storage = await StorageClient.open(dir);
  const reader = new Reader(dir);
  const db = openForWriting(dir);
  context.after(async () => {
    db.close();
    reader.close();
    await storage.close();
  });
  const commitAll = async (operations: readonly CommitOperation[]): Promise<number[]> =>
    (await storage.commit(operations)).map((outcome) => (outcome.kind === "committed" ? outcome.seq : -1));
  return {
    dir,
    reader,
    db,
    commit: async (...operations) => (await commitAll(operations)).at(-1)!,
    put: (...blocks) => commitAll(blocks.map((block) => blockOperation("s", block))),
  };
}

const blockOperation = (
  stream: string,
  block: StoredBlock | null,
  more: Partial<CommitOperation & { kind: "block" }> = {},
): CommitOperation => ({
  kind: "block",
  stream,
  arrivalUs: 1_000_000,
  block,
  idempotencyKey: null,
  accepted: block?.count ?? 0,
  deadLetters: [],
  unkeptDeadLetters: 0,
  skewed: null,
  ...more,
});

const ALL = {
  stream: "s",
  timeField: "ts",
  keyFields: [],
  fromUs: null,
  toUs: null,
  key: null,
  limit: 1_000,
  after: null,
};

interface Line {
  readonly ts: string;
  readonly n: number;
}
const parse = <T>(ndjson: Uint8Array): T[] =>
  Buffer.from(ndjson)
    .toString()
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as T);

async function openClient(
  context: TestContext,
  dir: string,
  told: SkippedBlock[] = [],
): Promise<QueryClient> {
  const client = new QueryClient(dir, (blocks) => told.push(...blocks));
  context.after(() => client.close());
  return client;
}

/** Follows `next` to the end, two rows a page. */
async function walk<T>(
  read: (page: {
    limit: number;
    after: string | null;
  }) => Promise<{ ndjson: Uint8Array; next: string | null }>,
): Promise<T[]> {
  const rows: T[] = [];
  let after: string | null = null;
  do {
    const page: { ndjson: Uint8Array; next: string | null } = await read({ limit: 2, after });
    const more = parse<T>(page.ndjson);
    assert.ok(more.length <= 2);
    rows.push(...more);
    after = page.next;
  } while (after !== null);
  return rows;
}

test("events of every year are found and cut exactly, also where a number cannot hold the time", async (context) => {
  const store = await makeStore(context);
  const times = [
    -62_135_596_800_000_000n,
    -1n,
    0n,
    9_007_199_254_740_993n,
    253_402_300_799_999_998n,
    253_402_300_799_999_999n,
  ];
  await store.put(...times.toReversed().map((time) => numbered([time])));
  const client = await openClient(context, store.dir);
  const lines = await walk<Line>((page) => client.events({ ...ALL, ...page }));
  assert.deepEqual(
    lines.map(({ ts }) => ts),
    [
      "0001-01-01T00:00:00.000Z",
      "1969-12-31T23:59:59.999999Z",
      "1970-01-01T00:00:00.000Z",
      "2255-06-05T23:47:34.740993Z",
      "9999-12-31T23:59:59.999998Z",
      "9999-12-31T23:59:59.999999Z",
    ],
  );
  const between = await client.events({ ...ALL, fromUs: -1, toUs: 0 });
  assert.deepEqual(
    parse<Line>(between.ndjson).map(({ ts }) => ts),
    ["1969-12-31T23:59:59.999999Z"],
  );
});

test("a block outside the range is not read", async (context) => {
  const { put, reader } = await makeStore(context);
  const seqs = await put(...[0n, 100n, 200n, 300n].map((time) => numbered([time, time + 50n])));
  const read: number[] = [];
  const spy: BlockStore = {
    listBlocks: (...args) => reader.listBlocks(...args),
    eventsOf: (seq) => reader.eventsOf(seq),
    block: (seq) => {
      read.push(seq);
      return reader.block(seq);
    },
  };
  const decoder = new BlockScanner(codec);
  readEvents(spy, decoder, { ...ALL, fromUs: 120, toUs: 150 });
  // Block times are rounded for the far future, so neighbours within 32 µs may be looked at; these are not.
  assert.deepEqual(read, [seqs[1]]);
  read.length = 0;
  readEvents(spy, decoder, { ...ALL, limit: 1 });
  assert.deepEqual(read, [seqs[0]], "nor one that begins after the page's end");
});

test("a damaged block is left out and told of once; everything around it is served", async (context) => {
  const store = await makeStore(context);
  const seqs = await store.put(...[0n, 1n, 2n, 3n].map((time) => numbered([time])));
  const flipped = store.reader.block(seqs[1]!)!.data;
  flipped[flipped.length - 6]! ^= 0xff;
  store.db.prepare("UPDATE blocks SET data = ? WHERE seq = ?").run(flipped, seqs[1]);
  store.db.prepare("UPDATE blocks SET data = x'00010203', codec = 'none' WHERE seq = ?").run(seqs[2]);
  const told: SkippedBlock[] = [];
  const client = await openClient(context, store.dir, told);
  for (let repeat = 0; repeat < 2; repeat++) {
    const { ndjson, next, skippedBlocks } = await client.events(ALL);
    assert.deepEqual(
      parse<Line>(ndjson).map(({ ts }) => ts.slice(17)),
      ["00.000Z", "00.000003Z"],
    );
    assert.equal(next, null);
    assert.deepEqual(
      skippedBlocks.map(({ seq, where, count }) => ({ seq, where, count })),
      [seqs[1], seqs[2]].map((seq) => ({ seq, where: "log", count: 1 })),
    );
    for (const { code } of skippedBlocks) assert.match(code, /^E_(ZSTD|BLOCK_[A-Z]+)$/);
  }
  assert.equal(told.length, 2);
});

test("a page starts again when compaction moves blocks under it", async (context) => {
  const { put, reader } = await makeStore(context);
  const seqs = await put(...[0n, 10n, 20n].map((time) => numbered([time, time + 1n])));
  const decoder = new BlockScanner(codec);
  const disturbed = (
    disturb: (block: StoredBlock | null, read: number) => StoredBlock | null,
  ): BlockStore => {
    let reads = 0;
    return {
      listBlocks: (...args) => reader.listBlocks(...args),
      eventsOf: (seq) => reader.eventsOf(seq),
      block: (seq) => disturb(reader.block(seq), reads++),
    };
  };
  const whole = ["000Z", "001Z", "010Z", "011Z", "020Z", "021Z"];
  for (let moment = 0; moment < seqs.length; moment++) {
    for (const store of [
      disturbed((block, read) => (read === moment ? null : block)),
      disturbed((block, read) => (read === moment && block !== null ? { ...block, count: 99 } : block)),
    ]) {
      const { ndjson } = readEvents(store, decoder, ALL);
      assert.deepEqual(
        parse<Line>(ndjson).map(({ ts }) => ts.slice(-4)),
        whole,
      );
    }
  }
  const restless = disturbed(() => null);
  assert.throws(() => readEvents(restless, decoder, ALL), { code: "E_STORE_BUSY" });
});

test("memory is that of one block and one page, however many blocks overlap", async (context) => {
  const { put, reader } = await makeStore(context);
  const blocks = 150;
  const rows = 5_000;
  for (let i = 0; i < blocks; i++) await put(numbered(range(rows, (k) => BigInt(k * blocks + i))));
  const decoder = new BlockScanner(codec);
  readEvents(reader, decoder, { ...ALL, limit: 1 });
  const afterFirst = decoder.memoryBytes;
  const page = readEvents(reader, decoder, { ...ALL, limit: 500 });
  assert.deepEqual(
    parse<Line>(page.ndjson).map(({ n }) => n),
    range(500, (k) => BigInt(Math.floor(k / blocks))).map(Number),
  );
  assert.ok(decoder.memoryBytes <= afterFirst + 2 ** 20, `${afterFirst} became ${decoder.memoryBytes}`);
});

test("a page ends with its characters as well as with its rows, but has at least one row", async (context) => {
  const { put, reader } = await makeStore(context);
  const texts = (times: readonly bigint[], length: number): StoredBlock =>
    blockOf((batch) => {
      const column = batch.addColumn("t", "string");
      for (const time of times) batch.setText(column, batch.addRow(time, 0), "x".repeat(length));
    });
  const scanner = new BlockScanner(codec);
  const limits = { maxCharacters: 110, maxScannedRows: 1_000 };
  const micros = (limit: number): string[] =>
    parse<{ ts: string }>(readEvents(reader, scanner, { ...ALL, limit }, limits).ndjson).map(({ ts }) =>
      ts.slice(-3, -1),
    );
  await put(texts([5n, 6n, 7n], 10));
  assert.deepEqual(micros(10), ["05", "06"]);
  assert.deepEqual(micros(1), ["05"]);
  await put(texts([1n, 9n], 200));
  assert.deepEqual(micros(10), ["01"]);
});

async function readTexts(context: TestContext, texts: readonly string[]): Promise<string[]> {
  const store = await makeStore(context);
  await store.put(
    blockOf((batch) => {
      const column = batch.addColumn("t", "string");
      for (const [index, text] of texts.entries())
        batch.setText(column, batch.addRow(BigInt(index), 0), text);
    }),
  );
  const client = await openClient(context, store.dir);
  const { ndjson } = await client.events(ALL);
  return parse<{ t: string }>(ndjson).map(({ t }) => t);
}

test("text comes back as it went in", async (context) => {
  const texts = ["", '\u0000\n"\\', "😀 ü", "null", "a.b", "mid\ufeffdle"];
  assert.deepEqual(await readTexts(context, texts), texts);
});

test("a byte order mark at the start of a text is part of it", async (context) => {
  assert.deepEqual(await readTexts(context, ["\ufeffbom"]), ["\ufeffbom"]);
});

test("late events tell their reason and stand in the order of their blocks", async (context) => {
  const store = await makeStore(context);
  const seq = await store.commit(
    blockOperation("s", numbered([1n]), { skewed: numbered([900n, 901n, 902n]) }),
  );
  await store.commit({
    kind: "late",
    stream: "s",
    sourceSeq: seq,
    block: numbered([5n, 4n]),
    atUs: 2_000_001,
  });
  for (let i = 0; i < 12; i++) {
    const [next = -1] = await store.put(numbered([1n]));
    await store.commit({
      kind: "late",
      stream: "s",
      sourceSeq: next,
      block: numbered([BigInt(100 + i)]),
      atUs: 3_000_000,
    });
  }
  const client = await openClient(context, store.dir);
  interface Late {
    readonly event: Line;
    readonly reason: string;
    readonly at: string;
  }
  const lines = await walk<Late>((page) => client.late({ stream: "s", timeField: "ts", ...page }));
  assert.deepEqual(lines.slice(0, 5), [
    ...[900, 901, 902].map((us, n) => ({
      event: { ts: `1970-01-01T00:00:00.000${us}Z`, n },
      reason: "clock-skew",
      at: "1970-01-01T00:00:01.000Z",
    })),
    { event: { ts: "1970-01-01T00:00:00.000005Z", n: 0 }, reason: "late", at: "1970-01-01T00:00:02.000001Z" },
    { event: { ts: "1970-01-01T00:00:00.000004Z", n: 1 }, reason: "late", at: "1970-01-01T00:00:02.000001Z" },
  ]);
  assert.deepEqual(
    lines.slice(5).map(({ event }) => event.ts.slice(-4)),
    range(12, (i) => BigInt(100 + i)).map((us) => `${us}Z`),
  );
  assert.deepEqual(
    parse((await client.late({ stream: "other", timeField: "ts", limit: 5, after: null })).ndjson),
    [],
  );
});

test("results have the row form of the API and page without gaps", async (context) => {
  const store = await makeStore(context);
  const row = (startUs: number, key: string, revision: number, kind: ResultRow["kind"]): ResultRow => ({
    query: "q",
    startUs,
    endUs: startUs + 60_000_000,
    key: `{"device":"${key}"}`,
    values: `{"n":${revision}}`,
    revision,
    kind,
  });
  const rows = [
    row(-60_000_000, "a", 0, "on-time"),
    row(0, "a", 0, "on-time"),
    row(0, "a", 1, "late"),
    row(0, "b", 0, "late"),
  ];
  await store.commit({ kind: "results", rows });
  const client = await openClient(context, store.dir);
  const task = { query: "q", fromUs: null, toUs: null, key: null, kind: null, revisions: "all" as const };
  const all = await walk((page) => client.results({ ...task, ...page }));
  assert.deepEqual(all[0], {
    query: "q",
    window: { start: "1969-12-31T23:59:00.000Z", end: "1970-01-01T00:00:00.000Z" },
    key: { device: "a" },
    values: { n: 0 },
    revision: 0,
    kind: "on-time",
  });
  assert.equal(all.length, 4);
  const latest = await walk<{ revision: number }>((page) =>
    client.results({ ...task, revisions: "latest", ...page }),
  );
  assert.deepEqual(
    latest.map(({ revision }) => revision),
    [0, 1, 0],
  );
  const late = await walk((page) => client.results({ ...task, kind: "late", key: "a", ...page }));
  assert.equal(late.length, 1);
});

test("dead letters and losses page by id and stream", async (context) => {
  const store = await makeStore(context);
  const deadLetters = [1, 2, 3].map((line) => ({
    line,
    code: "E_JSON",
    message: `no "${line}"`,
    path: "",
    text: "{\u2028",
  }));
  await store.commit(
    blockOperation("s", null, { deadLetters }),
    blockOperation("t", null, { deadLetters: deadLetters.slice(0, 1) }),
  );
  store.db.exec(
    "INSERT INTO losses (stream_id, from_us, to_us, count, bytes, reason, at_us) SELECT id, -1, 1500, 2, 3, 'expired', 0 FROM streams",
  );
  const client = await openClient(context, store.dir);
  const letters = await walk<object>((page) => client.deadLetters({ stream: null, ...page }));
  assert.equal(letters.length, 4);
  const at = "1970-01-01T00:00:01.000Z";
  assert.deepEqual(letters[0], {
    stream: "s",
    at,
    line: 1,
    path: "",
    code: "E_JSON",
    message: 'no "1"',
    text: "{\u2028",
  });
  assert.equal((await walk((page) => client.deadLetters({ stream: "t", ...page }))).length, 1);
  assert.deepEqual(await walk((page) => client.losses({ stream: "t", ...page })), [
    {
      stream: "t",
      from: "1969-12-31T23:59:59.999999Z",
      to: "1970-01-01T00:00:00.001500Z",
      count: 2,
      bytes: 3,
      reason: "expired",
      at: "1970-01-01T00:00:00.000Z",
      kind: "events",
    },
  ]);
});

test("a cursor of another list, or none at all, is refused by its code", async (context) => {
  const store = await makeStore(context);
  await store.put(numbered([1n, 2n]));
  const client = await openClient(context, store.dir);
  const { next } = await client.events({ ...ALL, limit: 1 });
  assert.ok(next !== null && /^[\w-]+$/.test(next));
  for (const after of ["", "x", "W10", "bnVsbA", "WyJlIiwxLDIsMyw0XQ", `${next}x`]) {
    await assert.rejects(client.events({ ...ALL, after }), { code: "E_CURSOR" }, after);
  }
  await assert.rejects(client.losses({ stream: null, limit: 1, after: next }), { code: "E_CURSOR" });
  await assert.rejects(client.events({ ...ALL, limit: 0 }), { code: "E_LIMIT" });
});
