import assert from "node:assert/strict";
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { mendLog } from "../../workers/store/repair/mend-log.ts";
import { salvage } from "../../workers/store/repair/salvage.ts";
import { mendWal } from "../../workers/store/repair/wal-file.ts";
import { Store } from "../../workers/store/store.ts";
import { inDatabase } from "../support/damage.ts";
import { Random } from "../support/random.ts";
import { SmallDisk } from "../support/small-disk.ts";
import { makeBlock, makeBlockOperation, NOW_US } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const COMMITS = 30;
const PAGE_BYTES = 4096;
const FRAME_BYTES = PAGE_BYTES + 24;
const ROUNDS = Number(process.env.MILLRACE_FLIPS ?? 60);

interface Written {
  readonly dir: string;
  readonly database: Buffer;
  readonly wal: Buffer;
  /** Frames that the making of the empty database wrote. */
  readonly framesBefore: number;
}

/** What a killed node leaves: all commits are in the log alone. */
function write(context: TestContext): Written {
  const dir = makeTempDir(context);
  const store = Store.open(dir);
  context.after(() => store.close());
  const framesBefore = frameCount(readFileSync(`${databaseFile(dir)}-wal`));
  for (let n = 0; n < COMMITS; n++) {
    const data = new Uint8Array(3_000 + n * 500).fill(n);
    store.writer.commit(
      [makeBlockOperation({ block: makeBlock({ data, count: 1 }), accepted: 1 })],
      NOW_US + n,
    );
  }
  const file = databaseFile(dir);
  return { dir, database: readFileSync(file), wal: readFileSync(`${file}-wal`), framesBefore };
}

function frameCount(wal: Buffer): number {
  return Math.floor((wal.length - 32) / FRAME_BYTES);
}

function restore(context: TestContext, { database }: Written, wal: Uint8Array): string {
  const dir = makeTempDir(context);
  writeFileSync(databaseFile(dir), database);
  writeFileSync(`${databaseFile(dir)}-wal`, wal);
  return dir;
}

/** In its head, of which the last byte of the page's number looks like bits of the page to the sum, or anywhere. */
function placeInFrame(random: Random): number {
  if (random.chance(0.2)) return 3;
  return random.integer(0, random.chance(0.5) ? 23 : FRAME_BYTES - 1);
}

function blocksAfterStart(dir: string): { blocks: number; mended: readonly string[] } {
  const store = Store.open(dir);
  const { mendedLog } = store.recovered;
  store.close();
  const blocks = inDatabase(dir, (db) => {
    assert.equal(db.pragma("integrity_check", { simple: true }), "ok");
    return db.prepare("SELECT count(*) FROM blocks").pluck().get() as number;
  });
  return { blocks, mended: mendedLog };
}

test(`a flipped bit anywhere in the write-ahead log takes no transaction away (${ROUNDS} places)`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const written = write(context);
  let exact = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const wal = Buffer.from(written.wal);
    // The head and the frames' heads are small, and looked for.
    const frame = random.integer(0, frameCount(wal) - 1);
    const place = random.chance(0.2)
      ? random.integer(0, 31)
      : 32 + frame * FRAME_BYTES + placeInFrame(random);
    wal[place] = wal[place]! ^ (1 << random.integer(0, 7));
    const where = `a bit at ${place}`;
    const report = mendWal(Buffer.from(wal), PAGE_BYTES);
    assert.equal(report?.mended.length, 1, where);
    assert.equal(report?.unfinishedFrames, 0, where);
    if (/put right/.test(report?.mended[0] ?? "")) exact++;
    const dir = restore(context, written, wal);
    try {
      Store.open(dir).close();
      const isSound = inDatabase(dir, (db) => db.pragma("integrity_check", { simple: true }) === "ok");
      if (!isSound) await salvage({ dir, masters: null, nowUs: NOW_US });
    } catch {
      await salvage({ dir, masters: null, nowUs: NOW_US });
    }
    const left = inDatabase(dir, (db) =>
      db
        .prepare("SELECT (SELECT count(*) FROM blocks) + (SELECT count(*) FROM corrupt_blocks)")
        .pluck()
        .get(),
    ) as number;
    assert.ok(left >= COMMITS - 1, `${where}: ${left} blocks`);
  }
  context.diagnostic(`${exact} of ${ROUNDS} were put right to the bit`);
  assert.ok(exact > ROUNDS / 3);
});

