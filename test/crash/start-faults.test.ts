import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { flipFileBits, inDatabase } from "../support/damage.ts";
import { startFieldNode } from "../support/field-node.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";
import { makeTempDir } from "../support/temp-dir.ts";

test("SIGINT and SIGTERM end a node at every stage of its start, at once and with 0, and the next start is sound", async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const { node, client } = await startFieldNode(null, context);
  await client.send(
    "s",
    Array.from({ length: 5_000 }, (_, n) => ({ ts: Date.UTC(2026, 0, 1) + n, n })),
  );
  await node.kill("SIGKILL");
  for (let round = 0; round < 8; round++) {
    if (round % 3 === 2) flipFileBits(databaseFile(node.dataDir), random, 1, 4_096);
    node.launch();
    await sleep(random.integer(300, 1_800));
    const code = await node.kill(round % 2 === 0 ? "SIGINT" : "SIGTERM");
    // Before the program has set itself up, the signal's own effect: no exit code.
    assert.ok(code === 0 || code === null, `exit code ${code}`);
  }
  await node.start();
  assert.ok((await client.events("s")).length <= 5_000);
});

test("a second node on the same data is refused, and let in when the first was killed", async (context) => {
  const { node } = await startFieldNode(null, context);
  const second = new NodeProcess({ config: null, dataDir: node.dataDir }, context);
  for (let round = 0; round < 2; round++) {
    second.launch();
    assert.equal(await second.exited(), 1);
    assert.match(second.tail(), /another process uses the data directory .*E_DATA_DIR_LOCKED/);
  }
  await node.kill("SIGKILL");
  await second.start();
  node.launch();
  assert.equal(await node.exited(), 1);
  await second.restart("SIGKILL");
  await second.stop();
  await node.start();
});

test("data of a later release is refused, and left alone", async (context) => {
  const { node } = await startFieldNode(null, context);
  await node.stop();
  inDatabase(node.dataDir, (db) => db.pragma("user_version = 999"));
  node.launch();
  assert.equal(await node.exited(), 1);
  assert.match(node.tail(), /written by a later release .*E_STORE_NEWER/);
  inDatabase(node.dataDir, (db) => assert.equal(db.pragma("user_version", { simple: true }), 999));
});

test("a read-only file system: a start is refused with what to do", async (context) => {
  const mount = join(makeTempDir(context), "mount");
  mkdirSync(mount);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64m", "tmpfs", mount], { stdio: "pipe" });
  } catch {
    return context.skip("mounting a file system needs root");
  }
  const node = new NodeProcess({ config: null, dataDir: join(mount, "data") }, context);
  try {
    await node.start();
    await node.stop();
    execFileSync("mount", ["-o", "remount,ro", mount]);
    node.launch();
    assert.equal(await node.exited(), 1);
    assert.match(node.tail(), /cannot be opened for writing .*E_DATA_DIR_ACCESS/);
    execFileSync("mount", ["-o", "remount,rw", mount]);
    await node.start();
    await node.stop();
  } finally {
    if (node.isRunning) await node.kill("SIGKILL");
    execFileSync("umount", [mount]);
  }
});
