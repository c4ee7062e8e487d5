import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import Database from "better-sqlite3";
import fc from "fast-check";
import type { CommitOperation } from "../../workers/messages.ts";
import { NO_SEAL } from "../../workers/seal/seal.ts";
import { BLOCK_STATE } from "../../workers/store/block-states.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { Outbox } from "../../workers/store/outbox.ts";
import { prepareStatements } from "../../workers/store/statements.ts";
import { StreamTable } from "../../workers/store/stream-table.ts";
import type { ClaimAnswer, SyncClass, SyncOutcome } from "../../workers/store/sync-operations.ts";
import { SyncStore } from "../../workers/store/sync-store.ts";
import { nativeCodec } from "../../workers/zstd.ts";
import {
  makeBlock,
  makeBlockOperation,
  makeResult,
  NOW_US,
  StoreFixture,
} from "../support/store-fixtures.ts";

const RUNS = Number(process.env.MILLRACE_RUNS ?? 60);
const codec = nativeCodec();
const ANY = { rows: 1, bytes: 1 };
const LARGE = { rows: 1e9, bytes: 1e9 };

function open(fixture: StoreFixture, ...sinks: string[]) {
  return fixture.store.sync.open({ sinks, priorities: {}, defaultPriority: 5 }, codec);
}

function claim(fixture: StoreFixture, kind: SyncClass, sink = "hub", rows = 1e9): ClaimAnswer {
  const size = { rows, bytes: 1e9 };
  return fixture.store.sync.claim({ sink, class: kind, size, enough: ANY, olderThanUs: 0 });
}

function claimed(answer: ClaimAnswer) {
  assert.equal(answer.kind, "claimed");
  return (answer as ClaimAnswer & { kind: "claimed" }).batch;
}

