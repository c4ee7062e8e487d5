import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { edgesOfStep } from "../../host/hub/configs/rollout.ts";
import type { HttpClient } from "../support/http-client.ts";
import {
  configState,
  documentOf,
  knownOf,
  queriesOf,
  remoteEdge,
  rolledBackByEvents,
  startRemoteHub,
  stateOf,
} from "../support/remote-fleet.ts";

interface RolloutAnswer {
  readonly state: string;
  readonly step: number;
  readonly reason: string | null;
  readonly edges: readonly string[];
}

const GROUP = "/v1/config-groups/presses";
const NAMES = ["press-1", "press-2", "press-3", "press-4"];

async function rolloutState(hub: HttpClient, wanted: string): Promise<RolloutAnswer> {
  for (let tries = 0; tries < 2_400; tries++) {
    const rollout = await hub.json<RolloutAnswer>(`${GROUP}/rollout`);
    if (rollout.state === wanted) return rollout;
    await sleep(100);
  }
  return assert.fail(`the rollout did not come to be ${wanted}`);
}

test("a group takes a version in steps, halted by one that refuses and one that is not well", async (context) => {
  const { hub: process, client: hub, url } = await startRemoteHub(context);
  const order = edgesOfStep(NAMES, 100);
  const [first = "", second = "", third = "", last = ""] = order;
  const nodes = new Map(
    order.map((name) => {
      // The second has not got a variable that the others have.
      const environment = name === second ? {} : { HOOK: "http://127.0.0.1:9" };
      return [name, remoteEdge(name, url, context, "every: 150ms, watch: 1s", environment)];
    }),
  );
  await Promise.all([...nodes.values()].map(({ edge }) => edge.start()));
  const clientOf = (name: string): HttpClient => nodes.get(name)!.client;
  await hub.request("PUT", `${GROUP}/edges`, JSON.stringify({ edges: NAMES }));
  await hub.request("PUT", GROUP, documentOf("one"));
  for (const name of NAMES) await configState(hub, name, stateOf(1, "applied"));

  // In steps of one: the first takes it, the second refuses.
  const hooked = `${documentOf("two")}alerts:
  hot: { from: two, when: n > 5, notify: [{ webhook: "\${HOOK}/x" }] }
`;
  const begun = await hub.request("PUT", `${GROUP}?rollout=25,50,100&wait=500ms`, hooked);
  assert.equal(begun.status, 200, begun.text);
  assert.equal((await hub.request("PUT", GROUP, documentOf("three"))).status, 409);
  await configState(hub, first, stateOf(2, "applied"));
  // The hub may go at any time.
  await process.restart("SIGKILL");
  const halted = await rolloutState(hub, "halted");
  assert.equal(halted.step, 2);
  assert.match(halted.reason ?? "", new RegExp(second));
  for (const name of [second, third, last]) assert.deepEqual(await queriesOf(clientOf(name)), ["one"], name);
  assert.deepEqual(await queriesOf(clientOf(first)), ["two"]);

  // Given up: the first goes back.
  await hub.request("POST", `${GROUP}/rollout/abort`);
  await configState(hub, first, stateOf(1, "applied"));
  assert.deepEqual(await queriesOf(clientOf(first)), ["one"]);

  // A version with which the third is not well; one failure is allowed, the second's is one.
  const strict = documentOf("four", ", fields: { other: int }, extra: reject");
  await rolledBackByEvents(hub, third, clientOf(third), 3, () =>
    hub.request("PUT", `${GROUP}?rollout=75,100&wait=1s&maxFailures=0`, strict),
  );
  await rolloutState(hub, "halted");
  assert.deepEqual(await queriesOf(clientOf(third)), ["one"]);
  assert.deepEqual(await queriesOf(clientOf(last)), ["one"]);

  // Somebody has looked at it, and goes on; an edge that is killed while it takes it does so all the same.
  await hub.request("POST", `${GROUP}/rollout/resume`);
  await configState(hub, last, knownOf(3));
  await nodes.get(last)!.edge.restart("SIGKILL");
  await configState(hub, last, stateOf(3, "applied"));
  await rolloutState(hub, "done");
  for (const name of [first, second, last]) assert.deepEqual(await queriesOf(clientOf(name)), ["four"], name);
  assert.deepEqual(await queriesOf(clientOf(third)), ["one"]);
});
