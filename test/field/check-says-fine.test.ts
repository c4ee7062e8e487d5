import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { balanceOf, blockSeqs, flipBlockBit, flipFileBits, inDatabase } from "../support/damage.ts";
import { startFieldNode } from "../support/field-node.ts";
import { millrace } from "../support/millrace.ts";
import { Random } from "../support/random.ts";
import { makeTempDir } from "../support/temp-dir.ts";

test("check-says-fine: check --data and doctor look at the store too, and --repair puts it right", async (context) => {
  const { node, client } = await startFieldNode(null, context);
  for (let n = 0; n < 6; n++) await client.send("s", [{ ts: Date.UTC(2026, 0, 1) + n, n }]);
  const { dataDir } = node;
  const config = join(makeTempDir(context), "millrace.yaml");
  writeFileSync(config, "streams: { s: { key: n } }\n");

  const busy = await millrace("doctor", "--data", dataDir);
  assert.deepEqual([busy.code, /a node uses .*; stop it first/.test(busy.stderr)], [2, true], busy.stderr);
  await node.stop();
  const healthy = await millrace("doctor", "--data", dataDir);
  assert.deepEqual([healthy.code, healthy.stderr], [0, ""]);
  assert.match(healthy.stdout, /is healthy: 6 blocks, 6 events/);
  assert.equal((await millrace("check", "-c", config, "--data", dataDir)).code, 0);

  flipBlockBit(dataDir, blockSeqs(dataDir)[3]!);
  inDatabase(dataDir, (db) => {
    db.exec("UPDATE counters SET dead_letters = 77");
    db.exec("UPDATE streams SET accepted = accepted + 2");
  });
  const checked = await millrace("check", "-c", config, "--data", dataDir);
  assert.equal(checked.code, 1);
  assert.match(checked.stderr, /problem: blocks: block \d+ of stream s \(1 events\)/);
  const looked = JSON.parse((await millrace("doctor", "--data", dataDir, "--json")).stdout) as {
    healthy: boolean;
    findings: { check: string; repaired: boolean }[];
  };
  assert.equal(looked.healthy, false);
  assert.deepEqual(
    looked.findings.map(({ check, repaired }) => [check, repaired]),
    [
      ["blocks", false],
      ["counters", false],
      ["ledger", false],
    ],
  );
  const repaired = await millrace("doctor", "--data", dataDir, "--repair");
  assert.equal(repaired.code, 0, repaired.stderr);
  assert.match(repaired.stdout, /is healthy again/);
  assert.equal((await millrace("doctor", "--data", dataDir)).code, 0);
  assert.deepEqual(balanceOf(dataDir, "s"), { accepted: 8, held: 5, corrupt: 3 });
  await node.start();
  assert.equal((await client.events("s")).length, 5);
});

test("check-says-fine: a database that cannot be opened is found, told from none, and repaired", async (context) => {
  const { node, client } = await startFieldNode(null, context);
  for (let n = 0; n < 6; n++) await client.send("s", [{ ts: Date.UTC(2026, 0, 1) + n, n }]);
  await node.stop();
  flipFileBits(databaseFile(node.dataDir), new Random(5), 40);
  const none = await millrace("doctor", "--data", makeTempDir(context));
  assert.deepEqual([none.code, /there is no store/.test(none.stderr)], [2, true]);
  assert.equal((await millrace("doctor", "--data", node.dataDir)).code, 1);
  const repaired = await millrace("doctor", "--data", node.dataDir, "--repair");
  assert.equal(repaired.code, 0, repaired.stderr);
  assert.equal((await millrace("doctor", "--data", node.dataDir)).code, 0);
  await node.start();
});