function inspect(fixture: StoreFixture) {
  const db = new Database(join(fixture.dir, "millrace.db"), { readonly: true });
  const states = db.prepare(`SELECT ${BLOCK_STATE} FROM blocks ORDER BY seq`).pluck().all();
  const rows = (table: string): number =>
    (db.prepare(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n;
  const result = { states, outbox: rows("outbox"), queue: rows("outbox_queue"), items: rows("sync_items") };
  db.close();
  return result;
}

test("a block is pending, syncing, synced; a restart sends the very same batch", (context) => {
  const fixture = new StoreFixture(context);
  open(fixture, "hub");
  fixture.commit(makeBlockOperation(), makeBlockOperation());
  const batch = claimed(claim(fixture, "events"));
  assert.deepEqual([batch.items, batch.rows], [2, 20]);
  assert.deepEqual(inspect(fixture).states, ["syncing", "syncing"]);
  fixture.commit(makeBlockOperation());
  fixture.reopen();
  const { unsettled } = open(fixture, "hub");
  assert.deepEqual(
    unsettled.map(({ id, items }) => [id, items]),
    [[batch.id, 2]],
  );
  const next = claimed(claim(fixture, "events"));
  assert.equal(next.items, 1);
  fixture.store.sync.settle([
    { kind: "delivered", batch: batch.id },
    { kind: "delivered", batch: next.id },
  ]);
  const after = inspect(fixture);
  assert.deepEqual([after.states, after.items], [["synced", "synced", "synced"], 0]);
  assert.equal(claim(fixture, "events").kind, "nothing");
});

test("a claim and what became of other batches are one transaction; without a claim it may wait", (context) => {
  const fixture = new StoreFixture(context);
  open(fixture, "hub");
  fixture.commit(makeBlockOperation());
  const first = claimed(claim(fixture, "events"));
  const outcomes: SyncOutcome[] = [{ kind: "delivered", batch: first.id }];
  const claims = (["alerts", "events", "results"] as const).map((kind) => ({
    ...{ sink: "hub", class: kind, size: LARGE, enough: ANY, olderThanUs: 0 },
  }));
  let writes = 0;
  const advance = (mustSettle: boolean) =>
    fixture.store.sync.advance({ outcomes, claims, mustSettle }, () => writes++);
  assert.deepEqual(advance(false), {
    answers: [{ kind: "nothing" }, { kind: "nothing" }, { kind: "nothing" }],
    isSettled: false,
    resumed: [],
  });
  assert.deepEqual([inspect(fixture).states, writes], [["syncing"], 0]);
  fixture.commit(makeBlockOperation());
  const { answers, isSettled } = advance(false);
  assert.deepEqual([answers.map(({ kind }) => kind), isSettled, writes], [["nothing", "claimed"], true, 1]);
  assert.deepEqual(inspect(fixture).states, ["synced", "syncing"]);
  const second = claimed(answers[1]!);
  // What cannot be written takes the claim beside it along.
  fixture.commit(makeBlockOperation());
  const broken = [{ kind: "delivered", batch: second.id, sums: [{}] }] as unknown as SyncOutcome[];
  assert.throws(() => fixture.store.sync.advance({ outcomes: broken, claims, mustSettle: true }));
  assert.deepEqual(inspect(fixture).states, ["synced", "syncing", "pending"]);
  assert.equal(advance(true).isSettled, true);
  assert.deepEqual(inspect(fixture).states, ["synced", "syncing", "syncing"]);
});

test("what is on its way is not merged, and blocks of two states are not merged with each other", (context) => {
  const fixture = new StoreFixture(context);
  open(fixture, "hub");
  const put = (count: number): void => {
    for (let n = 0; n < count; n++) fixture.commit(makeBlockOperation());
  };
  const list = (): number[] => fixture.store.compaction.listSmall(1e9, 1e6).map(({ seqs }) => seqs.length);
  put(20);
  const first = claimed(claim(fixture, "events"));
  put(20);
  fixture.store.sync.settle([{ kind: "delivered", batch: first.id }]);
  put(20);
  fixture.commit({ kind: "watermark", stream: "machines", timeUs: 5 });
  const db = new Database(join(fixture.dir, "millrace.db"));
  db.prepare("INSERT OR REPLACE INTO checkpoints (seq, at_us, state) VALUES (1000, 0, x'00')").run();
  db.close();
  assert.deepEqual(list(), [20, 40]);
  claimed(claim(fixture, "events"));
  assert.deepEqual(list(), [20]);
  const seqs = Array.from({ length: 20 }, (_, n) => 21 + n);
  assert.equal(fixture.store.compaction.swap(seqs, makeBlock({ count: 200 })), false);
});

test("results and alerts wait in the outbox only while there is a sink, and go once every sink has them", (context) => {
  const fixture = new StoreFixture(context);
  const results = (n: number): CommitOperation => ({
    kind: "results",
    rows: [makeResult({ startUs: n, endUs: n + 1 })],
  });
  open(fixture);
  fixture.commit(results(1));
  assert.equal(inspect(fixture).outbox, 0);
  open(fixture, "hub", "file");
  fixture.commit(results(2), results(3));
  assert.deepEqual([inspect(fixture).outbox, inspect(fixture).queue], [2, 4]);
  const one = claimed(claim(fixture, "results", "hub", 1));
  assert.equal(one.items, 1);
  fixture.store.sync.settle([{ kind: "delivered", batch: one.id }]);
  assert.equal(inspect(fixture).outbox, 2, "the other sink has it not");
  const all = claimed(claim(fixture, "results", "file"));
  assert.deepEqual([all.items, all.rows], [3, 3], "and what was stored before");
  fixture.store.sync.settle([{ kind: "delivered", batch: all.id }]);
  assert.equal(inspect(fixture).outbox, 1);
  // The sink that lacks it is no more.
  open(fixture, "file");
  assert.deepEqual([inspect(fixture).outbox, inspect(fixture).queue], [0, 0]);
});

test("a sink that comes gets what is not synced; without sinks everything is pending again", (context) => {
  const fixture = new StoreFixture(context);
  open(fixture, "hub");
  fixture.commit(makeBlockOperation(), makeBlockOperation());
  const done = claimed(claim(fixture, "events", "hub", 1));
  fixture.store.sync.settle([{ kind: "delivered", batch: done.id }]);
  open(fixture, "hub", "file");
  assert.equal(claimed(claim(fixture, "events", "file")).items, 1);
  const last = claimed(claim(fixture, "events", "hub"));
  fixture.store.sync.settle([{ kind: "delivered", batch: last.id }]);
  assert.deepEqual(inspect(fixture).states, ["synced", "syncing"]);
  open(fixture);
  assert.deepEqual(inspect(fixture).states, ["synced", "pending"]);
});

test("less than enough waits for its age, and what is left after large batches is enough", (context) => {
  const fixture = new StoreFixture(context);
  open(fixture, "hub");
  fixture.commit(makeBlockOperation());
  const ask = (rows: number, olderThanUs: number): string =>
    fixture.store.sync.claim({
      sink: "hub",
      class: "events",
      size: LARGE,
      enough: { rows, bytes: 1e9 },
      olderThanUs,
    }).kind;
  assert.equal(ask(11, NOW_US - 1), "waiting");
  assert.equal(ask(10, NOW_US - 1), "claimed");
  fixture.commit(makeBlockOperation());
  assert.equal(ask(11, NOW_US), "claimed");
});

/** Any order of events of two sinks: nothing is in two batches of a sink, nothing is lost, and all ends as synced. */
test("whatever the order of commits, claims, failures, splits and restarts: each sink gets each item once", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("block" as const), count: fc.integer({ min: 1, max: 9 }) }),
    fc.record({ kind: fc.constant("result" as const) }),
    fc.record({
      kind: fc.constant("claim" as const),
      sink: fc.constantFrom("a", "b"),
      class: fc.constantFrom("events" as const, "results" as const),
      rows: fc.integer({ min: 1, max: 30 }),
    }),
    fc.record({
      kind: fc.constantFrom("deliver" as const, "fail" as const, "split" as const),
      pick: fc.nat(),
    }),
    fc.record({ kind: fc.constant("restart" as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const tasks: (() => void | Promise<void>)[] = [];
      const fixture = new StoreFixture({ after: (task) => tasks.push(task) });
      try {
        open(fixture, "a", "b");
        let live = new Map<number, { sink: string; class: SyncClass; rows: number }>();
        const got: Record<string, number> = {};
        let [events, results] = [0, 0];
        const settle = (outcome: SyncOutcome): void => {
          for (const batch of fixture.store.sync.settle([outcome])) live.set(batch.id, batch);
        };
        const take = (sink: string, kind: SyncClass, rows: number): boolean => {
          const answer = claim(fixture, kind, sink, rows);
          if (answer.kind === "claimed") live.set(answer.batch.id, answer.batch);
          return answer.kind === "claimed";
        };
        const deliver = (id: number): void => {
          const batch = live.get(id)!;
          const name = `${batch.sink} ${batch.class}`;
          got[name] = (got[name] ?? 0) + batch.rows;
          live.delete(id);
          settle({ kind: "delivered", batch: id });
        };
        for (const each of steps) {
          if (each.kind === "block") {
            events += each.count;
            fixture.commit(makeBlockOperation({ block: makeBlock({ count: each.count }) }));
          } else if (each.kind === "result") {
            results++;
            fixture.commit({ kind: "results", rows: [makeResult({ startUs: results, endUs: results + 1 })] });
          } else if (each.kind === "claim") take(each.sink, each.class, each.rows);
          else if (each.kind === "restart") {
            fixture.reopen();
            const { unsettled } = open(fixture, "a", "b");
            assert.deepEqual(
              unsettled.map(({ id, rows }) => [id, rows]).sort(),
              [...live].map(([id, { rows }]) => [id, rows]).sort(),
            );
          } else {
            const id = [...live.keys()][each.pick % Math.max(1, live.size)];
            if (id === undefined) continue;
            if (each.kind === "deliver") deliver(id);
            else if (each.kind === "fail")
              settle({ kind: "failed", batch: id, strikes: 1, nextAtUs: 5, reason: "no" });
            else {
              live.delete(id);
              settle({ kind: "split", batch: id, reason: "bad" });
            }
          }
        }
        for (const sink of ["a", "b"])
          for (const kind of ["events", "results"] as const) while (take(sink, kind, 1e9));
        for (const id of [...live.keys()]) deliver(id);
        live = new Map();
        for (const sink of ["a", "b"]) {
          assert.equal(got[`${sink} events`] ?? 0, events);
          assert.equal(got[`${sink} results`] ?? 0, results);
        }
        const { states, outbox, queue, items } = inspect(fixture);
        assert.ok(states.every((state) => state === "synced"));
        assert.deepEqual([outbox, queue, items], [0, 0, 0]);
      } finally {
        for (const task of tasks.reverse()) void task();
      }
    }),
    { numRuns: RUNS },
  );
});

