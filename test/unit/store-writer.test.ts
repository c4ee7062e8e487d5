import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { CommitOperation, ResultRow, SchemaField } from "../../workers/messages.ts";
import { packedOf } from "../../workers/packed-rows.ts";
import { packResults } from "../../workers/result-rows.ts";
import { coversRows, packLateRows, withoutRows } from "../../workers/store/late-rows.ts";
import { readLog } from "../../workers/store/log-reader.ts";
import { Reader } from "../../workers/store/reader.ts";
import { DEFAULT_LIMITS } from "../../workers/store/writer.ts";
import {
  makeBlock,
  makeBlockOperation,
  makeDeadLetter,
  makeResult,
  NOW_US,
  StoreFixture,
} from "../support/store-fixtures.ts";

const EVERYTHING = { afterSeq: 0, maxBytes: Number.MAX_SAFE_INTEGER };

function log(fixture: StoreFixture, { afterSeq, maxBytes } = EVERYTHING) {
  return readLog(fixture.store.sql, afterSeq, maxBytes);
}

test("blocks and watermarks share one sequence that a restart goes on with", (context) => {
  const fixture = new StoreFixture(context);
  const outcomes = fixture.commit(
    makeBlockOperation(),
    { kind: "watermark", stream: "machines", timeUs: 5 },
    makeBlockOperation({ stream: "doors" }),
  );
  assert.deepEqual(
    outcomes,
    [1, 2, 3].map((seq) => ({ kind: "committed", seq })),
  );
  const { writer, recovered } = fixture.reopen();
  assert.equal(recovered.lastSeq, 3);
  assert.deepEqual(writer.commit([{ kind: "watermark", stream: "doors", timeUs: "end" }], NOW_US), [
    { kind: "committed", seq: 4 },
  ]);
});

test("a seq is never given out twice, though the rows that had it are gone", (context) => {
  const fixture = new StoreFixture(context);
  fixture.commit({ kind: "watermark", stream: "machines", timeUs: 5 });
  fixture.commit({ kind: "checkpoint", seq: 1, state: new Uint8Array(1) });
  fixture.commit(makeBlockOperation({ block: null, deadLetters: [makeDeadLetter(1)] }));
  assert.deepEqual(log(fixture), []);
  fixture.reopen();
  assert.equal(fixture.store.recovered.lastSeq, 2);
});

test("a stored block comes back byte for byte", (context) => {
  const fixture = new StoreFixture(context);
  const data = Uint8Array.from({ length: 100_000 }, (_, index) => index * 31);
  const block = makeBlock({ data, codec: "none", count: 7, minUs: -62_135_596_800_000_000, maxUs: 5 });
  fixture.commit(makeBlockOperation({ block, arrivalUs: 77 }));
  fixture.reopen();
  const [entry] = log(fixture);
  assert.deepEqual(entry, {
    kind: "block",
    seq: 1,
    stream: "machines",
    arrivalUs: 77,
    block: { ...block, schema: [] },
  });
});

test("a key seen before writes nothing and answers with the first counts, per stream, across restarts", (context) => {
  const fixture = new StoreFixture(context);
  const first = makeBlockOperation({ idempotencyKey: "k", deadLetters: [makeDeadLetter(3)] });
  const resend = makeBlockOperation({ idempotencyKey: "k", accepted: 99, skewed: makeBlock() });
  const duplicate = { kind: "duplicate", accepted: 10, deadLettered: 1 };
  assert.deepEqual(fixture.commit(first, resend), [{ kind: "committed", seq: 1 }, duplicate]);
  fixture.reopen();
  assert.deepEqual(fixture.commit(resend, { ...resend, stream: "doors" }), [
    duplicate,
    { kind: "committed", seq: 2 },
  ]);
  const { streams } = fixture.reopen().recovered;
  assert.deepEqual(
    streams.map(({ stream, counts }) => [stream, counts.accepted, counts.deadLettered, counts.clockSkewed]),
    [
      ["machines", 10, 1, 0],
      ["doors", 99, 0, 10],
    ],
  );
});

test("a batch whose lines were all bad keeps its dead letters and its key", (context) => {
  const fixture = new StoreFixture(context);
  const bad = makeBlockOperation({ block: null, idempotencyKey: "k", deadLetters: [makeDeadLetter(1)] });
  assert.equal(fixture.commit(bad)[0]!.kind, "committed");
  assert.deepEqual(fixture.commit(bad), [{ kind: "duplicate", accepted: 0, deadLettered: 1 }]);
  const [stream] = fixture.reopen().recovered.streams;
  assert.deepEqual(stream!.counts, {
    accepted: 0,
    deadLettered: 1,
    late: 0,
    clockSkewed: 0,
    blocks: 0,
    storedBytes: 0,
  });
});

