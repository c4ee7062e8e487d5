import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { diagnose } from "../../workers/store/repair/doctor.ts";
import { HttpClient } from "../support/http-client.ts";
import { EventClock, LoadClient } from "../support/load.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";
import { ALERTS, QUERY_ABOVE, verifyFollowing } from "../support/verify-following.ts";
import { loadConfig, verifyLoad } from "../support/verify-load.ts";

const KILLS = Number(process.env.MILLRACE_KILLS ?? 8);
const CLIENTS = 3;
/** Between these a start with a replay, its end, and the first seconds of load. */
const SHORTEST_LIFE_MS = 300;
const LONGEST_LIFE_MS = 3_000;
/** Of each client between its batches where a run is long: all of its events are compared at the end. */
const PAUSE_MS = KILLS > 100 ? 25 : 0;

const FOLLOWED = `${loadConfig("30ms")}${QUERY_ABOVE}`;
const CONFIG = `${FOLLOWED}${ALERTS}`;
/** Another set of queries and alerts; what is looked at is the same in both. */
const OTHER = `${FOLLOWED}
  other:
    from: load
    window: { tumbling: 5s }
    select: { n: count() }
  above_other:
    from: other
    window: { tumbling: 15s }
    select: { n: sum(n) }
${ALERTS}
  many: { from: above_other, when: n > 10 }
  any: { from: load, when: v > 0 }
`;

test(`${KILLS} times kill -9 while it starts, replays, checkpoints and reloads: the books balance each time`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const node = new NodeProcess({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const clock = new EventClock(Date.UTC(2026, 0, 1), 5);
  const clients = Array.from({ length: CLIENTS }, (_, index) => {
    const options = { stream: "load", name: `client-${index}`, eventsPerBatch: 40, pauseMs: PAUSE_MS };
    return new LoadClient({ ...options, client, clock, random: new Random(random.integer(0, 2 ** 31)) });
  });
  context.after(() => {
    for (const each of clients) each.stop();
  });
  let failure: unknown = null;
  const load = Promise.all(clients.map((each) => each.run())).catch((cause: unknown) => {
    failure = cause;
    for (const each of clients) each.stop();
  });
  // The first start makes the database: without one there is nothing to look at.
  await node.start();
  for (let kill = 0; kill < KILLS && failure === null; kill++) {
    // However slow the machine: half of the lives take events for a while.
    if (random.chance(0.5)) await node.waitUntilReady();
    const endMs = performance.now() + random.integer(SHORTEST_LIFE_MS, LONGEST_LIFE_MS);
    while (performance.now() < endMs) {
      await sleep(random.integer(20, 200));
      // At once, for a node that starts would end where it finds half of it.
      writeFileSync(`${node.configFile}.new`, random.pick([CONFIG, OTHER]));
      renameSync(`${node.configFile}.new`, node.configFile);
      // Before it listens, the signal would end a node that has no ears for it yet.
      if (node.lines.length > 0 && isListening(node)) process.kill(node.pid, "SIGHUP");
    }
    await node.kill("SIGKILL");
    const { findings } = await diagnose({
      dir: node.dataDir,
      masters: null,
      mode: "look",
      nowUs: Date.now() * 1000,
    });
    assert.deepEqual(findings, [], `after kill ${kill}`);
    node.launch();
  }
  await node.waitUntilReady();
  for (const each of clients) each.stop();
  await load;
  if (failure !== null) throw failure;
  const sent = clients.flatMap((each) => each.events);
  context.diagnostic(`${sent.length} events`);
  await verifyLoad(client, sent);
  const { windows, steps } = await verifyFollowing(client, sent);
  context.diagnostic(`${windows} windows over windows, ${steps} steps of alerts`);
  await node.stop();
});

function isListening(node: NodeProcess): boolean {
  try {
    return node.url !== "";
  } catch {
    return false;
  }
}
