import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import Database from "better-sqlite3";
import { flood, sizesOf, sum, watchFiles } from "../support/cap-flood.ts";
import { HttpClient } from "../support/http-client.ts";
import { audit } from "../support/ledger-audit.ts";
import { type NodeProcess, spawnNode } from "../support/node-process.ts";
import { Random } from "../support/random.ts";

const MIB = 1024 * 1024;
const CAP_BYTES = 16 * MIB;
const START_MS = Date.UTC(2026, 0, 1);
const PATIENCE_MS = 240_000;
/** Events are sent until they are this many times the cap in all. */
const CAPS_SENT = 2;
const configOf = (capBytes: number): string => `
buffer: { cap: ${capBytes / MIB}MiB }
streams:
  machines: { key: device }
  chatter: { key: device, priority: 8 }
queries:
  per_minute: { from: machines, window: { tumbling: 1m }, select: { n: count(), mean: avg(temp) } }
`;

for (const events of [200, 8_000]) {
  test(`a flood in batches of ${events} events: the files never take more than the cap, log included`, async (context) => {
    const random = Random.fromEnvironment();
    context.diagnostic(`MILLRACE_SEED=${random.seed}`);
    const node = await spawnNode({ config: configOf(CAP_BYTES) }, context);
    const client = new HttpClient(() => node.url);
    context.after(() => client.close());
    const load = { eventsPerBatch: events, bytes: CAPS_SENT * CAP_BYTES, fromMs: START_MS };
    const { value: acknowledged, most } = await watchFiles(node.dataDir, () => flood(client, random, load));
    context.diagnostic(`at most ${most.map((bytes) => (bytes / MIB).toFixed(2)).join(" + ")} MiB`);
    assert.ok(sum(most) <= CAP_BYTES, `${sum(most)} bytes on disk`);
    await untilShown(node, client);
    await node.stop();
    const { imbalances, ledgers, integrity } = audit(node.dataDir);
    assert.deepEqual(imbalances, []);
    assert.equal(integrity, "ok");
    assert.equal(sum(ledgers.map(({ accepted }) => accepted)), acknowledged);
    const gone = sum(ledgers.map(({ givenUp, downsampled }) => givenUp + downsampled));
    assert.ok(gone > 0, "there was no room for all");
  });
}

test("a cap that is lowered by a reload is come down to, with the ledger in balance, and held from there on and over a kill", async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const node = await spawnNode({ config: configOf(2 * CAP_BYTES) }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const before = { eventsPerBatch: 2_000, bytes: 1.5 * CAP_BYTES, fromMs: START_MS };
  const first = await flood(client, random, before);
  assert.ok(sum(sizesOf(node.dataDir)) > 1.2 * CAP_BYTES, "it holds more than is to come");
  const put = await client.request("PUT", "/v1/config", configOf(CAP_BYTES));
  assert.equal(put.status, 200, put.text);
  const endMs = performance.now() + PATIENCE_MS;
  while (sum(sizesOf(node.dataDir)) > CAP_BYTES) {
    assert.ok(performance.now() < endMs, `${sizesOf(node.dataDir)} bytes on disk`);
    await sleep(50);
  }
  const after = { ...before, bytes: CAP_BYTES, fromMs: START_MS + 3_600_000 };
  const { value: second, most } = await watchFiles(node.dataDir, async () => {
    const half = { ...after, bytes: after.bytes / 3 };
    const acknowledged = await flood(client, random, half);
    await node.kill("SIGKILL");
    await node.start();
    return acknowledged + (await flood(client, random, { ...half, fromMs: half.fromMs + 3_600_000 }));
  });
  assert.ok(sum(most) <= CAP_BYTES, `${most} bytes on disk`);
  await node.stop();
  const { imbalances, ledgers, integrity } = audit(node.dataDir);
  assert.deepEqual(imbalances, []);
  assert.equal(integrity, "ok");
  assert.equal(sum(ledgers.map(({ accepted }) => accepted)), first + second);
});

/** Streams are shown with the blocks that are there, not with those that were. */
async function untilShown(node: NodeProcess, client: HttpClient): Promise<void> {
  const db = new Database(join(node.dataDir, "millrace.db"), { readonly: true });
  const count = db.prepare(
    "SELECT name AS stream, count(*) AS blocks, sum(stored_bytes) AS storedBytes FROM blocks b" +
      " JOIN streams s ON s.id = b.stream_id GROUP BY s.id ORDER BY name",
  );
  try {
    const endMs = performance.now() + PATIENCE_MS;
    for (;;) {
      const { text } = await client.request("GET", "/v1/streams");
      const { streams } = JSON.parse(text) as {
        streams: Record<"stream" | "blocks" | "storedBytes", unknown>[];
      };
      const shown = streams
        .map(({ stream, blocks, storedBytes }) => ({ stream, blocks, storedBytes }))
        .sort((a, b) => (String(a.stream) < String(b.stream) ? -1 : 1));
      if (
        isDeepStrictEqual(
          shown,
          count.all().map((row) => ({ ...(row as object) })),
        )
      )
        return;
      assert.ok(performance.now() < endMs, `${JSON.stringify([shown, count.all()])}`);
      await sleep(100);
    }
  } finally {
    db.close();
  }
}
