import assert from "node:assert/strict";
import { test } from "node:test";
import Database from "better-sqlite3";
import { masterKey } from "../../workers/seal/master-key.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import type { RelayedBatch } from "../../workers/store/relay-operations.ts";
import { Store } from "../../workers/store/store.ts";
import { findTexts } from "../support/secret-node.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const keysOf = (...fills: number[]) => {
  const [current, ...previous] = fills.map((fill) => masterKey(new Uint8Array(32).fill(fill)));
  return { current: current!, previous };
};
const CLASSES = ["alerts", "losses", "results", "events"] as const;
const ROOM = { capBytes: 1e9, nowUs: 1 };
const SECRET = "zqsecretofanotheredge";

function batchOf(key: string, edge = "press-1"): RelayedBatch {
  const body = new Uint8Array(Buffer.from(`${SECRET} ${edge} ${key} `.repeat(50)));
  return { edge, key, class: "events", hops: ["floor"], rows: 3, body };
}

const textOf = (store: Store): string =>
  Buffer.from(store.relay.next({ classes: CLASSES, except: [] })?.body ?? []).toString();

test("batches of other edges are sealed at rest, read again after a restart, and by the keys before", (context) => {
  const dir = makeTempDir(context);
  let store = Store.open(dir, undefined, keysOf(1));
  store.relay.open();
  const batches = [batchOf("k1"), batchOf("k2", "press-2")];
  assert.deepEqual(store.relay.store({ batches, ...ROOM }), ["stored", "stored"]);
  assert.deepEqual(findTexts(dir, [SECRET]), [], "in the database, its log, or beside");
  store.close();
  // Another key is in force: what was sealed before is read by the one before.
  store = Store.open(dir, undefined, keysOf(2, 1));
  store.relay.open();
  assert.equal(textOf(store), Buffer.from(batches[0]!.body).toString());
  assert.deepEqual(store.relay.store({ batches: [batchOf("k1"), batchOf("k3")], ...ROOM }), [
    "duplicate",
    "stored",
  ]);
  store.close();
  const db = new Database(databaseFile(dir));
  const sealed = db.prepare("SELECT is_sealed AS isSealed, body FROM relayed").all() as {
    isSealed: number;
    body: Buffer;
  }[];
  db.close();
  assert.deepEqual(
    sealed.map(({ isSealed, body }) => [isSealed, body.includes(SECRET)]),
    [
      [1, false],
      [1, false],
      [1, false],
    ],
  );
});

test("a relayed row that was changed, or stands in another's place, is set aside, and the next goes on", (context) => {
  for (const spoil of [
    "UPDATE relayed SET body = (SELECT body FROM relayed WHERE key = 'k2') WHERE key = 'k1'",
    "UPDATE relayed SET edge = 'press-9' WHERE key = 'k1'",
    "UPDATE relayed SET body = zeroblob(length(body)) WHERE key = 'k1'",
  ]) {
    const dir = makeTempDir(context);
    const store = Store.open(dir, undefined, keysOf(1));
    store.relay.open();
    store.relay.store({ batches: [batchOf("k1"), batchOf("k2")], ...ROOM });
    const db = new Database(databaseFile(dir));
    db.exec(spoil);
    db.close();
    const next = store.relay.next({ classes: CLASSES, except: [] });
    assert.equal(next?.key, "k2", spoil);
    assert.equal(Buffer.from(next.body).toString(), Buffer.from(batchOf("k2").body).toString());
    store.relay.settle([{ id: next.id, reason: null }]);
    assert.equal(store.relay.next({ classes: CLASSES, except: [] }), null);
    // Told, and offered again when asked for.
    assert.equal(store.relay.unpark(), 1);
    assert.equal(store.relay.next({ classes: CLASSES, except: [] }), null);
    store.close();
  }
});

test("what was relayed before there was a key is sealed when there is one", (context) => {
  const dir = makeTempDir(context);
  let store = Store.open(dir);
  store.relay.open();
  const batches = Array.from({ length: 25 }, (_, at) => batchOf(`k${at}`));
  store.relay.store({ batches, ...ROOM });
  store.close();
  assert.ok(findTexts(dir, [SECRET]).length > 0);
  store = Store.open(dir, undefined, keysOf(1));
  store.relay.open();
  const db = new Database(databaseFile(dir), { readonly: true });
  const { plain } = db.prepare("SELECT count(*) AS plain FROM relayed WHERE is_sealed = 0").get() as {
    plain: number;
  };
  db.close();
  assert.equal(plain, 0);
  for (const { body } of batches) {
    const next = store.relay.next({ classes: CLASSES, except: [] });
    assert.deepEqual(Buffer.from(next?.body ?? []), Buffer.from(body));
    store.relay.settle([{ id: next!.id, reason: null }]);
  }
  store.close();
});
