import assert from "node:assert/strict";
import {
  closeSync,
  copyFileSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { MillraceError } from "../../workers/errors.ts";
import { NO_SEAL } from "../../workers/seal/seal.ts";
import { BlockInspector } from "../../workers/store/block-inspector.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { checkBalance } from "../../workers/store/ledger.ts";
import { readLog } from "../../workers/store/log-reader.ts";
import { examine } from "../../workers/store/repair/examine.ts";
import { salvage } from "../../workers/store/repair/salvage.ts";
import { damagedDefinitions } from "../../workers/store/repair/schema-pages.ts";
import { Store } from "../../workers/store/store.ts";
import { blockSeqs, flipFileBits, inDatabase, overwritePage } from "../support/damage.ts";
import { Random } from "../support/random.ts";
import { realOperations } from "../support/real-blocks.ts";
import { makeDeadLetter, makeResult, NOW_US } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const ROUNDS = Number(process.env.MILLRACE_FLIPS ?? 40);
const PAGE_BYTES = 4096;
const STREAMS = ["doors", "machines", "pumps"];
const EVERYTHING = Number.MAX_SAFE_INTEGER;
const inspector = await BlockInspector.create();

interface Original {
  readonly file: string;
  /** The stored bytes of each block. */
  readonly blocks: ReadonlyMap<number, string>;
  readonly results: number;
}

/** A store with everything in it, closed: small blocks, many to a page, and large ones, over several. */
function fill(context: TestContext, random: Random): Original {
  const dir = makeTempDir(context);
  const store = Store.open(dir);
  const lists = STREAMS.map((stream) => {
    const counts = Array.from({ length: 40 }, () =>
      random.chance(0.2) ? random.integer(1_000, 4_000) : random.integer(1, 60),
    );
    return realOperations(stream, counts, NOW_US, random);
  });
  let seq = 0;
  for (let n = 0; n < 40; n++) {
    for (const list of lists) {
      const bad = random.chance(0.1) ? [makeDeadLetter(n)] : [];
      const [outcome] = store.writer.commit([{ ...list[n]!, deadLetters: bad }], NOW_US + n);
      if (outcome?.kind === "committed") seq = outcome.seq;
    }
    store.writer.commit([{ kind: "watermark", stream: "doors", timeUs: NOW_US + n }], NOW_US + n);
    const rows = Array.from({ length: 30 }, (_, k) => makeResult({ key: `{"k":${k}}`, startUs: NOW_US + n }));
    store.writer.commit([{ kind: "results", rows }], NOW_US + n);
    if (n % 10 === 5)
      store.writer.commit([{ kind: "checkpoint", seq, state: new Uint8Array(20_000).fill(n) }], NOW_US);
  }
  store.close();
  const blocks = inDatabase(dir, (db) =>
    (db.prepare("SELECT seq, data FROM blocks").all() as { seq: number; data: Buffer }[]).map(
      ({ seq: at, data }) => [at, data.toString("base64")] as const,
    ),
  );
  return { file: databaseFile(dir), blocks: new Map(blocks), results: 1_200 };
}

function copyTo(dir: string, file: string): void {
  copyFileSync(file, databaseFile(dir));
}

/** Opens it as a node does: saved first when it cannot be read, or is known to be damaged. */
async function openSomehow(dir: string): Promise<{ store: Store; wasSalvaged: boolean }> {
  try {
    const store = Store.open(dir);
    try {
      readLog(store.sql, 0, EVERYTHING);
      return { store, wasSalvaged: false };
    } catch {
      store.close();
    }
  } catch (cause) {
    assert.ok(cause instanceof MillraceError && cause.code === "E_STORE_UNREADABLE", String(cause));
  }
  await salvage({ dir, masters: null, nowUs: NOW_US });
  return { store: Store.open(dir), wasSalvaged: true };
}

/** What is there is as it was, and what is not there is in the ledger. @returns how many blocks are left */
function verify(dir: string, original: Original): number {
  return inDatabase(dir, (db) => {
    assert.equal(db.pragma("integrity_check", { simple: true }), "ok");
    const rows = db.prepare("SELECT seq, data FROM blocks").all() as { seq: number; data: Buffer }[];
    const known = new Set(original.blocks.values());
    // A row's number has no checksum: a bit of it may be another one, and the block is what it was.
    for (const { seq, data } of rows) assert.ok(known.delete(data.toString("base64")), `block ${seq}`);
    assert.deepEqual(checkBalance(db), []);
    return rows.length;
  });
}

test("a salvage of a sound database takes everything over", async (context) => {
  const original = fill(context, new Random(1));
  const dir = makeTempDir(context);
  copyTo(dir, original.file);
  const tables = (): unknown =>
    inDatabase(dir, (db) => {
      const names = db
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .pluck()
        .all() as string[];
      return names.map((name) => [name, db.prepare(`SELECT * FROM ${name}`).all()]);
    });
  const before = tables();
  const saved = await salvage({ dir, masters: null, nowUs: NOW_US });
  assert.deepEqual([saved.damagedRows, saved.damagedPages, saved.findings], [0, 0, []]);
  assert.deepEqual(tables(), before);
  assert.ok(
    readdirSync(dir).some((name) => name.startsWith("millrace.db.damaged-")),
    "the old one is kept",
  );
});

test("damage to any one page, the first included, costs what stood in it and nothing else", async (context) => {
  const original = fill(context, new Random(2));
  const bytes = readFileSync(original.file);
  const pages = bytes.length / PAGE_BYTES;
  for (let page = 0; page < pages; page += page < 24 ? 1 : 7) {
    const dir = makeTempDir(context);
    const damaged = Buffer.from(bytes);
    damaged.fill(0xa5, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    writeFileSync(databaseFile(dir), damaged);
    await salvage({ dir, masters: null, nowUs: NOW_US });
    const left = verify(dir, original);
    assert.ok(
      left >= original.blocks.size - 30,
      `page ${page + 1}: ${left} of ${original.blocks.size} blocks`,
    );
    Store.open(dir).close();
  }
});

/** As `doctor` sees it: a check that cannot be made is a finding too. */
function isSound(dir: string): boolean {
  try {
    return inDatabase(
      dir,
      (db) => db.pragma("integrity_check", { simple: true }) === "ok" && damagedDefinitions(db).length === 0,
    );
  } catch (cause) {
    assert.match(String((cause as { code?: unknown }).code), /^SQLITE_(CORRUPT|NOTADB)/);
    return false;
  }
}

test(`${ROUNDS} times random bits are flipped: the store opens, serves what is whole, and the ledger has the rest`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const original = fill(context, random);
  let salvages = 0;
  let lost = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const dir = makeTempDir(context);
    copyTo(dir, original.file);
    const places = flipFileBits(databaseFile(dir), random, random.integer(1, 12));
    const where = `flipped at ${places.join(", ")}`;
    const { store, wasSalvaged } = await openSomehow(dir);
    store.close();
    if (wasSalvaged) salvages++;
    if (!isSound(dir)) await salvage({ dir, masters: null, nowUs: NOW_US });
    inDatabase(dir, (db) => {
      examine(db, { inspector, seal: NO_SEAL, mode: "repair", nowUs: NOW_US });
      assert.deepEqual(
        examine(db, { inspector, seal: NO_SEAL, mode: "look", nowUs: NOW_US }).findings,
        [],
        where,
      );
    });
    const left = verify(dir, original);
    lost = Math.max(lost, (original.blocks.size - left) / places.length);
    Store.open(dir).close();
  }
  context.diagnostic(
    `${salvages} of ${ROUNDS} could not be opened as they were; at most ${lost} blocks lost a bit`,
  );
  assert.ok(lost < 20, "a bit costs what shares its page");
});

