import assert from "node:assert/strict";
import { test } from "node:test";
import { fleetConfig, makeFleetBodies, stampBody } from "../../bench/support/fleet.ts";
import { STAGES, type Stage, Stages } from "../../host/pipeline/stages.ts";
import { HttpClient } from "../support/http-client.ts";
import { spawnNode } from "../support/node-process.ts";

const FIRST_MS = Date.UTC(2026, 0, 1);
const BODIES = 8;
const EVENTS_PER_BODY = 2_000;
const EVENTS = BODIES * EVENTS_PER_BODY;
const DEVICES = 50;
const NS_PER_SECOND = 1e9;

type Totals = Readonly<Record<Stage, number>>;

test("the socket has what the main thread was busy with beside the stages that it counts itself", () => {
  // Hours, beside which what this test itself takes is nothing.
  const HOUR_MS = 3_600_000;
  let busyMs = HOUR_MS;
  const stages = new Stages(() => busyMs);
  assert.equal(stages.read().ns.socket, 0, "nothing before the door is open");
  stages.openDoor();
  busyMs += HOUR_MS;
  const startedMs = performance.now();
  while (performance.now() === startedMs);
  stages.addOnMain("copy", startedMs);
  const { ns } = stages.read();
  assert.ok(ns.copy > 0);
  assert.equal(Math.round(ns.socket + ns.copy), HOUR_MS * 1e6);
  busyMs -= 10;
  assert.equal(stages.read().ns.socket, ns.socket, "it never goes back");
});

test("every stage counts its events and time, and no thread's stages take longer than there was time", async (context) => {
  const startedMs = performance.now();
  const node = await spawnNode({ config: fleetConfig("1m", "5s") }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const before = await readStages(client);
  assert.deepEqual(Object.keys(before.events).toSorted(), STAGES.toSorted());
  const bodies = makeFleetBodies({
    devices: DEVICES,
    bodies: BODIES,
    eventsPerBody: EVENTS_PER_BODY,
    seed: 1,
  });
  for (const [index, body] of bodies.entries()) {
    stampBody(body, FIRST_MS + index * 30_000, 30_000);
    await client.send("fleet", body.bytes);
  }
  const answer = await client.send("fleet", `no event\n{"device":"d00001","ts":${FIRST_MS + 240_000}}\n`);
  assert.deepEqual([answer.accepted, answer.deadLettered], [1, 1]);
  await client.watermark("fleet", { end: true });
  const rows = (await client.results("temp")).length;
  const after = await readStages(client);
  const elapsedNs = (performance.now() - startedMs) * 1e6;
  const good = EVENTS + 1;
  const expected: Totals = {
    socket: good + 1,
    copy: good + 1,
    parse: good + 1,
    encode: good,
    compress: good,
    commit: good,
    apply: good,
    merge: good,
    emit: rows,
  };
  assert.deepEqual(after.events, expected);
  for (const stage of STAGES) assert.ok(after.ns[stage] > before.ns[stage], `${stage} took time`);
  const { socket, copy, parse, apply, encode, compress, commit, merge } = after.ns;
  const byThread = {
    main: socket + copy,
    lane: parse + apply + encode + compress,
    storage: commit,
    window: merge,
  };
  for (const [thread, ns] of Object.entries(byThread)) assert.ok(ns <= elapsedNs, `${thread}: ${ns} ns`);
  const { stageNs, stageEvents } = await client.json<{ stageNs: Totals; stageEvents: Totals }>("/v1/status");
  assert.deepEqual(stageEvents, expected);
  for (const stage of STAGES) assert.ok(stageNs[stage] >= after.ns[stage] - 1, `${stage} is in the status`);
});

async function readStages(client: HttpClient): Promise<{ ns: Totals; events: Totals }> {
  const { text } = await client.request("GET", "/metrics");
  const read = (name: string, scale: number): Totals => {
    const lines = text.matchAll(new RegExp(`^${name}\\{stage="(\\w+)"\\} (\\S+)$`, "gm"));
    return Object.fromEntries([...lines].map(([, stage, value]) => [stage, Number(value) * scale])) as Totals;
  };
  return {
    ns: read("millrace_stage_seconds_total", NS_PER_SECOND),
    events: read("millrace_stage_events_total", 1),
  };
}
