import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../support/http-client.ts";
import { EventClock, LoadClient } from "../support/load.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";
import { ALERTS, QUERY_ABOVE, verifyFollowing } from "../support/verify-following.ts";
import { loadConfig, verifyLoad } from "../support/verify-load.ts";

const KILLS = Number(process.env.MILLRACE_KILLS ?? 6);
/** One that never comes: each start replays all there is. */
const CONFIG = `${loadConfig("1d")}${QUERY_ABOVE}${ALERTS}`;

test(`${KILLS} times kill -9 without any checkpoint: windows over windows, and each step of each alert, are there once`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const node = new NodeProcess({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const clock = new EventClock(Date.UTC(2026, 0, 1), 20);
  const clients = ["a", "b", "c"].map((name) => {
    const options = { stream: "load", name, eventsPerBatch: 60, pauseMs: 5 };
    return new LoadClient({ ...options, client, clock, random: new Random(random.integer(0, 2 ** 31)) });
  });
  context.after(() => {
    for (const each of clients) each.stop();
  });
  await node.start();
  const load = Promise.all(clients.map((each) => each.run()));
  for (let kill = 0; kill < KILLS; kill++) {
    // Some starts are killed while they replay.
    if (random.chance(0.7)) await node.waitUntilReady();
    await sleep(random.integer(50, 1_000));
    await node.kill("SIGKILL");
    node.launch();
  }
  await node.waitUntilReady();
  for (const each of clients) each.stop();
  await load;
  assert.ok(!node.lines.some((line) => line.includes("checkpoint restored")));
  const sent = clients.flatMap((each) => each.events);
  await verifyLoad(client, sent);
  const { windows, steps } = await verifyFollowing(client, sent);
  context.diagnostic(`${sent.length} events, ${windows} windows over windows, ${steps} steps of alerts`);
  await node.restart("SIGKILL");
  await verifyFollowing(client, sent);
  await node.stop();
});