test("a file that is cut off, or no database at all, is given up as far as it must, and the store goes on", async (context) => {
  const original = fill(context, new Random(3));
  const size = readFileSync(original.file).length;
  for (const share of [0, 0.01, 0.3, 0.7, 0.999]) {
    const dir = makeTempDir(context);
    copyTo(dir, original.file);
    const fd = openSync(databaseFile(dir), "r+");
    ftruncateSync(fd, Math.floor(size * share));
    closeSync(fd);
    const { store } = await openSomehow(dir);
    store.close();
    // A start does not look at every page: what it does not read may be the one that was cut.
    if (!isSound(dir)) await salvage({ dir, masters: null, nowUs: NOW_US });
    const left = verify(dir, original);
    if (share > 0.9) assert.ok(left > 100, `${left} blocks`);
    Store.open(dir).close();
  }
  const dir = makeTempDir(context);
  writeFileSync(databaseFile(dir), "this is a text file, not a database\n".repeat(5_000));
  const { store } = await openSomehow(dir);
  store.close();
  assert.deepEqual(blockSeqs(dir), []);
});

test("a salvage that is interrupted between the two names is brought to its end by the next start", async (context) => {
  const original = fill(context, new Random(4));
  const dir = makeTempDir(context);
  copyTo(dir, original.file);
  await salvage({ dir, masters: null, nowUs: NOW_US });
  const kept = readdirSync(dir).find((name) => name.startsWith("millrace.db.damaged-"))!;
  mkdirSync(join(dir, "millrace.salvage"));
  renameSync(databaseFile(dir), join(dir, "millrace.salvage", "millrace.db"));
  Store.open(dir).close();
  assert.equal(verify(dir, original), original.blocks.size);
  assert.ok(readdirSync(dir).includes(kept));
});