test("a new field or a wider type makes a new schema version, anything else does not", (context) => {
  const fixture = new StoreFixture(context);
  const withSchema = (...schema: readonly SchemaField[]) =>
    makeBlockOperation({ block: makeBlock({ schema }) });
  fixture.commit(withSchema({ name: "temp", type: "int" }));
  fixture.commit(withSchema({ name: "temp", type: "int" }), withSchema());
  assert.equal(fixture.reopen().recovered.streams[0]!.schemaVersion, 1);
  fixture.commit(withSchema({ name: "temp", type: "float" }), withSchema({ name: "on", type: "bool" }));
  const [stream] = fixture.reopen().recovered.streams;
  assert.equal(stream!.schemaVersion, 3);
  assert.deepEqual(stream!.schema, [
    { name: "temp", type: "float" },
    { name: "on", type: "bool" },
  ]);
});

test("a failed transaction writes nothing and leaves the writer as it was", (context) => {
  const fixture = new StoreFixture(context);
  fixture.commit(makeBlockOperation());
  const unwritable = { ...makeResult(), key: null } as unknown as ReturnType<typeof makeResult>;
  const doomed: CommitOperation[] = [
    makeBlockOperation({ stream: "new", idempotencyKey: "k", deadLetters: [makeDeadLetter(1)] }),
    makeBlockOperation({ block: makeBlock({ schema: [{ name: "new", type: "bool" }] }) }),
    { kind: "results", rows: [makeResult(), unwritable] },
  ];
  assert.throws(() => fixture.commit(...doomed), /NOT NULL/);
  const expected = fixture.store.recovered;
  assert.deepEqual(
    log(fixture).map(({ seq }) => seq),
    [1],
  );
  assert.deepEqual(fixture.commit(doomed[0]!), [{ kind: "committed", seq: 2 }]);
  const { streams } = fixture.reopen().recovered;
  assert.deepEqual(expected.streams, []);
  assert.deepEqual(
    streams.map(({ stream, schemaVersion }) => [stream, schemaVersion]),
    [
      ["machines", 1],
      ["new", 1],
    ],
  );
});

test("results are written over by window, key and revision", (context) => {
  const fixture = new StoreFixture(context);
  const rows = Array.from({ length: 50 }, (_, n) => makeResult({ key: `{"device":"m${n}"}` }));
  fixture.commit({ kind: "results", rows });
  fixture.commit({ kind: "results", rows: rows.map((row) => ({ ...row, values: '{"n":6}' })) });
  fixture.commit({
    kind: "results",
    rows: [makeResult({ key: '{"device":"m3"}', revision: 1, kind: "late" })],
  });
  const reader = new Reader(fixture.dir);
  context.after(() => reader.close());
  const filter = {
    query: "temp_1m",
    fromUs: null,
    toUs: null,
    key: null,
    kind: null,
    limit: 1_000,
    after: null,
  };
  const all = reader.results({ ...filter, revisions: "all" });
  assert.equal(all.length, 51);
  assert.equal(all.filter((row) => row.values === '{"n":6}').length, 50);
  assert.equal(reader.results({ ...filter, revisions: "latest" }).length, 50);
});

test("packed results are the same rows", (context) => {
  const fixture = new StoreFixture(context);
  const rows = Array.from({ length: 45 }, (_, n) =>
    makeResult({
      key: JSON.stringify({ device: `m\t${n}\n` }),
      revision: n % 2,
      kind: n % 2 === 0 ? "on-time" : "late",
    }),
  );
  fixture.commit(
    { kind: "packed-results", packed: packedOf(packResults(rows)) },
    { kind: "packed-results", packed: packedOf("") },
  );
  const reader = new Reader(fixture.dir);
  context.after(() => reader.close());
  const filter = {
    query: "temp_1m",
    fromUs: null,
    toUs: null,
    key: null,
    kind: null,
    limit: 1_000,
    after: null,
  };
  const stored = reader.results({ ...filter, revisions: "all" });
  const byKey = (a: { key: string }, b: { key: string }) => (a.key < b.key ? -1 : 1);
  assert.deepEqual(stored.sort(byKey), rows.sort(byKey));
});

