import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import Database from "better-sqlite3";
import { BlockInspector } from "../../workers/store/block-inspector.ts";
import { BLOCK_STATE, lastClaimed } from "../../workers/store/block-states.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { OldestBlocks, SYNCED } from "../../workers/store/oldest-blocks.ts";
import { examine } from "../../workers/store/repair/examine.ts";
import { ITEMS } from "../../workers/sync/sync-reader.ts";
import { nativeCodec } from "../../workers/zstd.ts";
import { makeBlockOperation, NOW_US, StoreFixture } from "../support/store-fixtures.ts";

const SIZE = { rows: 1e9, bytes: 1e9 };

function prepare(context: TestContext) {
  const fixture = new StoreFixture(context);
  const db = new Database(databaseFile(fixture.dir));
  context.after(() => db.close());
  const { sync } = fixture.store;
  sync.open({ sinks: ["hub"], priorities: {}, defaultPriority: 5 }, nativeCodec());
  const claim = (rows: number) => {
    const size = { ...SIZE, rows };
    const enough = { rows: 1, bytes: 1 };
    const answer = sync.claim({ sink: "hub", class: "events", size, enough, olderThanUs: 0 });
    assert.equal(answer.kind, "claimed");
    return (answer as typeof answer & { kind: "claimed" }).batch.id;
  };
  const deliver = (batch: number) => sync.settle([{ kind: "delivered", batch }]);
  const states = () => db.prepare(`SELECT ${BLOCK_STATE} FROM blocks ORDER BY seq`).pluck().all();
  const own = () => db.prepare("SELECT DISTINCT state FROM blocks").pluck().all();
  return { fixture, db, claim, deliver, states, own };
}

test("what sync makes of blocks is not written into their rows, and is forgotten with them", (context) => {
  const { fixture, db, claim, deliver, states, own } = prepare(context);
  fixture.commit(makeBlockOperation(), makeBlockOperation(), makeBlockOperation());
  deliver(claim(1));
  claim(1);
  assert.deepEqual([states(), own()], [["synced", "syncing", "pending"], ["pending"]]);
  const oldest = new OldestBlocks(db);
  const seqs = (found: readonly { seq: number }[]): number[] => found.map(({ seq }) => seq);
  assert.deepEqual([seqs(oldest.synced([1], 9, 9)), seqs(oldest.pending([1], 9, 9))], [[1], [3]]);
  assert.deepEqual([seqs(oldest.raw(1, 0, 9, 9)), seqs(oldest.pending([1], 2, 9))], [[3], []]);
  db.exec("DELETE FROM blocks WHERE seq = 1");
  assert.deepEqual(db.prepare("SELECT seq, state FROM block_states").raw().all(), [[2, "syncing"]]);
});

test("what an earlier release has claimed or sent goes on as it stands", (context) => {
  const { fixture, db, claim, deliver, states } = prepare(context);
  fixture.commit(makeBlockOperation(), makeBlockOperation(), makeBlockOperation());
  deliver(claim(1));
  const batch = claim(1);
  db.exec(
    "DELETE FROM block_states; UPDATE blocks SET state = 'synced' WHERE seq = 1; UPDATE blocks SET state = 'syncing' WHERE seq = 2",
  );
  assert.deepEqual(states(), ["synced", "syncing", "pending"]);
  deliver(batch);
  assert.deepEqual(states(), ["synced", "synced", "pending"]);
  deliver(claim(1));
  const synced = new OldestBlocks(db).synced([1], 9, 9);
  assert.deepEqual(
    synced.map(({ seq }) => seq),
    [1, 2, 3],
  );
});

