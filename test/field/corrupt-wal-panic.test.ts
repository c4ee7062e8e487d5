import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { diagnose } from "../../workers/store/repair/doctor.ts";
import { flipFileBits } from "../support/damage.ts";
import { startFieldNode } from "../support/field-node.ts";
import { Random } from "../support/random.ts";

test("corrupt-wal-panic: a damaged write-ahead log is put right, and what was acknowledged behind the damage is there", async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const { node, client } = await startFieldNode(null, context);
  let sent = 0;
  for (let round = 0; round < 4; round++) {
    for (let n = 0; n < 10; n++) await client.send("s", [{ ts: Date.UTC(2026, 0, 1) + sent, n: sent++ }]);
    await node.kill("SIGKILL");
    const wal = `${databaseFile(node.dataDir)}-wal`;
    if (round < 3) flipFileBits(wal, random, 1, 32);
    else {
      // A whole piece, in the middle: more than a bit.
      const bytes = readFileSync(wal);
      bytes.fill(0xee, bytes.length >> 2, (bytes.length >> 2) + 700);
      writeFileSync(wal, bytes);
    }
    await node.start();
    const { length } = await client.events("s");
    assert.ok(length >= sent - (round < 3 ? 1 : 2), `${length} of ${sent} events after round ${round}`);
    assert.ok(node.lines.some((line) => line.includes("the write-ahead log was damaged and put right")));
  }
  await node.stop();
  const { findings } = await diagnose({
    dir: node.dataDir,
    masters: null,
    mode: "repair",
    nowUs: Date.now() * 1000,
  });
  assert.ok(findings.every(({ isRepaired }) => isRepaired));
});
