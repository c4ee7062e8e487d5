import assert from "node:assert/strict";
import { test } from "node:test";
import { Reader, type ResultFilter } from "../../workers/store/reader.ts";
import {
  makeBlock,
  makeBlockOperation,
  makeDeadLetter,
  makeResult,
  StoreFixture,
} from "../support/store-fixtures.ts";
import type { Cleanup } from "../support/temp-dir.ts";

const ALL: ResultFilter = {
  query: "temp_1m",
  fromUs: null,
  toUs: null,
  key: null,
  kind: null,
  revisions: "latest",
  limit: 100,
  after: null,
};

function openReader(context: Cleanup): { fixture: StoreFixture; reader: Reader } {
  const fixture = new StoreFixture(context);
  const reader = new Reader(fixture.dir);
  context.after(() => reader.close());
  return { fixture, reader };
}

test("blocks that overlap a half-open range come in the order of their earliest event", (context) => {
  const { fixture, reader } = openReader(context);
  const ranges: (readonly [number, number])[] = [
    [20, 29],
    [10, 25],
    [10, 12],
    [-7e16, -6e16],
    [2e17, 2.5e17],
  ];
  for (const [minUs, maxUs] of ranges)
    fixture.commit(makeBlockOperation({ block: makeBlock({ minUs, maxUs }) }));
  fixture.commit(makeBlockOperation({ stream: "doors" }));
  const seqs = (fromUs: number | null, toUs: number | null) =>
    reader.blocksOverlapping("machines", fromUs, toUs).map(({ seq }) => seq);
  assert.deepEqual(seqs(null, null), [4, 2, 3, 1, 5]);
  assert.deepEqual(seqs(12, 20), [2, 3]);
  assert.deepEqual(seqs(13, 20), [2]);
  assert.deepEqual(seqs(13, 21), [2, 1]);
  assert.deepEqual(seqs(30, null), [5]);
  assert.deepEqual(reader.blocksOverlapping("unknown", null, null), []);
  assert.deepEqual(reader.blocksOverlapping("machines", 29, 30), [
    { seq: 1, count: 10, minUs: 20, maxUs: 29 },
  ]);
});

test("a block is read by its seq, and is null once it is gone", (context) => {
  const { fixture, reader } = openReader(context);
  const block = makeBlock({ count: 1 });
  fixture.commit(makeBlockOperation({ block }), makeBlockOperation({ block }));
  assert.deepEqual(reader.block(2), { ...block, schema: [] });
  fixture.store.compaction.swap([1, 2], makeBlock({ count: 2 }));
  assert.equal(reader.block(2), null);
});

test("results: time range, kind, revisions", (context) => {
  const { fixture, reader } = openReader(context);
  const rows = [
    makeResult({ startUs: 0, endUs: 10 }),
    makeResult({ startUs: 10, endUs: 20 }),
    makeResult({ startUs: 10, endUs: 20, revision: 1, kind: "late" }),
    makeResult({ startUs: 20, endUs: 30 }),
    makeResult({ query: "other", startUs: 10, endUs: 20 }),
  ];
  fixture.commit({ kind: "results", rows });
  const read = (parts: Partial<ResultFilter>) =>
    reader.results({ ...ALL, ...parts }).map(({ startUs, revision }) => [startUs, revision]);
  assert.deepEqual(read({}), [
    [0, 0],
    [10, 1],
    [20, 0],
  ]);
  assert.deepEqual(read({ revisions: "all" }), [
    [0, 0],
    [10, 0],
    [10, 1],
    [20, 0],
  ]);
  assert.deepEqual(read({ fromUs: 10 }), [
    [10, 1],
    [20, 0],
  ]);
  assert.deepEqual(read({ fromUs: 9 }), [
    [0, 0],
    [10, 1],
    [20, 0],
  ]);
  assert.deepEqual(read({ toUs: 10 }), [[0, 0]]);
  assert.deepEqual(read({ fromUs: 29, toUs: 40 }), [[20, 0]]);
  assert.deepEqual(read({ kind: "late" }), [[10, 1]]);
  assert.deepEqual(read({ kind: "on-time", revisions: "all", fromUs: 10 }), [
    [10, 0],
    [20, 0],
  ]);
  assert.deepEqual(reader.results(ALL)[0], rows[0]);
  assert.deepEqual(read({ query: "unknown", fromUs: 3 }), []);
});

