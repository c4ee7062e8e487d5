import assert from "node:assert/strict";
import { test } from "node:test";
import Database from "better-sqlite3";
import { masterKey } from "../../workers/seal/master-key.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { readLog } from "../../workers/store/log-reader.ts";
import type { PlainLeft } from "../../workers/store/plain-data.ts";
import { Reader } from "../../workers/store/reader.ts";
import { Store } from "../../workers/store/store.ts";
import { findTexts } from "../support/secret-node.ts";
import { makeBlock, makeBlockOperation, makeResult, NOW_US } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const MASTERS = { current: masterKey(new Uint8Array(32).fill(5)), previous: [] };
const BLOCKS = 300;
const GONE = 40;

/** Tells each kind of row apart, in the plain. */
const mark = (kind: string, at: number): string => `zq${kind}${String(at).padStart(5, "0")}vx`;
const bytesOf = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text.repeat(300)));
const KINDS = ["block", "late", "letter", "reskey", "result", "idem", "state", "config", "field", "gone"];

/** A store without a key, with every kind of row, and some that were deleted. */
function fillPlain(dir: string): void {
  const store = Store.open(dir);
  for (let at = 0; at < BLOCKS; at++) {
    const block = makeBlock({
      data: bytesOf(mark("block", at)),
      codec: "none",
      schema: [{ name: mark("field", at % 3), type: "int" }],
    });
    const letter = { line: 1, code: "E_TYPE", message: "m", path: "p", text: mark("letter", at) };
    const skewed = makeBlock({ data: bytesOf(mark("late", at)), codec: "none" });
    const key = JSON.stringify({ device: mark("reskey", at) });
    store.writer.commit(
      [
        makeBlockOperation({ block, skewed, idempotencyKey: mark("idem", at), deadLetters: [letter] }),
        { kind: "results", rows: [makeResult({ key, values: JSON.stringify({ v: mark("result", at) }) })] },
        ...(at % 100 === 0
          ? ([
              { kind: "config", body: mark("config", at) },
              { kind: "checkpoint", seq: at + 1, state: bytesOf(mark("state", at)) },
            ] as const)
          : []),
      ],
      NOW_US,
    );
  }
  for (let at = 0; at < GONE; at++) {
    const block = makeBlock({ data: bytesOf(mark("gone", at)), codec: "none", schema: [] });
    store.writer.commit([makeBlockOperation({ block })], NOW_US);
  }
  store.close();
  const db = new Database(databaseFile(dir));
  db.prepare("DELETE FROM blocks WHERE seq IN (SELECT seq FROM blocks ORDER BY seq DESC LIMIT ?)").run(GONE);
  db.close();
}

const found = (dir: string): string[] => KINDS.filter((kind) => findTexts(dir, [`zq${kind}`]).length > 0);

test("data that was stored without a key is sealed step by step, over restarts, until none of it is in the plain", (context) => {
  const dir = makeTempDir(context);
  fillPlain(dir);
  assert.deepEqual(found(dir), KINDS);
  let previous = Number.POSITIVE_INFINITY;
  let restarts = 0;
  for (let left: PlainLeft = 1; left !== 0; restarts++) {
    const store = Store.open(dir, undefined, MASTERS);
    const plain = store.encryption!.plain;
    // What is looked up is sealed already; all of it is read as before.
    assert.equal(
      store.writer.commit([makeBlockOperation({ idempotencyKey: mark("idem", 7) })], NOW_US)[0]?.kind,
      "duplicate",
    );
    const reader = new Reader(dir, MASTERS);
    assert.equal(reader.late("machines", 0, 1_000).length, BLOCKS);
    assert.equal(reader.deadLetters(null, 0, 1_000)[77]?.text, mark("letter", 77));
    assert.deepEqual(reader.block(290 + 4)?.data.slice(0, 6), new Uint8Array(Buffer.from("zqbloc")));
    const key = JSON.stringify({ device: mark("reskey", 9) });
    assert.equal(reader.latestResult(makeResult({ key }))?.values, JSON.stringify({ v: mark("result", 9) }));
    reader.close();
    for (let step = 0; step < 3 && left !== 0; step++) {
      left = plain.step();
      const rows = left === "rewrite" ? 0 : left;
      assert.ok(rows <= previous, `${rows} rows are left after ${previous}`);
      previous = rows;
    }
    store.close();
  }
  assert.ok(restarts > 3, `${restarts}`);
  assert.deepEqual(found(dir), []);
  const store = Store.open(dir, undefined, MASTERS);
  context.after(() => store.close());
  assert.equal(readLog(store.sql, 0, 1e9).filter(({ kind }) => kind === "block").length, BLOCKS);
});

test("a block in the plain that is put among sealed ones is not taken for data", (context) => {
  const dir = makeTempDir(context);
  const first = Store.open(dir, undefined, MASTERS);
  first.writer.commit([makeBlockOperation(), makeBlockOperation()], NOW_US);
  first.close();
  const db = new Database(databaseFile(dir));
  db.prepare("UPDATE blocks SET data = ?, codec = 'none' WHERE seq = 1").run(Buffer.from("MRBK…"));
  db.close();
  const store = Store.open(dir, undefined, MASTERS);
  context.after(() => store.close());
  const reader = new Reader(dir, MASTERS);
  context.after(() => reader.close());
  assert.match(Buffer.from(reader.block(1)!.data).toString(), /not to be opened/);
  assert.equal(reader.block(2)?.codec, "zstd");
});
