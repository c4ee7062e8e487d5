import assert from "node:assert/strict";
import { test } from "node:test";
import Database from "better-sqlite3";
import { MillraceError } from "../../workers/errors.ts";
import { type MasterKeys, masterKey } from "../../workers/seal/master-key.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { readLog } from "../../workers/store/log-reader.ts";
import { Reader } from "../../workers/store/reader.ts";
import { Store } from "../../workers/store/store.ts";
import { snapshotOf } from "../support/secret-node.ts";
import {
  makeBlock,
  makeBlockOperation,
  makeDeadLetter,
  makeResult,
  NOW_US,
} from "../support/store-fixtures.ts";
import { type Cleanup, makeTempDir } from "../support/temp-dir.ts";

const mastersOf = (...fills: number[]): MasterKeys => {
  const [current, ...previous] = fills.map((fill) => masterKey(new Uint8Array(32).fill(fill)));
  return { current: current!, previous };
};
const ONE = mastersOf(1);

const hasCode =
  (code: string, ...parts: string[]) =>
  (error: unknown): boolean =>
    error instanceof MillraceError &&
    error.code === code &&
    parts.every((part) => error.message.includes(part));

function fill(store: Store): void {
  store.writer.commit(
    [
      makeBlockOperation({
        idempotencyKey: "a",
        deadLetters: [makeDeadLetter(1)],
        block: makeBlock({ keys: { fields: ["device"], filter: Uint8Array.from([4, 5]) } }),
      }),
      makeBlockOperation({ block: makeBlock({ data: Uint8Array.from([9, 9]) }), skewed: makeBlock() }),
      { kind: "results", rows: [makeResult(), makeResult({ key: '{"device":"m2"}', revision: 1 })] },
      { kind: "results", rows: [makeResult({ revision: 1, values: '{"n":6}' })] },
      { kind: "config", body: "{}" },
      { kind: "checkpoint", seq: 1, state: Uint8Array.from([1, 2]) },
    ],
    NOW_US,
  );
}

/** All that can be read, through a connection of its own. */
function contentOf(store: Store, masters: MasterKeys | null): unknown {
  const reader = new Reader(store.dir, masters);
  const results = (parts: object): unknown =>
    reader.results({
      query: "temp_1m",
      fromUs: null,
      toUs: null,
      key: null,
      kind: null,
      revisions: "all",
      limit: 10,
      after: null,
      ...parts,
    });
  const content = {
    log: readLog(store.sql, 0, 1e9),
    keys: reader
      .listBlocks("machines", 0, NOW_US * 2, { after: null, limit: 10, withKeys: true })
      .map(({ seq, keys }) => [seq, keys?.fields, [...(keys?.filter ?? [])]]),
    late: reader.late("machines", 0, 10),
    types: reader.typesByField("machines"),
    letters: reader.deadLetters(null, 0, 10),
    sorted: (results({}) as object[]).map((row) => JSON.stringify(row)).sort(),
    latest: results({ revisions: "latest", key: "m1" }),
    whole: results({ key: '{ "device": "m2" }' }),
    none: results({ key: "m3" }),
    one: reader.latestResult(makeResult()),
    recovered: { ...store.recovered, streams: store.recovered.streams.map(({ schema }) => schema) },
  };
  reader.close();
  return content;
}

function openStore(dir: string, masters: MasterKeys | null, cleanup: Cleanup): Store {
  const store = Store.open(dir, undefined, masters);
  cleanup.after(() => store.close());
  return store;
}

test("an encrypted store reads like one in the plain", (context) => {
  const plain = openStore(makeTempDir(context), null, context);
  const sealed = openStore(makeTempDir(context), ONE, context);
  fill(plain);
  fill(sealed);
  assert.deepEqual(contentOf(sealed, ONE), contentOf(plain, null));
  sealed.close();
  plain.close();
  const again = openStore(sealed.dir, ONE, context);
  assert.deepEqual(contentOf(again, ONE), contentOf(openStore(plain.dir, null, context), null));
  const [outcome] = again.writer.commit([makeBlockOperation({ idempotencyKey: "a" })], NOW_US);
  assert.equal(outcome?.kind, "duplicate");
});