test("late events of a source are kept and counted once, beside those with a skewed clock", (context) => {
  const fixture = new StoreFixture(context);
  const late = {
    kind: "late",
    stream: "machines",
    sourceSeq: 1,
    block: makeBlock({ count: 4 }),
    atUs: 9,
  } as const;
  fixture.commit(makeBlockOperation({ skewed: makeBlock({ count: 2 }) }));
  assert.deepEqual(fixture.commit(late, late), [
    { kind: "committed", seq: 1 },
    { kind: "duplicate", accepted: 4, deadLettered: 0 },
  ]);
  const { counts } = fixture.reopen().recovered.streams[0]!;
  assert.deepEqual([counts.late, counts.clockSkewed], [4, 2]);
});

test("further late events of a source are set aside beside the first ones; what is there already is not", (context) => {
  const fixture = new StoreFixture(context);
  fixture.commit(makeBlockOperation());
  const late = (...mask: number[]) =>
    ({
      kind: "late",
      stream: "machines",
      sourceSeq: 1,
      block: makeBlock({ count: mask.filter((bit) => bit === 1).length }),
      rows: packLateRows(Uint8Array.from(mask)),
      atUs: 9,
    }) as const;
  const kinds = [
    late(1, 0, 0, 1),
    late(0, 1, 0, 0),
    late(1, 0, 0, 1),
    late(1, 1, 0, 0),
    late(0, 0, 1, 1),
  ].map((operation) => fixture.commit(operation)[0]!.kind);
  assert.deepEqual(kinds, ["committed", "committed", "duplicate", "duplicate", "committed"]);
  assert.equal(fixture.reopen().recovered.streams[0]!.counts.late, 5);
});

test("sets of rows: packed, compared and taken from each other as plain sets", () => {
  const masks = fc.integer({ min: 1, max: 400 }).chain((rows) => {
    const mask = fc.uint8Array({ minLength: rows, maxLength: rows, max: 1 });
    return fc.tuple(fc.array(mask, { maxLength: 3 }), mask);
  });
  fc.assert(
    fc.property(masks, ([others, mask]) => {
      const left = mask.map((bit, row) => (others.some((other) => other[row] === 1) ? 0 : bit));
      const packed = others.map(packLateRows);
      assert.deepEqual(withoutRows(mask, packed), left);
      assert.equal(coversRows(packed, packLateRows(mask)), !left.includes(1));
    }),
  );
});