test("states that a damaged page took along are made anew", async (context) => {
  const { fixture, db, claim, deliver, states } = prepare(context);
  fixture.commit(...Array.from({ length: 4 }, () => makeBlockOperation()));
  deliver(claim(1));
  const batch = claim(1);
  claim(1);
  const before = states();
  db.exec("DELETE FROM block_states; INSERT INTO block_states VALUES (99, 'synced')");
  const inspector = await BlockInspector.create();
  const look = (mode: "look" | "repair") =>
    examine(db, { inspector, seal: null, mode, nowUs: NOW_US })
      .findings.filter(({ check }) => check === "states")
      .map(({ message }) => message);
  const findings = [
    "1 states are none that there is, or of no block",
    "the state of 3 blocks that sync has claimed is lost",
  ];
  assert.deepEqual([look("look"), look("repair"), look("look")], [findings, findings, []]);
  assert.deepEqual(states(), before);
  db.exec("DELETE FROM block_states");
  deliver(batch);
  assert.deepEqual(db.prepare("SELECT seq, state FROM block_states").raw().all(), [[2, "synced"]]);
});

test("a batch is read as its items lie: no row is sorted, with its data in a file", (context) => {
  const { db } = prepare(context);
  for (const [kind, sql] of Object.entries(ITEMS)) {
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(1) as { detail: string }[];
    assert.ok(plan.length > 0);
    assert.deepEqual(
      plan.filter(({ detail }) => detail.includes("TEMP B-TREE")),
      [],
      kind,
    );
  }
});

test("what nobody has claimed is looked for behind the places of sinks alone", (context) => {
  const { fixture, db, claim } = prepare(context);
  fixture.commit(...Array.from({ length: 4 }, () => makeBlockOperation()));
  claim(1);
  claim(1);
  const place = db.prepare(`SELECT ${lastClaimed("@stream")}`).pluck();
  assert.deepEqual([place.get({ stream: 1 }), place.get({ stream: 2 })], [2, 0]);
  // Without their states only the place tells that these are in a batch.
  db.exec("DELETE FROM block_states");
  const oldest = new OldestBlocks(db);
  const seqs = (found: readonly { seq: number }[]): number[] => found.map(({ seq }) => seq);
  assert.deepEqual(
    [seqs(oldest.pending([1], 9, 9)), seqs(oldest.raw(1, 0, 9, 9))],
    [
      [3, 4],
      [3, 4],
    ],
  );
  const plan = db.prepare(`EXPLAIN QUERY PLAN SELECT ${lastClaimed("@stream")}`).all({ stream: 1 });
  const details = (plan as { detail: string }[]).map(({ detail }) => detail);
  assert.ok(details.includes("SEARCH p USING PRIMARY KEY (sink=? AND flow=?)"), details.join("; "));
});

test("what all sinks have is found without a look at what one of them has not got", (context) => {
  const { db } = prepare(context);
  const plan = db.prepare(`EXPLAIN QUERY PLAN ${SYNCED}`).all({ upToSeq: 9, limit: 9 });
  const details = (plan as { detail: string }[]).map(({ detail }) => detail);
  assert.deepEqual(details, [
    "SEARCH x USING COVERING INDEX block_states_synced (seq<?)",
    "SEARCH blocks USING INTEGER PRIMARY KEY (rowid=?)",
  ]);
});

test("a seq that a sink has come past is not given again when the rows that say so are lost", async (context) => {
  const { fixture, db, claim, deliver } = prepare(context);
  fixture.commit(...Array.from({ length: 3 }, () => makeBlockOperation()));
  for (let batch = 0; batch < 3; batch++) deliver(claim(1));
  // All of it was sent and evicted, then the page of streams is damaged.
  db.exec("PRAGMA foreign_keys = OFF; DELETE FROM blocks; DELETE FROM streams; DELETE FROM schemas");
  const inspector = await BlockInspector.create();
  examine(db, { inspector, seal: null, mode: "repair", nowUs: NOW_US });
  fixture.reopen();
  const { sync } = fixture.store;
  sync.open({ sinks: ["hub"], priorities: {}, defaultPriority: 5 }, nativeCodec());
  assert.deepEqual(fixture.commit(makeBlockOperation()), [{ kind: "committed", seq: 4 }]);
  const enough = { rows: 1, bytes: 1 };
  const answer = sync.claim({ sink: "hub", class: "events", size: SIZE, enough, olderThanUs: 0 });
  assert.equal(answer.kind, "claimed");
});
