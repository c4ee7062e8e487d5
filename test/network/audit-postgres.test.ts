import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { runAudit, runDoctor } from "../support/audit.ts";
import { all, synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { PostgresServer, withoutPostgres } from "../support/postgres.ts";
import { doorEvents, machineEvents } from "../support/recorded-batches.ts";

const skip = withoutPostgres();
const EVENTS = 1_200;

const configOf = (url: string): string => `
node: { id: press-1 }
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { maxAhead: 36500d } }
  doors: { key: door, time: { field: at, unit: ms }, watermark: { maxAhead: 36500d } }
sync: { url: "${url}", batch: { events: 100, every: 200ms }, probe: 100ms, retry: { first: 20ms, longest: 200ms } }
`;

/** A hub on PostgreSQL that has the events of an edge: odd ones among them, over several days. */
async function fleet(context: TestContext) {
  const server = await PostgresServer.start(context);
  const hub = new NodeProcess(
    { config: `store: { postgres: "${server.url()}" }\n`, command: "hub", listen: "127.0.0.1:0" },
    context,
  );
  await hub.start();
  const edge = new NodeProcess({ config: configOf(hub.url) }, context);
  await edge.start();
  const [atEdge, atHub] = [edge, hub].map((node) => new HttpClient(() => node.url));
  assert.ok(atEdge && atHub);
  for (const client of [atEdge, atHub]) context.after(() => client.close());
  for (let at = 0; at < EVENTS; at += 300) await atEdge.send("machines", machineEvents(at, 300));
  await atEdge.send("doors", doorEvents(200));
  await synced(edge, atEdge);
  return { server, hub, edge, atHub };
}

test("a hub on PostgreSQL that has everything: all hours are the same, also after batches came twice", {
  skip,
}, async (context) => {
  const { hub, edge, atHub } = await fleet(context);
  const { exitCode, report } = await runAudit(edge.url, hub.url);
  assert.deepEqual(report.findings, []);
  assert.equal(report.equalEvents, EVENTS + 200);
  assert.deepEqual([exitCode, report.unreadable, report.expiredEvents, report.others], [0, 0, 0, []]);
  assert.deepEqual(await runDoctor(edge.url, hub.url), { exitCode, report });
  const part = await runAudit(edge.url, hub.url, "--stream", "doors");
  assert.equal(part.report.equalEvents, 200);
  const rows = await all(atHub, "/v1/audit?edge=none");
  assert.deepEqual(rows, []);
});

test("rows that are gone, rows that nobody sent, and what an earlier release took", {
  skip,
}, async (context) => {
  const { server, hub, edge } = await fleet(context);
  server.query(
    "DELETE FROM millrace.event_rows WHERE (tableoid, ctid) IN (SELECT r.tableoid, r.ctid FROM millrace.event_rows r JOIN millrace.streams s" +
      " ON s.id = r.stream_id WHERE s.name = 'machines' AND r.time < '2026-01-02' LIMIT 7)",
  );
  const gone = await runAudit(edge.url, hub.url);
  assert.deepEqual(
    gone.report.findings.map(({ stream, verdict, atEdge, atHub }) => [stream, verdict, atEdge - atHub]),
    [["machines", "missing at the hub", 7]],
  );
  assert.equal(gone.exitCode, 1);
  server.query(
    "INSERT INTO millrace.event_rows SELECT r.* FROM millrace.event_rows r JOIN millrace.streams s ON s.id = r.stream_id" +
      " WHERE s.name = 'machines' AND r.time < '2026-01-02' LIMIT 8",
  );
  const added = await runAudit(edge.url, hub.url);
  assert.deepEqual(
    added.report.findings.map(({ verdict, atEdge, atHub }) => [verdict, atHub - atEdge]),
    [["unknown to the edge", 1]],
  );
  // As a hub of an earlier release left it: no books.
  server.query(
    "DELETE FROM millrace.event_rows WHERE (tableoid, ctid) IN (SELECT r.tableoid, r.ctid FROM millrace.event_rows r JOIN millrace.streams s" +
      " ON s.id = r.stream_id WHERE s.name = 'machines' AND r.time < '2026-01-02' LIMIT 1);" +
      " DELETE FROM millrace.audit_sums; UPDATE millrace.blocks SET is_booked = false",
  );
  const unbooked = await runAudit(edge.url, hub.url);
  assert.deepEqual([unbooked.exitCode, unbooked.report.equalEvents], [0, EVENTS + 200]);
});

test("what a hub of a release with another hash booked is counted, and that is told", {
  skip,
}, async (context) => {
  const { server, hub, edge } = await fleet(context);
  const whole = await runAudit(edge.url, hub.url);
  assert.deepEqual([whole.exitCode, whole.report.counted], [0, []]);
  // As such a hub adds to the row of an hour: it knows nothing of the later lanes.
  const ofMachines = "stream_id = (SELECT id FROM millrace.streams WHERE name = 'machines')";
  server.query(
    `UPDATE millrace.audit_sums SET hashed = hashed - 1, high_2 = 5, low_2 = 5, high = 7, low = 7 WHERE ${ofMachines}`,
  );
  const { exitCode, report } = await runAudit(edge.url, hub.url);
  assert.deepEqual([exitCode, report.findings, report.equalEvents], [0, [], EVENTS + 200]);
  assert.deepEqual(
    report.counted.map(({ reason, events }) => [reason, events]),
    [["the hash is not known", EVENTS]],
  );
});

test("days that went by retention are no difference", { skip }, async (context) => {
  const { server, hub, edge } = await fleet(context);
  // Until 2026-01-02: the machines' day goes, and those of the doors that are long before.
  const days = Math.floor((Date.now() - Date.UTC(2026, 0, 2)) / 86_400_000);
  const listen = new URL(hub.url).host;
  await hub.stop();
  const again = new NodeProcess(
    {
      config: `store: { postgres: "${server.url()}", retention: ${days}d }\n`,
      command: "hub",
      dataDir: hub.dataDir,
      listen,
    },
    context,
  );
  await again.start();
  const client = new HttpClient(() => again.url);
  context.after(() => client.close());
  const left = (await all(client, "/v1/streams/doors/events")).length;
  assert.ok(left > 0 && left < 200, `${left} left`);
  assert.deepEqual(await all(client, "/v1/streams/machines/events"), []);
  const { exitCode, report } = await runAudit(edge.url, again.url);
  assert.deepEqual([exitCode, report.findings], [0, []]);
  assert.equal(report.equalEvents, EVENTS + 200);
  assert.equal(report.expiredEvents, EVENTS + 200 - left);
});
