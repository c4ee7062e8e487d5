import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import Database from "better-sqlite3";
import { BLOCK_STATE } from "../../workers/store/block-states.ts";
import { runAudit, runDoctor } from "../support/audit.ts";
import { synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";

const START_MS = Date.UTC(2026, 0, 1);
const HOUR_MS = 3_600_000;
const BLOCKS_AN_HOUR = 4;
const EVENTS_A_BLOCK = 25;
const HOURS = 3;

const hourAt = (hour: number): string => new Date(START_MS + hour * HOUR_MS).toISOString();

/** A hub, and an edge whose events it has: `BLOCKS_AN_HOUR` blocks for each of `HOURS`, in two streams. */
async function fleet(context: TestContext) {
  const hub = new NodeProcess({ config: null, command: "hub" }, context);
  await hub.start();
  const hubAddress = new URL(hub.url).host;
  const config = `
node: { id: press-1 }
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { maxAhead: 36500d } }
  doors: { key: device, time: { field: ts, unit: ms }, watermark: { maxAhead: 36500d } }
sync: { url: "http://${hubAddress}", batch: { events: 50, every: 200ms }, probe: 100ms, retry: { first: 20ms, longest: 200ms }, breaker: { open: 200ms } }
`;
  const edge = new NodeProcess({ config }, context);
  await edge.start();
  const client = new HttpClient(() => edge.url);
  context.after(() => client.close());
  for (let block = 0; block < HOURS * BLOCKS_AN_HOUR; block++) {
    for (const stream of ["machines", "doors"]) {
      const lines = Array.from({ length: EVENTS_A_BLOCK }, (_, index) => {
        const ts = START_MS + Math.floor(block / BLOCKS_AN_HOUR) * HOUR_MS + block * 60_000 + index;
        // Of another type now and then, so that columns are widened when blocks are merged.
        const temp = block % 3 === 0 ? index : block % 3 === 1 ? index + 0.5 : `${index}`;
        return JSON.stringify({ ts, device: `m${index % 5}`, temp, block });
      });
      await client.send(stream, `${lines.join("\n")}\n`);
    }
  }
  await synced(edge, client);
  const change = async (run: (db: Database.Database) => void): Promise<void> => {
    await hub.stop();
    const db = new Database(join(hub.dataDir, "hub.db"));
    run(db);
    db.close();
    await hub.start();
  };
  return { hub, edge, client, change };
}

test("a hub that has everything: all hours are the same; evicted events still count", async (context) => {
  const { hub, edge } = await fleet(context);
  const { exitCode, report } = await runAudit(edge.url, hub.url);
  assert.deepEqual(report.findings, []);
  assert.equal(report.equalHours, 2 * HOURS);
  assert.equal(report.equalEvents, 2 * HOURS * BLOCKS_AN_HOUR * EVENTS_A_BLOCK);
  assert.deepEqual([exitCode, report.unreadable, report.others, report.counted], [0, 0, [], []]);
  assert.deepEqual(await runDoctor(edge.url, hub.url), { exitCode, report });
  const part = await runAudit(edge.url, hub.url, "--stream", "doors", "--from", hourAt(1), "--to", hourAt(2));
  assert.deepEqual([part.report.equalHours, part.report.equalEvents], [1, BLOCKS_AN_HOUR * EVENTS_A_BLOCK]);
  // As eviction does with what the hub has: the books stay.
  await edge.stop();
  const db = new Database(join(edge.dataDir, "millrace.db"));
  assert.ok(db.prepare(`DELETE FROM blocks WHERE ${BLOCK_STATE} = 'synced'`).run().changes > 0);
  db.close();
  await edge.start();
  const later = await runAudit(edge.url, hub.url);
  assert.deepEqual([later.exitCode, later.report.findings, later.report.equalHours], [0, [], 2 * HOURS]);
});

test("books and blocks of a release with another hash: hours are counted, what is sent from here on is compared", async (context) => {
  const { hub, edge, client } = await fleet(context);
  const all = HOURS * BLOCKS_AN_HOUR * EVENTS_A_BLOCK;
  const listen = new URL(hub.url).host;
  await hub.stop();
  // Of an hour that the books have, and of one that they do not have yet.
  for (const hour of [0, HOURS]) {
    const ts = START_MS + hour * HOUR_MS;
    await client.send("doors", `${JSON.stringify({ ts, device: "m1", temp: hour })}\n`);
  }
  await edge.stop();
  const db = new Database(join(edge.dataDir, "millrace.db"));
  db.prepare("UPDATE audit_sums SET version = 1, hash = ?").run("f".repeat(32));
  // The first version: an hour of 32 bytes, and nothing that says which version it is.
  const sums = Buffer.alloc(32, 1);
  assert.ok(db.prepare(`UPDATE blocks SET sums = ? WHERE ${BLOCK_STATE} <> 'synced'`).run(sums).changes > 0);
  db.close();
  const again = new NodeProcess({ config: null, command: "hub", dataDir: hub.dataDir, listen }, context);
  await again.start();
  await edge.start();
  await synced(edge, client);
  const { exitCode, report } = await runAudit(edge.url, again.url);
  assert.deepEqual([exitCode, report.findings], [0, []]);
  assert.deepEqual([report.equalHours, report.equalEvents], [2 * HOURS + 1, 2 * all + 2]);
  assert.deepEqual(report.counted, [
    { reason: "the hash is not known", hours: 2 * HOURS, events: 2 * all + 1 },
  ]);
});

test("a block that is gone at the hub, one that holds something else, and one that is damaged are named", async (context) => {
  const { hub, edge, change } = await fleet(context);
  const ofHour =
    "SELECT b.id FROM blocks b JOIN streams s ON s.id = b.stream_id WHERE s.name = ? AND b.min_us >= ? ORDER BY b.id LIMIT 2";
  const idsOf = (db: Database.Database, stream: string, hour: number): number[] => {
    const fromUs = (START_MS + hour * HOUR_MS) * 1_000;
    return (db.prepare(ofHour).all(stream, fromUs) as { id: number }[]).map(({ id }) => id);
  };
  await change((db) => {
    db.prepare("DELETE FROM blocks WHERE id = ?").run(idsOf(db, "machines", 1)[0]);
    const [from, to] = idsOf(db, "doors", 0);
    db.prepare(
      "UPDATE blocks SET (data, codec, encoded_bytes) = (SELECT data, codec, encoded_bytes FROM blocks WHERE id = ?) WHERE id = ?",
    ).run(from, to);
    db.prepare("UPDATE blocks SET data = zeroblob(100) WHERE id = ?").run(idsOf(db, "doors", 2)[0]);
  });
  const { exitCode, report } = await runAudit(edge.url, hub.url);
  const all = BLOCKS_AN_HOUR * EVENTS_A_BLOCK;
  assert.deepEqual(
    report.findings.map(({ stream, hour, atEdge, atHub, verdict }) => [stream, hour, atEdge, atHub, verdict]),
    [
      ["doors", hourAt(0), all, all, "altered"],
      ["doors", hourAt(2), all, all - EVENTS_A_BLOCK, "missing at the hub"],
      ["machines", hourAt(1), all, all - EVENTS_A_BLOCK, "missing at the hub"],
    ],
  );
  assert.deepEqual([exitCode, report.equalHours, report.unreadable], [1, 3, 1]);
});

test("events that the edge never sent are named", async (context) => {
  const { hub, edge, change } = await fleet(context);
  await change((db) => {
    db.prepare(
      "INSERT INTO blocks (edge_id, stream_id, incarnation_id, seq, digest, arrival_us, received_us, count, min_us, max_us," +
        " codec, encoded_bytes, resolution_us, data) SELECT edge_id, stream_id, incarnation_id, seq + 100000, digest, arrival_us," +
        " received_us, count, min_us, max_us, codec, encoded_bytes, resolution_us, data FROM blocks ORDER BY id LIMIT 1",
    ).run();
  });
  const { exitCode, report } = await runAudit(edge.url, hub.url);
  assert.deepEqual(
    report.findings.map(({ verdict, atEdge, atHub }) => [verdict, atHub - atEdge]),
    [["unknown to the edge", EVENTS_A_BLOCK]],
  );
  assert.equal(exitCode, 1);
});

test("a node without sync says that there is nothing to compare; a bad range is refused", async (context) => {
  const edge = new NodeProcess({ config: null }, context);
  await edge.start();
  const client = new HttpClient(() => edge.url);
  context.after(() => client.close());
  const answer = await client.request("GET", "/v1/audit");
  assert.deepEqual([answer.status, (JSON.parse(answer.text) as { code: string }).code], [404, "E_NO_SYNC"]);
  const hub = new NodeProcess({ config: null, command: "hub" }, context);
  await hub.start();
  const atHub = new HttpClient(() => hub.url);
  context.after(() => atHub.close());
  assert.equal((await atHub.request("GET", "/v1/audit?from=yesterday")).status, 400);
  assert.deepEqual((await atHub.request("GET", "/v1/audit")).text, "");
});
