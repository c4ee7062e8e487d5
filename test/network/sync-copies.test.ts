import assert from "node:assert/strict";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { runAudit } from "../support/audit.ts";
import { all, logged, synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

/** Data directories that are copied or put back, on real processes: the hub must notice, and its totals must stay right. */

const START_MS = Date.UTC(2026, 0, 1);

interface EdgeState {
  readonly events: number;
  readonly accepted: number;
  readonly copies: number;
  readonly conflicts: number;
  readonly incarnations: readonly { readonly copies: number; readonly conflicts: number }[];
  readonly identity: string | null;
  readonly identityCases: readonly { readonly case: string; readonly times: number }[];
}

const casesOf = ({ identityCases }: EdgeState): string[] => identityCases.map((each) => each.case).sort();

async function startHub(context: TestContext) {
  const hub = new NodeProcess({ config: null, command: "hub" }, context);
  await hub.start();
  const client = new HttpClient(() => hub.url);
  context.after(() => client.close());
  return { hub, client, state: () => client.json<EdgeState>("/v1/edges/press-1") };
}

function makeEdge(context: TestContext, hubUrl: string, dataDir: string) {
  const config = `
node: { id: press-1 }
streams: { machines: { key: device, time: { field: ts, unit: ms }, watermark: { maxAhead: 36500d } } }
sync: { url: "${hubUrl}", batch: { events: 10, every: 100ms }, probe: 100ms, retry: { first: 20ms, longest: 200ms }, breaker: { open: 200ms } }
`;
  const node = new NodeProcess({ config, dataDir }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const send = async (name: string, count: number): Promise<void> => {
    const events = Array.from({ length: count }, (_, n) => ({ ts: START_MS + n, device: name, n }));
    await client.send("machines", events);
  };
  return { node, client, send };
}

async function devicesAt(client: HttpClient): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { device } of await all(client, "/v1/streams/machines/events?edge=press-1"))
    counts[String(device)] = (counts[String(device)] ?? 0) + 1;
  return counts;
}

test("a copied data directory: both go on, every event of both is kept once, and the edge is named", async (context) => {
  const { hub, client: atHub, state } = await startHub(context);
  const [first, second] = [join(makeTempDir(context), "data"), join(makeTempDir(context), "data")];
  const original = makeEdge(context, hub.url, first);
  await original.node.start();
  await original.send("before", 30);
  await synced(original.node, original.client);
  await original.node.stop();
  cpSync(first, second, { recursive: true });
  const copy = makeEdge(context, hub.url, second);
  await Promise.all([original.node.start(), copy.node.start()]);
  await original.send("original", 20);
  await copy.send("copy", 25);
  await synced(original.node, original.client);
  await synced(copy.node, copy.client);
  assert.deepEqual(await devicesAt(atHub), { before: 30, original: 20, copy: 25 });
  // Both go on: each is heard of after the other.
  for (let round = 0; round < 3; round++) {
    await original.send("original", 1);
    await synced(original.node, original.client);
    await copy.send("copy", 1);
    await synced(copy.node, copy.client);
  }
  for (const node of [original.node, copy.node])
    await logged(node, /another node runs on a copy of this data directory/);
  const found = await state();
  assert.equal(found.identity, "cloned");
  assert.ok(casesOf(found).includes("cloned"), JSON.stringify(found.identityCases));
  const status = await copy.client.json<{ sync: { hub: { identity: string } } }>("/v1/status");
  assert.equal(status.sync.hub.identity, "cloned");
  assert.match(
    await (await fetch(`${copy.node.url}/metrics`)).text(),
    /millrace_hub_identity\{case="cloned"\} 1/,
  );
  const { events, accepted, copies, conflicts, incarnations } = found;
  assert.equal(incarnations.length, 1);
  assert.equal(events, 81);
  // What was taken before the copy counts once, and what either took since.
  assert.equal(accepted, 81);
  assert.ok(copies >= 1, "the second start of one number is noticed");
  assert.ok(conflicts >= 1, "so are blocks that differ and have one place");
  // Each side's books tell that the hub holds more than it sent.
  const { exitCode, report } = await runAudit(original.node.url, hub.url);
  assert.deepEqual(
    [exitCode, report.findings.map(({ verdict, atEdge, atHub: held }) => [verdict, held - atEdge])],
    [1, [["unknown to the edge", 28]]],
  );
});

