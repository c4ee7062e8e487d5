import assert from "node:assert/strict";
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { MillraceError } from "../../workers/errors.ts";
import type { CommitOperation } from "../../workers/messages.ts";
import { type MasterKeys, masterKey } from "../../workers/seal/master-key.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { checkBalance } from "../../workers/store/ledger.ts";
import { readLog } from "../../workers/store/log-reader.ts";
import { diagnose } from "../../workers/store/repair/doctor.ts";
import { salvage } from "../../workers/store/repair/salvage.ts";
import { Store } from "../../workers/store/store.ts";
import { blockSeqs, flipBlockBit, flipFileBits, inDatabase } from "../support/damage.ts";
import { Random } from "../support/random.ts";
import { realOperations } from "../support/real-blocks.ts";
import { findTexts, snapshotOf } from "../support/secret-node.ts";
import { makeDeadLetter, makeResult, NOW_US } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const ROUNDS = Number(process.env.MILLRACE_FLIPS ?? 20);
const PAGE_BYTES = 4096;
const BLOCKS = 60;
const SECRET = "secretqzxkv01";
const [KEY, OTHER] = [1, 2].map(
  (fill): MasterKeys => ({ current: masterKey(new Uint8Array(32).fill(fill)), previous: [] }),
) as [MasterKeys, MasterKeys];

/** Blocks, dead letters and results; closed. Returns the directory. */
function fill(context: TestContext, masters: MasterKeys | null, seed = 1): string {
  const dir = makeTempDir(context);
  const store = Store.open(dir, undefined, masters);
  const random = new Random(seed);
  const counts = Array.from({ length: BLOCKS }, () => random.integer(1, 400));
  for (const [n, operation] of realOperations("pumps", counts, NOW_US, random).entries()) {
    const deadLetters = n % 7 === 0 ? [{ ...makeDeadLetter(n), text: SECRET }] : [];
    const rows = [makeResult({ key: `{"k":"${SECRET}${n}"}` })];
    const operations: CommitOperation[] = [
      { ...operation, deadLetters },
      { kind: "results", rows },
    ];
    store.writer.commit(operations, NOW_US + n);
  }
  store.writer.commit([{ kind: "checkpoint", seq: BLOCKS, state: new Uint8Array(9_000).fill(7) }], NOW_US);
  store.close();
  return dir;
}

const look = (dir: string, masters: MasterKeys | null) =>
  diagnose({ dir, masters, mode: "look", nowUs: NOW_US });
const repair = (dir: string, masters: MasterKeys | null) =>
  diagnose({ dir, masters, mode: "repair", nowUs: NOW_US });

/** How many blocks open and are read. */
function countReadable(dir: string, masters: MasterKeys | null): number {
  const store = Store.open(dir, undefined, masters);
  const entries = readLog(store.sql, 0, Number.MAX_SAFE_INTEGER);
  store.close();
  return entries.filter((entry) => entry.kind === "block" && entry.block.codec === "zstd").length;
}

const wants =
  (code: string, { current }: MasterKeys) =>
  (error: unknown) =>
    error instanceof MillraceError && error.code === code && error.message.includes(current.id);

test("an encrypted store is healthy, and one that is yet to be encrypted is so too", async (context) => {
  const { findings, blocks, checkpoints } = await look(fill(context, KEY), KEY);
  assert.deepEqual([findings, blocks, checkpoints], [[], BLOCKS, 1]);
  assert.deepEqual((await look(fill(context, null), KEY)).findings, []);
});

for (const [masters, code, name] of [
  [null, "E_KEY_MISSING", "without its key"],
  [OTHER, "E_KEY_WRONG", "with another key"],
] as const) {
  test(`an encrypted store is not looked at ${name}: the key is named and nothing changes`, async (context) => {
    const dir = fill(context, KEY);
    flipBlockBit(dir, blockSeqs(dir)[5]!);
    const contents = (): unknown => [...snapshotOf(dir)].filter(([file]) => file !== "millrace.lock");
    const before = contents();
    await assert.rejects(look(dir, masters), wants(code, KEY));
    await assert.rejects(repair(dir, masters), wants(code, KEY));
    assert.throws(() => Store.open(dir, undefined, masters), wants(code, KEY));
    assert.deepEqual(contents(), before);
  });
}

test("a flipped bit in a sealed block is found, and the block set aside still sealed", async (context) => {
  const dir = fill(context, KEY);
  const seq = blockSeqs(dir)[5]!;
  flipBlockBit(dir, seq);
  const { findings } = await look(dir, KEY);
  assert.deepEqual(
    findings.map(({ check, isRepaired }) => [check, isRepaired]),
    [["blocks", false]],
  );
  assert.deepEqual(
    (await repair(dir, KEY)).findings.map(({ check, isRepaired }) => [check, isRepaired]),
    [["blocks", true]],
  );
  assert.deepEqual((await look(dir, KEY)).findings, []);
  assert.equal(countReadable(dir, KEY), BLOCKS - 1);
  assert.deepEqual(inDatabase(dir, checkBalance), []);
  const kept = inDatabase(dir, (db) => db.prepare("SELECT seq, data FROM corrupt_blocks").all()) as {
    seq: number;
    data: Buffer;
  }[];
  assert.deepEqual(
    kept.map(({ seq: at, data }) => [at, data.toString("latin1", 0, 3)]),
    [[seq, "MRS"]],
  );
});

