import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import Database from "better-sqlite3";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { type LossKind, type LossReason, recordLoss } from "../../workers/store/ledger.ts";
import { LedgerTrim } from "../../workers/store/ledger-trim.ts";
import type { ClaimAnswer } from "../../workers/store/sync-operations.ts";
import { nativeCodec } from "../../workers/zstd.ts";
import { Random } from "../support/random.ts";
import { makeBlockOperation, NOW_US, StoreFixture } from "../support/store-fixtures.ts";

const DAY_US = 86_400e6;
const REASONS: readonly LossReason[] = ["downsampled", "given-up", "expired", "corrupt"];
const KINDS: readonly LossKind[] = ["events", "aggregates", "late", "dead-letters"];
const LARGE = { rows: 1e9, bytes: 1e9 };

interface Row {
  readonly id: number;
  readonly name: string;
  readonly day: number;
  readonly from_us: number;
  readonly to_us: number;
  readonly count: number;
  readonly bytes: number;
}

function setUp(context: TestContext) {
  const fixture = new StoreFixture(context);
  fixture.commit(makeBlockOperation(), makeBlockOperation({ stream: "doors" }));
  const db = new Database(databaseFile(fixture.dir));
  context.after(() => db.close());
  const rows = (): Row[] =>
    db
      .prepare(
        "SELECT id, concat_ws(' ', stream_id, reason, kind, subject) AS name," +
          ` at_us / ${DAY_US} AS day, from_us, to_us, count, bytes FROM losses ORDER BY id`,
      )
      .all() as Row[];
  return { fixture, db, rows };
}

/** What must not change: by stream, reason, kind and subject the whole range and the sums. */
function sums(rows: readonly Row[]): Map<string, unknown> {
  return new Map(
    [...Map.groupBy(rows, ({ name }) => name)].sort().map(([name, own]) => [
      name,
      {
        from: Math.min(...own.map(({ from_us }) => from_us)),
        to: Math.max(...own.map(({ to_us }) => to_us)),
        count: own.reduce((sum, { count }) => sum + count, 0),
        bytes: own.reduce((sum, { bytes }) => sum + bytes, 0),
      },
    ]),
  );
}

test("property: however many losses there are, the ledger stays short and every sum what it was", (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const { fixture, db, rows } = setUp(context);
  const trim = new LedgerTrim(db, 200);
  const written: Row[] = [];
  let atUs = NOW_US;
  for (let round = 0; round < 60; round++) {
    for (let n = 0; n < 40; n++) {
      atUs += random.integer(0, DAY_US / 20);
      const loss = {
        streamId: random.chance(0.1) ? null : random.integer(1, 2),
        fromUs: atUs - random.integer(0, DAY_US),
        toUs: atUs,
        count: random.integer(0, 1e6),
        bytes: random.integer(0, 1e6),
        reason: REASONS[random.integer(0, 3)]!,
        atUs,
        kind: KINDS[random.integer(0, 3)]!,
      };
      recordLoss(fixture.store.sql, loss);
    }
    written.push(...rows().slice(-40));
    trim.run();
    const left = rows();
    assert.equal(trim.look().rows, left.length);
    assert.equal(trim.look().lastId, written.length);
    assert.ok(left.length <= 250, `${left.length} rows`);
    assert.deepEqual(sums(left), sums(written));
    assert.deepEqual(left.slice(-40), written.slice(-40), "the newest are as they were written");
  }
});

test("rows of one day become one, of their stream, reason and kind alone; then of a month", (context) => {
  const { fixture, db, rows } = setUp(context);
  const trim = new LedgerTrim(db, 20);
  for (let n = 0; n < 30; n++) {
    const range = { streamId: 1 + (n % 2), fromUs: n, toUs: n + 1, count: 1, bytes: 10 };
    recordLoss(fixture.store.sql, { ...range, reason: "given-up", atUs: Math.floor(n / 10) * DAY_US + n });
  }
  trim.run();
  const [first, second, third] = rows();
  assert.deepEqual(
    [first, second].map((row) => [row?.id, row?.name, row?.from_us, row?.to_us, row?.count, row?.bytes]),
    [
      [1, "1 given-up events", 0, 9, 5, 50],
      [2, "2 given-up events", 1, 10, 5, 50],
    ],
  );
  assert.equal(third?.day, 1);
  assert.equal(trim.look().rows, 14);
});

test("rows on their way to a hub stay as they are; those that are not yet, and those it has, are merged apart", (context) => {
  const { fixture, db, rows } = setUp(context);
  fixture.store.sync.open({ sinks: ["hub"], priorities: {}, defaultPriority: 5 }, nativeCodec());
  const lose = (times: number): void => {
    for (let n = 0; n < times; n++) {
      const range = { streamId: 1, fromUs: n, toUs: n, count: 1, bytes: 1 };
      recordLoss(fixture.store.sql, { ...range, reason: "given-up", atUs: NOW_US });
    }
  };
  const claim = (most: number): ClaimAnswer =>
    fixture.store.sync.claim({
      sink: "hub",
      class: "losses",
      size: { rows: most, bytes: 1e9 },
      enough: { rows: 1, bytes: 1 },
      olderThanUs: 0,
    });
  lose(10);
  const delivered = claim(LARGE.rows) as ClaimAnswer & { kind: "claimed" };
  fixture.store.sync.settle([{ kind: "delivered", batch: delivered.batch.id }]);
  lose(5);
  const open = claim(LARGE.rows) as ClaimAnswer & { kind: "claimed" };
  assert.equal(open.batch.rows, 5);
  lose(20);
  new LedgerTrim(db, 10).run();
  const left = rows();
  assert.deepEqual(
    left.map(({ id, count }) => [id, count]),
    [
      [1, 10],
      ...[11, 12, 13, 14, 15].map((id) => [id, 1]),
      [16, 15],
      ...[31, 32, 33, 34, 35].map((id) => [id, 1]),
    ],
  );
  const rest = claim(LARGE.rows) as ClaimAnswer & { kind: "claimed" };
  assert.equal(rest.batch.rows, 6);
});

test("the store trims its ledger while it looks after the buffer, and says how many rows there are", (context) => {
  const { fixture } = setUp(context);
  fixture.store.sql.begin.run();
  for (let n = 0; n < 10_500; n++) {
    const range = { streamId: 1, fromUs: n, toUs: n, count: 0, bytes: 1 };
    recordLoss(fixture.store.sql, { ...range, reason: "given-up", kind: "aggregates", atUs: NOW_US });
  }
  fixture.store.sql.commit.run();
  const settings = {
    capBytes: null,
    retentionUs: 1e15,
    expiresUnsynced: false,
    priorities: [],
    defaultPriority: 5,
  };
  const { losses, lastLoss } = fixture.store.buffer.maintain({ settings, nowUs: NOW_US, budgetMs: 1_000 });
  assert.equal(lastLoss, 10_500);
  assert.equal(losses, 5_001);
});