test("dead letters beyond the limit are given up oldest first, with a row in the ledger", (context) => {
  const limits = { ...DEFAULT_LIMITS, deadLetters: 10, deadLetterSlack: 5 };
  const fixture = new StoreFixture(context, limits);
  for (let line = 1; line <= 15; line++) {
    fixture.commit(makeBlockOperation({ block: null, arrivalUs: line, deadLetters: [makeDeadLetter(line)] }));
  }
  const reader = new Reader(fixture.dir);
  context.after(() => reader.close());
  assert.equal(reader.deadLetters(null, 0, 100).length, 15);
  fixture.reopen();
  fixture.commit(makeBlockOperation({ block: null, arrivalUs: 16, deadLetters: [makeDeadLetter(16)] }));
  assert.deepEqual(
    reader.deadLetters("machines", 0, 100).map(({ line }) => line),
    [7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
  );
  const [loss, ...others] = reader.losses("machines", 0, 100);
  assert.deepEqual(others, []);
  assert.deepEqual(loss, {
    id: 1,
    stream: "machines",
    fromUs: 1,
    toUs: 6,
    count: 6,
    bytes: 6 * Buffer.byteLength(makeDeadLetter(1).text),
    reason: "given-up",
    atUs: NOW_US,
    kind: "dead-letters",
    subject: null,
  });
});

test("bad lines beyond what is kept are counted, and stand in the ledger", (context) => {
  const fixture = new StoreFixture(context);
  const batch = makeBlockOperation({
    idempotencyKey: "k",
    deadLetters: [makeDeadLetter(1)],
    unkeptDeadLetters: 5,
  });
  fixture.commit(batch);
  assert.deepEqual(fixture.commit(batch), [{ kind: "duplicate", accepted: 10, deadLettered: 6 }]);
  const reader = new Reader(fixture.dir);
  context.after(() => reader.close());
  assert.deepEqual(
    reader.losses("machines", 0, 10).map(({ count, reason }) => [count, reason]),
    [[5, "given-up"]],
  );
  assert.equal(fixture.reopen().recovered.streams[0]!.counts.deadLettered, 6);
});

test("keys are forgotten by age, and by number when there are too many", (context) => {
  const day = 86_400_000_000;
  const limits = {
    ...DEFAULT_LIMITS,
    idempotencyRetentionUs: 7 * day,
    idempotencyKeys: 3,
    idempotencySlack: 1,
  };
  const { store } = new StoreFixture(context, limits);
  const send = (key: string, atUs: number) =>
    store.writer.commit([makeBlockOperation({ idempotencyKey: key })], atUs)[0]!.kind;
  send("old", 0);
  assert.equal(send("old", 7 * day), "duplicate");
  send("a", 7 * day + 1);
  assert.equal(send("old", 7 * day + 2), "committed");
  send("b", 7 * day + 3);
  assert.deepEqual([send("a", 7 * day + 4), send("b", 7 * day + 5)], ["duplicate", "duplicate"]);
  send("c", 7 * day + 6);
  assert.deepEqual([send("c", 7 * day + 7), send("b", 7 * day + 8)], ["duplicate", "duplicate"]);
  assert.equal(send("a", 7 * day + 9), "committed");
});

test("with slack, the number of keys goes back to its limit, also after more were let in at once", (context) => {
  const limits = { ...DEFAULT_LIMITS, idempotencyKeys: 20, idempotencySlack: 8 };
  const fixture = new StoreFixture(context, limits);
  const countKeys = () =>
    (fixture.store.sql.readCounters.get() as { idempotencyKeys: number }).idempotencyKeys;
  for (let n = 0; n < 200; n++) fixture.commit(makeBlockOperation({ idempotencyKey: `k${n}` }));
  assert.ok(countKeys() >= 20 && countKeys() < 28, `${countKeys()} keys`);
  fixture.commit(...Array.from({ length: 50 }, (_, n) => makeBlockOperation({ idempotencyKey: `many${n}` })));
  assert.ok(countKeys() >= 20 && countKeys() < 28, `${countKeys()} keys`);
  assert.equal(fixture.commit(makeBlockOperation({ idempotencyKey: "many49" }))[0]!.kind, "duplicate");
  assert.equal(fixture.commit(makeBlockOperation({ idempotencyKey: "k0" }))[0]!.kind, "committed");
});

test("of two rows for one window, key and revision in one commit the last stands", (context) => {
  const fixture = new StoreFixture(context);
  const rows = Array.from({ length: 30 }, (_, n) => makeResult({ values: `{"n":${n}}` }));
  fixture.commit({ kind: "results", rows });
  const reader = new Reader(fixture.dir);
  context.after(() => reader.close());
  const filter = { query: "temp_1m", fromUs: null, toUs: null, key: null, kind: null, limit: 9, after: null };
  assert.deepEqual(
    reader.results({ ...filter, revisions: "all" }).map(({ values }) => values),
    ['{"n":29}'],
  );
});

test("the two newest checkpoints are kept, the newest is recovered, older watermarks go", (context) => {
  const fixture = new StoreFixture(context);
  for (const seq of [1, 2, 3]) {
    const state = Uint8Array.of(seq);
    fixture.commit(
      { kind: "watermark", stream: "machines", timeUs: seq },
      { kind: "checkpoint", seq, state },
    );
  }
  const { recovered, sql } = fixture.reopen();
  assert.deepEqual(recovered.checkpoint, { seq: 3, state: Uint8Array.of(3), segments: null });
  assert.deepEqual(sql.oldestCheckpoint.get(), { seq: 2 });
  assert.deepEqual(log(fixture), [{ kind: "watermark", seq: 3, stream: "machines", timeUs: 3 }]);
});

test("ticks stand in the log in their place, page by page, and go with the checkpoint that has them", (context) => {
  const fixture = new StoreFixture(context);
  const tick = (atUs: number, isResume: boolean) =>
    ({ kind: "tick", stream: "machines", atUs, isResume }) as const;
  const block = makeBlock({ data: new Uint8Array(100) });
  fixture.commit(
    tick(5, true),
    makeBlockOperation({ block }),
    tick(6, false),
    makeBlockOperation({ block }),
    tick(7, false),
  );
  const page = (afterSeq: number) =>
    log(fixture, { afterSeq, maxBytes: 50 }).map(({ seq, kind }) => [seq, kind]);
  assert.deepEqual(page(0), [
    [1, "tick"],
    [2, "block"],
  ]);
  assert.deepEqual(page(2), [
    [3, "tick"],
    [4, "block"],
  ]);
  assert.deepEqual(log(fixture, { afterSeq: 4, maxBytes: 50 }), [{ ...tick(7, false), seq: 5 }]);
  for (const seq of [3, 5]) fixture.commit({ kind: "checkpoint", seq, state: new Uint8Array(1) });
  fixture.reopen();
  assert.deepEqual(
    log(fixture).map(({ seq, kind }) => [seq, kind]),
    [
      [2, "block"],
      [4, "block"],
      [5, "tick"],
    ],
  );
});

test("a correction writes its results and marks its late events once, in one", (context) => {
  const fixture = new StoreFixture(context);
  fixture.commit(makeBlockOperation({ skewed: makeBlock({ minUs: 10, maxUs: 20 }) }));
  fixture.commit({ kind: "late", stream: "machines", sourceSeq: 1, block: makeBlock(), atUs: 9 });
  fixture.commit({ kind: "results", rows: [makeResult()] });
  const reader = new Reader(fixture.dir);
  context.after(() => reader.close());
  const row = makeResult({ revision: 1, kind: "late", values: '{"n":6}' });
  const ids = (includesSkewed: boolean) =>
    reader.lateToApply("machines", 0, includesSkewed, 9).map(({ id }) => id);
  assert.deepEqual([ids(true), ids(false), reader.appliedSkew("machines", 0, 100)], [[1, 2], [2], []]);
  for (const atUs of [50, 60])
    fixture.commit({ kind: "correction", stream: "machines", rows: [row], lateIds: [1, 2], atUs });
  assert.deepEqual(ids(true), []);
  assert.deepEqual(
    reader.late("machines", 0, 9).map(({ appliedUs }) => appliedUs),
    [50, 50],
  );
  assert.deepEqual(reader.latestResult(row), {
    revision: 1,
    values: '{"n":6}',
    retracted: false,
  });
  assert.equal(reader.latestResult({ ...row, key: "{}" }), null);
  const near = (fromUs: number, toUs: number) => reader.appliedSkew("machines", fromUs, toUs).length;
  assert.deepEqual([near(0, 10), near(0, 11), near(20, 30), near(21, 30)], [0, 1, 1, 0]);
});

test("an empty checkpoint and an empty block are something, not nothing", (context) => {
  const fixture = new StoreFixture(context);
  const block = makeBlock({ data: new Uint8Array(0), count: 0 });
  fixture.commit(makeBlockOperation({ block }), { kind: "checkpoint", seq: 0, state: new Uint8Array(0) });
  assert.deepEqual(fixture.reopen().recovered.checkpoint, {
    seq: 0,
    state: new Uint8Array(0),
    segments: null,
  });
  assert.equal(log(fixture).length, 1);
});

test("the log is read in pages by bytes, in order, watermarks in their place", (context) => {
  const fixture = new StoreFixture(context);
  const block = makeBlock({ data: new Uint8Array(100) });
  for (let round = 0; round < 5; round++) {
    fixture.commit(makeBlockOperation({ block }), { kind: "watermark", stream: "machines", timeUs: "end" });
  }
  const pages: number[][] = [];
  for (let afterSeq = 0; ; ) {
    const page = log(fixture, { afterSeq, maxBytes: 150 }).map(({ seq }) => seq);
    pages.push(page);
    if (page.length === 0) break;
    afterSeq = page.at(-1)!;
  }
  assert.deepEqual(pages, [[1, 2, 3], [4, 5, 6, 7], [8, 9, 10], []]);
});

test("packed rows of one window, more than one statement takes, are upserted in whatever order they come", (context) => {
  const fixture = new StoreFixture(context);
  const rows = Array.from({ length: 200 }, (_, n) => makeResult({ key: `{"device":"m${(n * 77) % 200}"}` }));
  const revised = rows.slice(30, 170).map((row) => ({ ...row, values: '{"n":6}' }));
  const retracted = rows
    .slice(0, 70)
    .map((row): ResultRow => ({ ...row, revision: 1, kind: "late", retracted: true }));
  for (const part of [rows, revised, retracted]) {
    fixture.commit({ kind: "packed-results", packed: packedOf(packResults(part)) });
  }
  const reader = new Reader(fixture.dir);
  context.after(() => reader.close());
  const filter = { query: "temp_1m", fromUs: null, toUs: null, key: null, kind: null, limit: 1_000 };
  const stored = reader.results({ ...filter, after: null, revisions: "all" });
  const expected = [...rows.slice(0, 30), ...revised, ...rows.slice(170), ...retracted];
  const byKey = (a: ResultRow, b: ResultRow) =>
    a.key < b.key ? -1 : a.key > b.key ? 1 : a.revision - b.revision;
  assert.deepEqual(stored.sort(byKey), expected.sort(byKey));
});