test("beyond the limit nothing is parked: a batch is held, stays on its way, and is parked once there is room", (context) => {
  const fixture = new StoreFixture(context);
  const setup = { sinks: ["hub"], priorities: {}, defaultPriority: 5, maxParked: { batches: 2, bytes: 1e9 } };
  fixture.store.sync.open(setup, codec);
  fixture.commit(makeBlockOperation(), makeBlockOperation(), makeBlockOperation());
  const batches = [0, 1, 2].map(() => claimed(claim(fixture, "events", "hub", 1)));
  const park = (index: number) =>
    fixture.store.sync.settle([
      { kind: "parked", batch: batches[index]!.id, reason: "will not have it", atUs: NOW_US },
    ]);
  assert.deepEqual([park(0), park(1)], [[], []]);
  const [held] = park(2);
  assert.deepEqual([held?.id, held?.isHeld, held?.reason], [batches[2]!.id, true, "will not have it"]);
  assert.deepEqual(inspect(fixture).states, ["syncing", "syncing", "syncing"]);
  // A restart finds it on its way.
  fixture.reopen();
  const { unsettled } = fixture.store.sync.open(setup, codec);
  assert.deepEqual(
    unsettled.map(({ id }) => id),
    [batches[2]!.id],
  );
  assert.equal(fixture.store.sync.unpark().length, 2);
  assert.deepEqual(park(2), []);
  // By bytes, too.
  fixture.store.sync.open({ ...setup, maxParked: { batches: 100, bytes: batches[2]!.bytes } }, codec);
  assert.equal(park(0)[0]?.isHeld, true);
});