test("pages of results and alerts follow each other without a gap or a double", (context) => {
  const store = openStore(makeTempDir(context), ONE, context);
  const rows = Array.from({ length: 50 }, (_, at) => makeResult({ key: `{"device":"m${at}"}` }));
  store.writer.commit([{ kind: "results", rows }], NOW_US);
  const reader = new Reader(store.dir, ONE);
  context.after(() => reader.close());
  const seen: string[] = [];
  let after = null;
  for (;;) {
    const page = reader.results({
      query: "temp_1m",
      fromUs: null,
      toUs: null,
      key: null,
      kind: null,
      revisions: "latest",
      limit: 7,
      after,
    });
    seen.push(...page.map(({ key }) => key));
    if (page.length < 7) break;
    after = page.at(-1)!;
  }
  assert.equal(seen.length, 50);
  assert.deepEqual([...seen].sort(), rows.map(({ key }) => key).sort());
});

test("a wrong key, a missing one and none at all are refused with their names, and not a byte is changed", (context) => {
  const dir = makeTempDir(context);
  const store = Store.open(dir, undefined, ONE);
  fill(store);
  store.close();
  const before = snapshotOf(dir);
  const wanted = ONE.current.id;
  assert.throws(
    () => Store.open(dir, undefined, mastersOf(2)),
    hasCode("E_KEY_WRONG", wanted, mastersOf(2).current.id),
  );
  assert.throws(() => Store.open(dir, undefined, mastersOf(2, 3)), hasCode("E_KEY_WRONG", wanted));
  assert.throws(() => Store.open(dir), hasCode("E_KEY_MISSING", wanted));
  assert.throws(() => new Reader(dir), hasCode("E_KEY_MISSING", wanted));
  for (const [file, bytes] of before) assert.equal(snapshotOf(dir).get(file), bytes, file);
  const opened = openStore(dir, mastersOf(2, 1), context);
  contentOf(opened, mastersOf(2));
});

test("another master key takes over: at once for what is new, and what is old stays readable", (context) => {
  const dir = makeTempDir(context);
  const store = openStore(dir, ONE, context);
  fill(store);
  const reader = new Reader(dir, ONE);
  context.after(() => reader.close());
  const before = contentOf(store, ONE);
  reader.learnKeys(mastersOf(2, 1));
  store.encryption?.keys.rewrap(mastersOf(2, 1));
  assert.deepEqual(contentOf(store, mastersOf(2)), before);
  store.writer.commit([{ kind: "results", rows: [makeResult({ key: '{"device":"late"}' })] }], NOW_US);
  assert.notEqual(reader.latestResult(makeResult({ key: '{"device":"late"}' })), null);
  store.close();
  assert.throws(() => Store.open(dir, undefined, ONE), hasCode("E_KEY_WRONG", mastersOf(2).current.id));
  contentOf(openStore(dir, mastersOf(2), context), mastersOf(2));
});

test("changed, swapped and moved rows are left out like corrupt blocks, and the rest is served", (context) => {
  const dir = makeTempDir(context);
  const store = Store.open(dir, undefined, ONE);
  fill(store);
  store.writer.commit([makeBlockOperation({ block: makeBlock({ data: Uint8Array.from([7]) }) })], NOW_US);
  store.close();
  const db = new Database(databaseFile(dir));
  const data = (seq: number): Buffer =>
    (db.prepare("SELECT data FROM blocks WHERE seq = ?").get(seq) as { data: Buffer }).data;
  const put = db.prepare("UPDATE blocks SET data = ? WHERE seq = ?");
  const [first, second] = [data(1), data(2)];
  put.run(second, 1);
  put.run(first, 2);
  db.prepare("UPDATE results SET end_us = end_us + 1 WHERE revision = 0").run();
  db.prepare("UPDATE dead_letters SET code = 'E_OTHER'").run();
  db.close();
  const opened = openStore(dir, ONE, context);
  const reader = new Reader(dir, ONE);
  context.after(() => reader.close());
  assert.equal(reader.block(1)?.codec, "none");
  assert.match(Buffer.from(reader.block(1)!.data).toString(), /not to be opened/);
  assert.deepEqual(reader.block(4)?.data, Uint8Array.from([7]));
  const rows = reader.results({
    query: "temp_1m",
    fromUs: null,
    toUs: null,
    key: null,
    kind: null,
    revisions: "all",
    limit: 10,
    after: null,
  });
  assert.equal(rows.length, 2);
  assert.equal(reader.takeUnopened(), 1);
  assert.deepEqual(reader.deadLetters(null, 0, 10), []);
  assert.equal(reader.takeUnopened(), 1);
  assert.equal(readLog(opened.sql, 0, 1e9).length, 4);
});

test("a commit that is rolled back leaves no value under a key that is not stored", (context) => {
  const store = openStore(makeTempDir(context), ONE, context);
  const broken = { ...makeBlockOperation(), stream: null as unknown as string };
  assert.throws(() => store.writer.commit([makeBlockOperation(), broken], NOW_US));
  fill(store);
  contentOf(store, ONE);
});
