import assert from "node:assert/strict";
import { copyFileSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { diagnose } from "../../workers/store/repair/doctor.ts";
import { startFieldNode } from "../support/field-node.ts";

/** So many that most of the file is theirs. */
const EVENTS = 160_000;

for (const [name, damage] of [
  ["is cut off", (file: string) => truncateSync(file, Math.floor(readFileSync(file).length * 0.8))],
  [
    "has no head any more",
    (file: string) => {
      const bytes = readFileSync(file);
      bytes.fill(0, 0, 8_192);
      writeFileSync(file, bytes);
    },
  ],
  ["is another file", (file: string) => writeFileSync(file, "no database at all\n".repeat(1_000))],
] as const) {
  test(`cache-eof: a database that ${name} is saved as far as it goes, kept beside, and the node goes on`, async (context) => {
    const { node, client } = await startFieldNode(null, context);
    for (let n = 0; n < EVENTS; n += 1_000) {
      const batch = Array.from({ length: 1_000 }, (_, k) => ({
        ts: Date.UTC(2026, 0, 1) + n + k,
        n: n + k,
        v: Math.random(),
      }));
      await client.send("s", batch);
    }
    await node.stop();
    const file = databaseFile(node.dataDir);
    damage(file);
    copyFileSync(file, `${file}.for-the-test`);
    await node.start();
    // Not even the stream's name is left.
    const left = name === "is another file" ? 0 : (await client.events("s")).length;
    if (name === "has no head any more") assert.equal(left, EVENTS);
    if (name === "is cut off") assert.ok(left > EVENTS / 2, `${left} events`);
    const kept = readdirSync(node.dataDir).find((each) => each.startsWith("millrace.db.damaged-"));
    assert.ok(kept !== undefined);
    assert.deepEqual(readFileSync(`${node.dataDir}/${kept}`), readFileSync(`${file}.for-the-test`));
    assert.ok(node.lines.some((line) => line.includes("the database was made anew of what could be read")));
    await client.send("s", [{ ts: Date.UTC(2026, 0, 2), n: -1 }]);
    assert.equal((await client.events("s")).length, left + 1);
    await node.stop();
    const look = await diagnose({ dir: node.dataDir, masters: null, mode: "look", nowUs: Date.now() * 1000 });
    assert.deepEqual(look.findings, []);
    await node.start();
    assert.equal((await client.events("s")).length, left + 1, "the next start has nothing to repair");
  });
}
