import assert from "node:assert/strict";
import { test } from "node:test";
import Database from "better-sqlite3";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { checkBalance, imbalanceOf, readLedgers } from "../../workers/store/ledger.ts";
import { makeBlockOperation, makeDeadLetter, StoreFixture } from "../support/store-fixtures.ts";

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