test("a log that is put right on a disk without room for another stays as it was, and is put right once there is", (context) => {
  const written = write(context);
  const disk = SmallDisk.mount(6 * (written.wal.length + written.database.length), context);
  if (disk === null)
    return context.skip("mounting a small tmpfs is not possible here: it needs Linux and root");
  const wal = Buffer.from(written.wal);
  const place = 32 + Math.floor(frameCount(wal) / 2) * FRAME_BYTES + 2_000;
  wal[place] = wal[place]! ^ 1;
  const file = databaseFile(disk.dir);
  writeFileSync(file, written.database);
  writeFileSync(`${file}-wal`, wal);
  disk.take("others", disk.freeBytes - wal.length / 2);
  assert.throws(() => mendLog(file, NOW_US), { code: "ENOSPC" });
  assert.ok(readFileSync(`${file}-wal`).equals(wal));
  assert.deepEqual(readdirSync(disk.dir).sort(), ["millrace.db", "millrace.db-wal", "others"]);
  disk.give("others");
  const { blocks, mended } = blocksAfterStart(disk.dir);
  assert.deepEqual([blocks, mended.length], [COMMITS, 1]);
});

test("a flipped bit in the number of a page puts the page in no other's place", (context) => {
  const written = write(context);
  const wal = Buffer.from(written.wal);
  // An empty table's new pages are alike, so that those of the making are left out: they hold nothing yet.
  for (let frame = written.framesBefore; frame < frameCount(wal); frame++) {
    const place = 32 + frame * FRAME_BYTES + 3;
    for (let bit = 0; bit < 8; bit++) {
      wal[place] = wal[place]! ^ (1 << bit);
      assert.equal(mendWal(wal, PAGE_BYTES)?.mended.length, 1, `bit ${bit} of frame ${frame}`);
      assert.ok(wal.equals(written.wal), `bit ${bit} of frame ${frame}`);
    }
  }
});

test("every single bit of the log's head is put right as it was", (context) => {
  const written = write(context);
  for (let bit = 0; bit < 32 * 8; bit++) {
    const wal = Buffer.from(written.wal);
    wal[bit >> 3] = wal[bit >> 3]! ^ (1 << (bit & 7));
    const report = mendWal(wal, PAGE_BYTES);
    assert.equal(report?.mended.length, 1, `bit ${bit}`);
    assert.ok(wal.equals(written.wal), `bit ${bit}`);
  }
});

test("a frame of which more is damaged costs its page, and not the transactions behind it", (context) => {
  const written = write(context);
  const frames = frameCount(written.wal);
  for (const share of [0.3, 0.6]) {
    const wal = Buffer.from(written.wal);
    const at = 32 + Math.floor(frames * share) * FRAME_BYTES + 24;
    wal.fill(0x5a, at + 4_000, at + 4_100);
    const report = mendWal(Buffer.from(wal), PAGE_BYTES);
    assert.equal(report?.frames.length, frames);
    assert.match(report?.mended[0] ?? "", /is damaged; those behind it are whole/);
    const dir = restore(context, written, wal);
    try {
      assert.ok(blocksAfterStart(dir).blocks >= COMMITS - 1);
    } catch {
      // The page was one of the tree's own: then it is a salvage that saves the rest.
    }
  }
});

test("the end of a log that lacks part of its last transaction is what a loss of power leaves: nothing is made of it", (context) => {
  const written = write(context);
  const report = mendWal(Buffer.from(written.wal), PAGE_BYTES);
  assert.deepEqual(report?.mended, []);
  const torn = Buffer.from(written.wal);
  torn.fill(0, torn.length - FRAME_BYTES * 2 - 3_000, torn.length - FRAME_BYTES * 2 + 512);
  const after = mendWal(Buffer.from(torn), PAGE_BYTES);
  assert.deepEqual(after?.mended, []);
  assert.ok((after?.unfinishedFrames ?? 0) >= 1);
  const { blocks } = blocksAfterStart(restore(context, written, torn));
  assert.equal(blocks, COMMITS - 1);
});

test("a log that was begun again: what is left of the round before is not taken for it", (context) => {
  const dir = makeTempDir(context);
  const store = Store.open(dir);
  context.after(() => store.close());
  const commit = (n: number): unknown =>
    store.writer.commit(
      [makeBlockOperation({ block: makeBlock({ data: new Uint8Array(20_000).fill(n) }) })],
      NOW_US,
    );
  for (let n = 0; n < 20; n++) commit(n);
  inDatabase(dir, (db) => db.pragma("wal_checkpoint(RESTART)"));
  for (let n = 20; n < 23; n++) commit(n);
  const copy = makeTempDir(context);
  for (const suffix of ["", "-wal"]) copyFileSync(databaseFile(dir) + suffix, databaseFile(copy) + suffix);
  const { blocks, mended } = blocksAfterStart(copy);
  assert.deepEqual([blocks, mended], [23, []]);
});