test("an old backup put back: what it sends again counts once, what is new is kept, and the edge is named", async (context) => {
  const { hub, client: atHub, state } = await startHub(context);
  const [live, backup] = [join(makeTempDir(context), "data"), join(makeTempDir(context), "backup")];
  const edge = makeEdge(context, hub.url, live);
  await edge.node.start();
  await edge.send("old", 30);
  await edge.node.stop();
  // Whatever of it is not sent yet is in the backup as well, and is sent twice.
  cpSync(live, backup, { recursive: true });
  await edge.node.start();
  await edge.send("lost", 40);
  await synced(edge.node, edge.client);
  assert.deepEqual([(await state()).copies, (await state()).accepted], [0, 70]);
  await edge.node.kill("SIGKILL");
  rmSync(live, { recursive: true });
  cpSync(backup, live, { recursive: true });
  await edge.node.start();
  await edge.send("new", 15);
  await synced(edge.node, edge.client);
  assert.deepEqual(await devicesAt(atHub), { old: 30, lost: 40, new: 15 });
  const { events, accepted, copies } = await state();
  assert.equal(events, 85);
  // Both ways count: the one that was given up, and the one that was gone anew.
  assert.equal(accepted, 85);
  assert.ok(copies >= 1, "a start that was there before is noticed");
  assert.deepEqual(casesOf(await state()), ["replayed"]);
  await logged(edge.node, /this data directory went back to an older copy of itself/);
  // It goes on from there as it is: the next start is told nothing.
  await edge.node.restart("SIGTERM");
  await edge.send("later", 1);
  await synced(edge.node, edge.client);
  const said = await edge.client.json<{ sync: { hub: { identity: string | null } } }>("/v1/status");
  assert.equal(said.sync.hub.identity, null);
  assert.deepEqual(
    (await state()).identityCases.map(({ times }) => times),
    [1],
  );
  const { edges } = await atHub.json<{ edges: { edge: string; copies: number }[] }>("/v1/edges");
  assert.deepEqual(
    edges.filter((each) => each.copies > 0).map(({ edge: name }) => name),
    ["press-1"],
  );
  const { report } = await runAudit(edge.node.url, hub.url);
  assert.deepEqual(
    report.findings.map(({ verdict, atEdge, atHub: held }) => [verdict, held - atEdge]),
    [["unknown to the edge", 40]],
  );
});

test("a new disk under an old name: its counts are added to those of the old one", async (context) => {
  const { hub, state } = await startHub(context);
  const edge = makeEdge(context, hub.url, join(makeTempDir(context), "data"));
  await edge.node.start();
  await edge.send("a", 30);
  await synced(edge.node, edge.client);
  await edge.node.stop();
  rmSync(edge.node.dataDir, { recursive: true });
  await edge.node.start();
  await edge.send("b", 20);
  await synced(edge.node, edge.client);
  const { events, accepted, copies, conflicts, incarnations } = await state();
  assert.deepEqual([events, accepted, copies, conflicts, incarnations.length], [50, 50, 0, 0, 2]);
  assert.deepEqual(casesOf(await state()), ["re-imaged"]);
  await logged(edge.node, /the hub knows this edge by an earlier data directory/);
  const { exitCode, report } = await runAudit(edge.node.url, hub.url);
  assert.deepEqual(
    [exitCode, report.findings, report.equalEvents, report.others.map(({ count }) => count)],
    [0, [], 20, [30]],
  );
});

test("two nodes under one name, each with a data directory of its own, are told from a new disk", async (context) => {
  const { hub, state } = await startHub(context);
  const edges = [1, 2].map(() => makeEdge(context, hub.url, join(makeTempDir(context), "data")));
  for (const edge of edges) await edge.node.start();
  for (let round = 0; round < 4; round++)
    for (const [at, edge] of edges.entries()) {
      await edge.send(`of ${at}`, 5);
      await synced(edge.node, edge.client);
    }
  const { events, accepted, copies, identity, ...rest } = await state();
  assert.deepEqual([events, accepted, copies, identity], [40, 40, 0, "name-shared"]);
  assert.ok(casesOf({ events, accepted, copies, identity, ...rest }).includes("re-imaged"));
  for (const { node } of edges) await logged(node, /another node sends to the hub under this name/);
});
