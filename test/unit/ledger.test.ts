import assert from "node:assert/strict";
import { test } from "node:test";
import Database from "better-sqlite3";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { checkBalance, imbalanceOf, readLedgers } from "../../workers/store/ledger.ts";
import { Reader } from "../../workers/store/reader.ts";
import {
  makeBlock,
  makeBlockOperation,
  makeDeadLetter,
  makeResult,
  NOW_US,
  StoreFixture,
} from "../support/store-fixtures.ts";

test("the counters are those of the tables, and a counter or row that was tampered with is named", (context) => {
  const fixture = new StoreFixture(context);
  fixture.commit(makeBlockOperation(), makeBlockOperation({ deadLetters: [makeDeadLetter(1)] }));
  const db = new Database(databaseFile(fixture.dir));
  context.after(() => db.close());
  assert.deepEqual(checkBalance(db), []);
  assert.deepEqual(readLedgers(db), [
    {
      stream: "machines",
      accepted: 20,
      held: 20,
      evicted: 0,
      downsampled: 0,
      givenUp: 0,
      expired: 0,
      corrupt: 0,
      late: 0,
      clockSkewed: 0,
      deadLettered: 1,
    },
  ]);
  db.exec("DELETE FROM blocks WHERE seq = 1");
  assert.deepEqual(checkBalance(db), [{ stream: "machines", counter: "held", counted: 20, found: 10 }]);
  db.exec("UPDATE streams SET held = 10");
  assert.deepEqual(checkBalance(db), [{ stream: "machines", counter: "accepted", counted: 20, found: 10 }]);
  assert.equal(imbalanceOf(readLedgers(db)[0]!), 10);
});

test("data beyond the retention expires or is evicted, and says up to which time events are gone", (context) => {
  const fixture = new StoreFixture(context);
  const settings = {
    capBytes: null,
    retentionUs: 60e6,
    expiresUnsynced: true,
    priorities: [],
    defaultPriority: 5,
  };
  const block = makeBlock({ minUs: NOW_US, maxUs: NOW_US + 5 });
  fixture.commit(makeBlockOperation({ block }), makeBlockOperation({ stream: "doors", block }));
  fixture.commit({ kind: "checkpoint", seq: 2, state: new Uint8Array(1) });
  const reader = new Reader(fixture.dir);
  context.after(() => reader.close());
  assert.equal(reader.goneUs("machines"), null);
  const db = new Database(databaseFile(fixture.dir));
  context.after(() => db.close());
  db.exec("UPDATE blocks SET state = 'synced' WHERE seq = 2");
  const soon = fixture.store.buffer.maintain({ settings, nowUs: NOW_US + 60e6, budgetMs: 1_000 });
  assert.equal(soon.losses, 0, "nothing is older than the retention yet");
  const later = fixture.store.buffer.maintain({ settings, nowUs: NOW_US + 61e6, budgetMs: 1_000 });
  assert.deepEqual(
    later.ledgers.map(({ stream, held, evicted, expired }) => ({ stream, held, evicted, expired })),
    [
      { stream: "machines", held: 0, evicted: 0, expired: 10 },
      { stream: "doors", held: 0, evicted: 10, expired: 0 },
    ],
  );
  assert.deepEqual(
    reader.losses(null, 0, 10).map(({ stream, count, reason, kind }) => ({ stream, count, reason, kind })),
    [{ stream: "machines", count: 10, reason: "expired", kind: "events" }],
  );
  assert.deepEqual([reader.goneUs("machines"), reader.goneUs("doors")], [NOW_US + 5, NOW_US + 5]);
  assert.deepEqual(checkBalance(db), []);
});

test("without a retention that was set, what nobody has stays whatever its age; results and alerts go with one", (context) => {
  const fixture = new StoreFixture(context);
  const settings = {
    capBytes: null,
    retentionUs: 60e6,
    expiresUnsynced: false,
    priorities: [],
    defaultPriority: 5,
  };
  fixture.commit(makeBlockOperation(), { kind: "results", rows: [makeResult()] });
  fixture.commit({ kind: "checkpoint", seq: 1, state: new Uint8Array(1) });
  const nowUs = NOW_US + 3_600e6;
  const kept = fixture.store.buffer.maintain({ settings, nowUs, budgetMs: 1_000 });
  assert.equal(kept.ledgers[0]?.held, 10);
  assert.equal(kept.losses, 0);
  fixture.store.buffer.maintain({ settings: { ...settings, expiresUnsynced: true }, nowUs, budgetMs: 1_000 });
  const reader = new Reader(fixture.dir);
  context.after(() => reader.close());
  assert.deepEqual(
    reader.losses(null, 0, 10).map(({ stream, subject, kind, count }) => ({ stream, subject, kind, count })),
    [
      { stream: "machines", subject: null, kind: "events", count: 10 },
      { stream: null, subject: "temp_1m", kind: "results", count: 1 },
    ],
  );
});

test("blocks that came while the clock was ahead keep nothing from expiring, and go with those that came after", (context) => {
  const fixture = new StoreFixture(context);
  const settings = {
    capBytes: null,
    retentionUs: 60e6,
    expiresUnsynced: true,
    priorities: [],
    defaultPriority: 5,
  };
  const ahead = NOW_US + 365 * 86_400e6;
  const events = { minUs: ahead, maxUs: ahead };
  for (let n = 0; n < 150; n++)
    fixture.commit(makeBlockOperation({ block: makeBlock(events), arrivalUs: ahead + n }));
  for (let n = 0; n < 5; n++) fixture.commit(makeBlockOperation({ block: makeBlock() }));
  fixture.commit({ kind: "checkpoint", seq: 155, state: new Uint8Array(1) });
  const { buffer } = fixture.store;
  const held = (nowUs: number): number | undefined =>
    buffer.maintain({ settings, nowUs, budgetMs: 1_000 }).ledgers[0]?.held;
  assert.equal(held(NOW_US + 59e6), 1_550, "none is older than the retention");
  assert.equal(held(NOW_US + 61e6), 0);
  const db = new Database(databaseFile(fixture.dir));
  context.after(() => db.close());
  assert.deepEqual(checkBalance(db), []);
});
