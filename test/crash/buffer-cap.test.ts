import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import Database from "better-sqlite3";
import { HttpClient } from "../support/http-client.ts";
import { audit } from "../support/ledger-audit.ts";
import { type NodeProcess, spawnNode } from "../support/node-process.ts";
import { Random } from "../support/random.ts";

const MIB = 1024 * 1024;
const CAP_BYTES = 16 * MIB;
const LOOK_MS = 5;
const CLIENTS = 8;
const PATIENCE_MS = 30_000;
/** Random texts of an event, and about what it takes in the store. */
const NOTES = 6;
const EVENT_BYTES = 70;
/** Events are sent until they are this many times the cap in all. */
const CAPS_SENT = 2;
const FILES = ["millrace.db", "millrace.db-wal", "millrace.db-shm", "millrace.reserve"];
const CONFIG = `
buffer: { cap: ${CAP_BYTES / MIB}MiB }
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
    const node = await spawnNode({ config: CONFIG }, context);
    const client = new HttpClient(() => node.url);
    context.after(() => client.close());
    let most: readonly number[] = [0];
    const look = setInterval(() => {
      const sizes = lookAt(node.dataDir);
      if (sum(sizes) > sum(most)) most = sizes;
    }, LOOK_MS);
    const acknowledged = await flood(client, random, events).finally(() => clearInterval(look));
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

/** Several clients send texts that no codec makes small. @returns how many events were acknowledged */
async function flood(client: HttpClient, random: Random, events: number): Promise<number> {
  let [ts, sent, acknowledged] = [Date.UTC(2026, 0, 1), 0, 0];
  const noise = (): string => random.next().toString(36).slice(2);
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, n) => {
      while (sent < CAPS_SENT * CAP_BYTES) {
        const lines = Array.from({ length: events }, () => {
          const texts = Object.fromEntries(Array.from({ length: NOTES }, (_, at) => [`note${at}`, noise()]));
          return { device: `d${random.integer(0, 19)}`, ts: ts++, temp: random.next(), ...texts };
        });
        const answer = await client.post(n % 2 === 0 ? "machines" : "chatter", lines);
        if (answer.status === 200) {
          sent += events * EVENT_BYTES;
          acknowledged += events;
        } else {
          assert.ok([429, 503, 507].includes(answer.status), `${answer.status} ${answer.text}`);
          await sleep(50);
        }
      }
    }),
  );
  return acknowledged;
}

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

/**
 * Sizes that the files had at one moment. Read one after the other, a log that is emptied between two of them counts twice:
 * a look stands when the next one finds the same.
 */
function lookAt(dir: string): readonly number[] {
  const look = (): readonly number[] => FILES.map((name) => sizeOf(join(dir, name)));
  for (let sizes = look(); ; ) {
    const again = look();
    if (isDeepStrictEqual(sizes, again)) return sizes;
    sizes = again;
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
