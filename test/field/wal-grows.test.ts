import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import Database from "better-sqlite3";
import { databaseFile, databaseSizes } from "../../workers/store/data-dir.ts";
import { startFieldNode } from "../support/field-node.ts";

/** Twice what the log is emptied at. */
const BODIES = 48;
const BODY_EVENTS = 500;
const LOG_LIMIT_BYTES = 40 * 2 ** 20;

function body(round: number): object[] {
  return Array.from({ length: BODY_EVENTS }, (_, n) => ({
    ts: Date.UTC(2026, 0, 1) + round * BODY_EVENTS + n,
    noise: randomBytes(1_000).toString("base64"),
  }));
}

test("wal-grows: readers through the node never keep the log from being emptied; one from outside does, is seen, and leaves nothing behind", async (context) => {
  const { node, client } = await startFieldNode(null, context);
  const walBytes = (): number => databaseSizes(node.dataDir).walBytes;
  await client.send("s", body(0));
  // Someone who always reads, from the oldest on.
  let isReading = true;
  let pages = 0;
  const reader = (async () => {
    for (; isReading; pages++) await client.request("GET", "/v1/streams/s/events?limit=1000");
  })();
  let greatest = 0;
  for (let round = 1; round < BODIES; round++) {
    await client.send("s", body(round));
    greatest = Math.max(greatest, walBytes());
  }
  isReading = false;
  await reader;
  assert.ok(pages > 0);
  assert.ok(
    databaseSizes(node.dataDir).databaseBytes + greatest > 25 * 2 ** 20,
    "there was something to write",
  );
  assert.ok(greatest <= LOG_LIMIT_BYTES, `the log had ${greatest} bytes`);

  const outside = new Database(databaseFile(node.dataDir), { readonly: true });
  outside.exec("BEGIN");
  outside.prepare("SELECT count(*) FROM streams").get();
  for (let round = 0; round < BODIES; round++) await client.send("s", body(round));
  const held = walBytes();
  assert.ok(held > 20 * 2 ** 20, `held back at ${held} bytes`);
  outside.exec("COMMIT");
  outside.close();
  for (let round = 0; round < BODIES && walBytes() >= held; round++) await client.send("s", body(round));
  const shown = await client.json<{ store: { walBytes: number } }>("/v1/status");
  assert.ok(shown.store.walBytes > 0, "its size is in the status");
  assert.match((await client.request("GET", "/metrics")).text, /^millrace_wal_bytes \d+$/m);
  await node.stop();
  assert.equal(walBytes(), 0);
});