test("a query's windows are found by time after they were made longer or shorter", (context) => {
  const { fixture, reader } = openReader(context);
  const write = (startUs: number, endUs: number, key: string) =>
    fixture.commit({ kind: "results", rows: [makeResult({ startUs, endUs, key })] });
  const read = (fromUs: number) => reader.results({ ...ALL, fromUs }).map(({ key }) => key);
  write(0, 10, "short");
  write(0, 1_000, "long");
  assert.deepEqual(read(995), ["long"]);
  fixture.reopen();
  write(990, 1_000, "shorter again");
  assert.deepEqual(read(995), ["long", "shorter again"]);
  assert.deepEqual(read(1_000), []);
});

test("results by key: the whole key in any spelling of its JSON, or one of its values", (context) => {
  const { fixture, reader } = openReader(context);
  const keys = [
    '{"device":"m1","slot":2}',
    '{"device":"m2","on":true}',
    "{}",
    '{"device":"2"}',
    '{"a":null}',
  ];
  fixture.commit({ kind: "results", rows: keys.map((key) => makeResult({ key })) });
  const read = (key: string) => reader.results({ ...ALL, key }).map((row) => row.key);
  assert.deepEqual(read("m1"), [keys[0]]);
  assert.deepEqual(read('{ "device": "m1", "slot": 2 }'), [keys[0]]);
  assert.deepEqual(read("2").sort(), [keys[3], keys[0]]);
  assert.deepEqual(read("true"), [keys[1]]);
  assert.deepEqual(read("1"), []);
  assert.deepEqual(read("{}"), [keys[2]]);
  assert.deepEqual(read('{"a":null}'), [keys[4]]);
  assert.deepEqual(read("null"), []);
  assert.deepEqual(read("m1' OR 1=1 --"), []);
});

test("pages of results join without a gap or a double", (context) => {
  const { fixture, reader } = openReader(context);
  const rows = [0, 10, 20].flatMap((startUs) =>
    ["b", "a", "c"].flatMap((key) =>
      [0, 1].map((revision) => makeResult({ startUs, endUs: startUs + 10, key: `{"k":"${key}"}`, revision })),
    ),
  );
  fixture.commit({ kind: "results", rows });
  for (const revisions of ["latest", "all"] as const) {
    for (const fromUs of [null, 10]) {
      const whole = reader.results({ ...ALL, revisions, fromUs });
      const paged: unknown[] = [];
      let after: ResultFilter["after"] = null;
      for (;;) {
        const page = reader.results({ ...ALL, revisions, fromUs, limit: 5, after });
        const last = page.at(-1);
        if (last === undefined) break;
        paged.push(...page);
        after = last;
      }
      assert.deepEqual(paged, whole);
      assert.equal(whole.length, (fromUs === null ? 9 : 6) * (revisions === "all" ? 2 : 1));
    }
  }
});

test("late blocks, dead letters and losses are listed by stream and from a position on", (context) => {
  const { fixture, reader } = openReader(context);
  const block = makeBlock({ count: 3 });
  const deadLetters = [makeDeadLetter(1), makeDeadLetter(2)];
  fixture.commit(
    makeBlockOperation({ skewed: block, deadLetters }),
    makeBlockOperation({ stream: "doors", deadLetters, skewed: block }),
    { kind: "late", stream: "machines", sourceSeq: 1, block, atUs: 9 },
  );
  const late = (fromId: number, limit = 10) =>
    reader.late("machines", fromId, limit).map(({ sourceSeq, reason }) => [sourceSeq, reason]);
  assert.deepEqual(late(0), [
    [1, "clock-skew"],
    [1, "late"],
  ]);
  assert.deepEqual(late(0, 1), [[1, "clock-skew"]]);
  assert.deepEqual(late(2), [[1, "late"]]);
  assert.deepEqual(late(4), []);
  assert.deepEqual(reader.late("machines", 0, 10)[1], {
    id: 3,
    sourceSeq: 1,
    reason: "late",
    atUs: 9,
    appliedUs: null,
    block: { ...block, schema: [] },
  });
  const letters = (stream: string | null, afterId: number) =>
    reader.deadLetters(stream, afterId, 3).map((letter) => [letter.id, letter.stream, letter.line]);
  assert.deepEqual(letters(null, 0), [
    [1, "machines", 1],
    [2, "machines", 2],
    [3, "doors", 1],
  ]);
  assert.deepEqual(letters("doors", 3), [[4, "doors", 2]]);
  assert.deepEqual(reader.losses(null, 0, 10), []);
});
