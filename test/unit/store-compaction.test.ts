import assert from "node:assert/strict";
import { test } from "node:test";
import { Compaction } from "../../workers/store/compaction.ts";
import { openForWriting } from "../../workers/store/database.ts";
import { readLog } from "../../workers/store/log-reader.ts";
import { prepareStatements, type Statements } from "../../workers/store/statements.ts";
import { StreamTable } from "../../workers/store/stream-table.ts";
import { makeBlock, makeBlockOperation, StoreFixture } from "../support/store-fixtures.ts";

const TARGET_BYTES = 1_000;

/** Commits blocks of so many bytes, and the two checkpoints without which none may be merged. */
function fill(fixture: StoreFixture, sizes: readonly number[], stream = "machines"): void {
  for (const size of sizes) {
    fixture.commit(
      makeBlockOperation({ stream, block: makeBlock({ data: new Uint8Array(size), count: 1 }) }),
    );
  }
}

function checkpointTwice(fixture: StoreFixture, seq: number): void {
  for (const at of [seq, seq + 1]) fixture.commit({ kind: "checkpoint", seq: at, state: new Uint8Array(1) });
}

function seqsOfGroups({ store }: StoreFixture, upToSeq: number): (readonly number[])[] {
  return store.compaction.listSmall(upToSeq, TARGET_BYTES).map(({ seqs }) => seqs);
}

test("small blocks of a stream make groups of the target size; large ones stay out", (context) => {
  const fixture = new StoreFixture(context);
  fill(fixture, [400, 400, 800, 400, 400]);
  fill(fixture, [499, 499, 499], "doors");
  checkpointTwice(fixture, 8);
  const groups = fixture.store.compaction.listSmall(8, TARGET_BYTES);
  assert.deepEqual(
    groups.map(({ stream, seqs, blocks }) => [stream, seqs, blocks.map(({ data }) => data.length)]),
    [
      ["machines", [1, 2, 4], [400, 400, 400]],
      ["doors", [6, 7, 8], [499, 499, 499]],
    ],
  );
});

test("a run short of the target waits until it is long", (context) => {
  const fixture = new StoreFixture(context);
  fill(fixture, Array<number>(15).fill(1));
  checkpointTwice(fixture, 16);
  assert.deepEqual(seqsOfGroups(fixture, 16), []);
  fill(fixture, [1]);
  assert.equal(seqsOfGroups(fixture, 16)[0]?.length, 16);
});

test("small blocks are found behind any number of those that are on their way to the hub", (context) => {
  const fixture = new StoreFixture(context);
  fixture.commit(...Array.from({ length: 1_100 }, () => makeBlockOperation({})));
  checkpointTwice(fixture, 1_100);
  const db = openForWriting(fixture.dir);
  db.exec("UPDATE blocks SET state = 'syncing' WHERE seq BETWEEN 11 AND 1080");
  db.close();
  const [seqs] = seqsOfGroups(fixture, 1_100);
  assert.deepEqual(seqs, [
    ...Array.from({ length: 10 }, (_, index) => index + 1),
    ...Array.from({ length: 20 }, (_, index) => index + 1_081),
  ]);
});

test("a look for small blocks goes through the index once, and past what is on its way to a sink without looking it up", (context) => {
  const fixture = new StoreFixture(context);
  fixture.commit(...Array.from({ length: 1_100 }, () => makeBlockOperation({})));
  checkpointTwice(fixture, 1_100);
  const db = openForWriting(fixture.dir);
  context.after(() => db.close());
  const sql = prepareStatements(db);
  const asked = { smallSeqs: 0, smallBlocks: 0 };
  const counted = (name: keyof typeof asked): Statements["smallSeqs"] =>
    ({
      all: (...values: unknown[]) => {
        asked[name]++;
        return sql[name].all(...values);
      },
    }) as unknown as Statements["smallSeqs"];
  const counting = { ...sql, smallSeqs: counted("smallSeqs"), smallBlocks: counted("smallBlocks") };
  const compaction = new Compaction(db, counting, new StreamTable(sql));
  db.exec("INSERT INTO block_states SELECT seq, 'syncing' FROM blocks WHERE seq BETWEEN 11 AND 1100");
  assert.deepEqual(
    [compaction.listSmall(1_100, TARGET_BYTES), asked],
    [[], { smallSeqs: 1, smallBlocks: 1 }],
  );
  db.exec("DELETE FROM block_states WHERE seq > 600");
  const [group, next] = compaction.listSmall(1_100, 1e6);
  assert.deepEqual([group?.seqs[10], group?.seqs.length, next?.seqs.length], [601, 256, 254]);
  assert.equal(asked.smallSeqs, 2);
});

test("what a replay may read is never merged: not beyond the seq asked for, nor the oldest checkpoint", (context) => {
  const fixture = new StoreFixture(context);
  fill(fixture, Array<number>(9).fill(400));
  assert.deepEqual(seqsOfGroups(fixture, 9), []);
  fixture.commit({ kind: "checkpoint", seq: 6, state: new Uint8Array(1) });
  fixture.commit({ kind: "checkpoint", seq: 9, state: new Uint8Array(1) });
  assert.deepEqual(seqsOfGroups(fixture, 9), [
    [1, 2, 3],
    [4, 5, 6],
  ]);
  assert.deepEqual(seqsOfGroups(fixture, 4), [[1, 2, 3]]);
});

test("a swap puts the merged block at the first seq, and counts follow", (context) => {
  const fixture = new StoreFixture(context);
  fill(fixture, [400, 400, 400]);
  const into = makeBlock({ data: new Uint8Array(700), count: 3 });
  assert.equal(fixture.store.compaction.swap([3, 1, 2], into), true);
  const log = readLog(fixture.store.sql, 0, 1e9);
  assert.deepEqual(
    log.map((entry) => entry.kind === "block" && [entry.seq, entry.block]),
    [[1, { ...into, schema: [] }]],
  );
  const { counts } = fixture.reopen().recovered.streams[0]!;
  assert.deepEqual([counts.accepted, counts.blocks, counts.storedBytes], [3, 1, 700]);
});

test("a swap that would lose or double events does nothing", (context) => {
  const fixture = new StoreFixture(context);
  fill(fixture, [400, 400]);
  fill(fixture, [400], "doors");
  const { compaction, sql } = fixture.store;
  const isSwapped = (seqs: readonly number[], count: number) => compaction.swap(seqs, makeBlock({ count }));
  assert.deepEqual(
    [
      isSwapped([], 0),
      isSwapped([1, 2], 1),
      isSwapped([1, 2, 9], 3),
      isSwapped([2, 3], 2),
      isSwapped([1, 1], 2),
    ],
    [false, false, false, false, false],
  );
  assert.deepEqual(
    readLog(sql, 0, 1e9).map(({ seq }) => seq),
    [1, 2, 3],
  );
  assert.equal(isSwapped([1, 2], 2), true);
  assert.equal(isSwapped([1, 2], 2), false);
});

test("a group takes more blocks than are looked up at once, in their order and without a gap", (context) => {
  const fixture = new StoreFixture(context);
  fill(fixture, Array<number>(300).fill(1));
  checkpointTwice(fixture, 300);
  const [first, second] = seqsOfGroups(fixture, 300);
  assert.deepEqual(
    first,
    Array.from({ length: 256 }, (_, at) => at + 1),
  );
  assert.deepEqual(
    second,
    Array.from({ length: 44 }, (_, at) => at + 257),
  );
});