test("a batch of a few blocks of many streams reads few of what waits", (context) => {
  const fixture = new StoreFixture(context);
  const [streams, each] = [40, 60];
  for (let block = 0; block < each; block++)
    fixture.commit(
      ...Array.from({ length: streams }, (_, n) => makeBlockOperation({ stream: `s${n}`, arrivalUs: block })),
    );
  const db = new Database(databaseFile(fixture.dir));
  context.after(() => db.close());
  let read = 0;
  const prepare = db.prepare.bind(db);
  db.prepare = ((sql: string) => {
    const statement = prepare(sql);
    const all = statement.all.bind(statement);
    statement.all = (...values: unknown[]) => {
      const rows = all(...values);
      if (sql.includes("FROM blocks WHERE state")) read += rows.length;
      return rows;
    };
    return statement;
  }) as typeof db.prepare;
  const store = new SyncStore(db, new StreamTable(prepareStatements(db)), new Outbox(db, NO_SEAL));
  store.open({ sinks: ["hub"], priorities: {}, defaultPriority: 5 }, codec);
  read = 0;
  const claimOf = (rows: number): ClaimAnswer =>
    store.claim({ sink: "hub", class: "events", size: { ...LARGE, rows }, enough: ANY, olderThanUs: 0 });
  assert.equal(claimed(claimOf(50)).items, 5);
  assert.ok(read > 0 && read < streams * 30, `${read} of ${streams * each} blocks were read`);
  assert.equal(claimed(claimOf(1e9)).items, streams * each - 5);
  assert.deepEqual(claimOf(1e9), { kind: "nothing" });
});