for (const suffix of ["", "-wal"]) {
  const what = suffix === "" ? "database" : "log";
  test(`a salvage that ends where the old ${what} is to get its other name loses nothing of the log`, async (context) => {
    const random = new Random(7);
    const running = makeTempDir(context);
    const store = Store.open(running);
    context.after(() => store.close());
    for (const operation of realOperations("s", [3, 40, 500], NOW_US, random))
      store.writer.commit([operation], NOW_US);
    // What a kill leaves: all of it stands in the log alone.
    const dir = makeTempDir(context);
    for (const end of ["", "-wal", "-shm"])
      copyFileSync(databaseFile(running) + end, databaseFile(dir) + end);
    const stamp = new Date(NOW_US / 1_000).toISOString().replaceAll(":", "");
    const inTheWay = `${databaseFile(dir)}.damaged-${stamp}${suffix}`;
    mkdirSync(inTheWay);
    await assert.rejects(salvage({ dir, masters: null, nowUs: NOW_US }));
    rmdirSync(inTheWay);
    Store.open(dir).close();
    assert.deepEqual(
      inDatabase(dir, (db) => [
        db.prepare("SELECT count FROM blocks ORDER BY seq").pluck().all(),
        db.pragma("integrity_check", { simple: true }),
      ]),
      [[3, 40, 500], "ok"],
    );
  });
}

test("a salvage goes on with ids where they were, and under the same incarnation; where that is lost, far beyond", async (context) => {
  const original = fill(context, new Random(6));
  const dir = makeTempDir(context);
  copyTo(dir, original.file);
  const state = () =>
    inDatabase(dir, (db) => ({
      incarnation: db.prepare("SELECT incarnation FROM sync_node").pluck().get(),
      letters: db
        .prepare("SELECT seq FROM sqlite_sequence WHERE name = 'dead_letters'")
        .pluck()
        .get() as number,
    }));
  // The newest rows were delivered and deleted: their ids were given all the same.
  inDatabase(dir, (db) => {
    db.exec("UPDATE sqlite_sequence SET seq = 70000 WHERE name = 'dead_letters'");
    db.exec("UPDATE streams SET dead_lettered = 0");
    db.exec("DELETE FROM dead_letters");
    db.exec("UPDATE counters SET dead_letters = 0");
  });
  const before = state();
  await salvage({ dir, masters: null, nowUs: NOW_US });
  assert.deepEqual(state(), before);
  const roots = inDatabase(dir, (db) =>
    ["sqlite_sequence", "sync_node"].map(
      (name) => db.prepare("SELECT rootpage FROM sqlite_master WHERE name = ?").pluck().get(name) as number,
    ),
  );
  for (const page of roots) overwritePage(dir, page);
  await salvage({ dir, masters: null, nowUs: NOW_US });
  const after = state();
  assert.ok(after.letters > 70_000);
  assert.match(String(after.incarnation), /^[0-9a-f]{32}$/);
  assert.notEqual(after.incarnation, before.incarnation, "its page is lost");
});