test("a schema that does not open is made anew from the blocks, sealed", async (context) => {
  const dir = fill(context, KEY);
  inDatabase(dir, (db) => db.exec("UPDATE streams SET schema = zeroblob(80)"));
  assert.deepEqual(
    (await repair(dir, KEY)).findings.map(({ check }) => check),
    ["streams"],
  );
  assert.deepEqual((await look(dir, KEY)).findings, []);
  const store = Store.open(dir, undefined, KEY);
  assert.deepEqual(store.recovered.streams[0]?.schema.map(({ name }) => name).sort(), ["n", "v"]);
  store.close();
  assert.ok(inDatabase(dir, (db) => Buffer.isBuffer(db.prepare("SELECT schema FROM streams").pluck().get())));
});

test("a data key's row that is damaged or lost is put right from the other", async (context) => {
  const damages = [
    "DELETE FROM seal_keys",
    "UPDATE seal_keys SET wrapped = zeroblob(length(wrapped))",
    "DELETE FROM seal_keys_spare WHERE id = 1",
  ];
  for (const damage of damages) {
    const dir = fill(context, KEY);
    inDatabase(dir, (db) => db.exec(damage));
    await assert.rejects(look(dir, null), wants("E_KEY_MISSING", KEY));
    const { findings } = await look(dir, KEY);
    assert.ok(findings.length > 0 && findings.every(({ check }) => check === "keys"), damage);
    assert.equal(countReadable(dir, KEY), BLOCKS);
    assert.deepEqual((await look(dir, KEY)).findings, [], "the start has put it right");
  }
});

test("a flipped bit in the definition of the table of keys, which takes their ids, is put right from the other", async (context) => {
  const dir = fill(context, KEY);
  inDatabase(dir, (db) => {
    db.unsafeMode();
    db.pragma("writable_schema = ON");
    const flip = "sql = replace(sql, 'PRIMARY KEY', 'PRIMAZY KEY')";
    assert.equal(db.prepare(`UPDATE sqlite_schema SET ${flip} WHERE name = 'seal_keys'`).run().changes, 1);
  });
  assert.deepEqual(
    inDatabase(dir, (db) => db.prepare("SELECT DISTINCT id FROM seal_keys").pluck().all()),
    [null],
  );
  assert.equal(countReadable(dir, KEY), BLOCKS);
  await repair(dir, KEY);
  assert.deepEqual((await look(dir, KEY)).findings, []);
  assert.equal(countReadable(dir, KEY), BLOCKS);
});

test("what was kept of damage before there was a key does not stay in the plain", async (context) => {
  const dir = fill(context, null);
  const seq = blockSeqs(dir)[3]!;
  inDatabase(dir, (db) =>
    db.prepare("UPDATE blocks SET codec = 'none', data = ? WHERE seq = ?").run(Buffer.from(SECRET), seq),
  );
  await repair(dir, null);
  for (const name of ["millrace.db.damaged-2026-01-01T000000Z", "millrace.db-wal.damaged-2026-01-01T000000Z"])
    writeFileSync(join(dir, name), SECRET);
  assert.deepEqual(findTexts(dir, [SECRET]), [SECRET]);
  const store = Store.open(dir, undefined, KEY);
  while (store.encryption?.plain.step() !== 0);
  store.close();
  assert.deepEqual(findTexts(dir, [SECRET]), []);
  assert.equal(
    inDatabase(dir, (db) =>
      db.prepare("SELECT count(*) FROM corrupt_blocks WHERE length(data) > 0").pluck().get(),
    ),
    1,
  );
});

test("a salvage of a sound encrypted database takes everything over, with its key and without a look at it", async (context) => {
  for (const masters of [KEY, OTHER, null]) {
    const dir = fill(context, KEY);
    const { findings, damagedRows, isSealed } = await salvage({ dir, masters, nowUs: NOW_US });
    assert.deepEqual([findings, damagedRows, isSealed], [[], 0, masters !== KEY]);
    assert.deepEqual((await look(dir, KEY)).findings, []);
    assert.equal(countReadable(dir, KEY), BLOCKS);
    assert.deepEqual(findTexts(dir, [SECRET]), [], "the old files are kept, sealed as they were");
  }
});

test("damage to any one page of an encrypted database costs what stood in it, also that of the keys", async (context) => {
  const original = fill(context, KEY);
  const bytes = readFileSync(databaseFile(original));
  for (let page = 0; page < bytes.length / PAGE_BYTES; page++) {
    const dir = makeTempDir(context);
    const damaged = Buffer.from(bytes);
    damaged.fill(0xa5, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    writeFileSync(databaseFile(dir), damaged);
    const { isSealed } = await salvage({ dir, masters: KEY, nowUs: NOW_US });
    assert.equal(isSealed, false);
    const left = countReadable(dir, KEY);
    assert.ok(left >= BLOCKS - 30, `page ${page + 1}: ${left} of ${BLOCKS} blocks`);
    assert.deepEqual((await look(dir, KEY)).findings, [], `page ${page + 1}`);
    assert.deepEqual(inDatabase(dir, checkBalance), []);
  }
});

test(`${ROUNDS} times random bits of an encrypted database are flipped: it opens, and the ledger has what is lost`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const original = fill(context, KEY, random.integer(1, 1_000_000));
  for (let round = 0; round < ROUNDS; round++) {
    const dir = makeTempDir(context);
    copyFileSync(databaseFile(original), databaseFile(dir));
    const places = flipFileBits(databaseFile(dir), random, random.integer(1, 12));
    await repair(dir, KEY);
    assert.deepEqual((await look(dir, KEY)).findings, [], `flipped at ${places.join(", ")}`);
    assert.deepEqual(inDatabase(dir, checkBalance), []);
    countReadable(dir, KEY);
    assert.deepEqual(findTexts(dir, [SECRET]), []);
    assert.ok(readdirSync(dir).length > 0);
  }
});
