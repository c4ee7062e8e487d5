import assert from "node:assert/strict";
import { test } from "node:test";
import { openForWriting } from "../../workers/store/database.ts";
import { checkBalance } from "../../workers/store/ledger.ts";
import { readLog } from "../../workers/store/log-reader.ts";
import { MIGRATIONS } from "../../workers/store/migrations.ts";
import { diagnose } from "../../workers/store/repair/doctor.ts";
import { Store } from "../../workers/store/store.ts";
import { Random } from "../support/random.ts";
import { realOperations } from "../support/real-blocks.ts";
import { NOW_US } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const EVENTS = [3, 40, 500];

/** What a node of that schema would have written, with the columns that there have been from the first on. */
function fillVersion(dir: string, version: number): void {
  const db = openForWriting(dir, version);
  assert.equal(db.pragma("user_version", { simple: true }), version);
  const block = db.prepare(
    "INSERT INTO blocks (seq, stream_id, arrival_us, count, min_us, max_us, codec, encoded_bytes, stored_bytes, data)" +
      " VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
  );
  const total = EVENTS.reduce((sum, count) => sum + count, 0);
  // A row that a later schema gives more columns: those of the first are what every release writes.
  const held = version >= 6 ? ", held" : "";
  const heldValue = version >= 6 ? `, ${total}` : "";
  db.exec(
    `INSERT INTO streams (id, name, accepted, dead_lettered${held}) VALUES (1, 's', ${total}, 3${heldValue})`,
  );
  realOperations("s", EVENTS, NOW_US, new Random(version)).forEach(({ block: stored }, index) => {
    const { count, minUs, maxUs, codec, encodedBytes, data } = stored!;
    block.run(index + 1, NOW_US, count, minUs, maxUs, codec, encodedBytes, data.length, data);
    db.prepare("INSERT INTO idempotency VALUES (1, ?, ?, ?, 0)").run(`k${index}`, NOW_US, count);
  });
  db.exec(`
    INSERT INTO watermarks VALUES (4, 1, ${NOW_US});
    INSERT INTO results (query, start_us, end_us, key, revision, kind, value) VALUES ('q', 0, 10, '{}', 0, 'on-time', '{"n":1}');
    INSERT INTO dead_letters (stream_id, at_us, line, path, code, message, text) VALUES (1, ${NOW_US}, 1, '', 'E', 'm', 't');
    UPDATE counters SET next_seq = 5, dead_letters = 1, idempotency_keys = 3;
  `);
  const kind = version >= 6 ? ", kind" : "";
  const kindValue = version >= 6 ? ", 'dead-letters'" : "";
  db.exec(
    `INSERT INTO losses (stream_id, from_us, to_us, count, bytes, reason, at_us${kind}) VALUES (1, 0, 1, 2, 9, 'given-up', 1${kindValue})`,
  );
  db.close();
}

for (let version = 1; version <= MIGRATIONS.length; version++) {
  test(`a store of schema ${version}, with data, is brought up to date and loses nothing`, async (context) => {
    const dir = makeTempDir(context);
    fillVersion(dir, version);
    const store = Store.open(dir);
    const log = readLog(store.sql, 0, Number.MAX_SAFE_INTEGER);
    assert.deepEqual(
      log.map((entry) => (entry.kind === "block" ? entry.block.count : entry.kind)),
      [...EVENTS, "watermark"],
    );
    assert.equal(store.recovered.lastSeq, 4);
    const [again] = store.writer.commit(
      [realOperations("s", [3], NOW_US, new Random(1))[0]!].map((each) => ({
        ...each,
        idempotencyKey: "k0",
      })),
      NOW_US,
    );
    assert.equal(again?.kind, "duplicate");
    store.close();
    const db = openForWriting(dir);
    assert.deepEqual(checkBalance(db), []);
    db.close();
    const { findings, events } = await diagnose({ dir, masters: null, mode: "look", nowUs: NOW_US });
    assert.deepEqual([findings, events], [[], 543]);
  });
}
