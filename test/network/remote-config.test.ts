import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
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

test("an edge takes the hub's configuration, and the hub knows what became of it", async (context) => {
  const { client: hub, url } = await startRemoteHub(context);
  const { edge, client } = remoteEdge("press-1", url, context);
  await edge.start();
  assert.equal((await hub.request("GET", "/v1/config/press-1")).status, 404);
  const put = await hub.request("PUT", "/v1/config/press-1", documentOf("of_hub"), { "millrace-by": "anna" });
  assert.equal(put.status, 200, put.text);
  const etag = String(put.headers.etag);
  const got = await hub.request("GET", "/v1/config/press-1");
  assert.deepEqual([got.status, got.text, got.headers.etag], [200, documentOf("of_hub"), etag]);
  const again = await hub.request("GET", "/v1/config/press-1", undefined, { "if-none-match": etag });
  assert.deepEqual([again.status, again.text, again.headers.etag], [304, "", etag]);
  const applied = await configState(hub, "press-1", stateOf(1, "applied"));
  assert.equal(applied.isInForce, true);
  assert.deepEqual(await queriesOf(client), ["of_hub"]);

  // What is put here would be the hub's no more.
  const local = await client.request("PUT", "/v1/config", documentOf("of_edge"));
  assert.equal(local.status, 422, local.text);
  assert.match(local.text, /the hub holds/);
  await edge.restart("SIGKILL");
  assert.deepEqual(await queriesOf(client), ["of_hub"]);

  await hub.request("PUT", "/v1/config/press-1", documentOf("second"), { "millrace-by": "ben" });
  await configState(hub, "press-1", stateOf(2, "applied"));
  assert.deepEqual(await queriesOf(client), ["second"]);
  const { versions } = await hub.json<{ versions: { version: number; by: string }[] }>(
    "/v1/config/press-1/versions",
  );
  assert.deepEqual(
    versions.map(({ version, by }) => [version, by]),
    [
      [2, "ben"],
      [1, "anna"],
    ],
  );
  const diff = await hub.request("GET", "/v1/config/press-1/versions/2?diff");
  assert.match(diff.text, /^- {3}of_hub: .*\n\+ {3}second: /m);
});

test("the hub stores nothing that is wrong, or the edge's own", async (context) => {
  const { client: hub } = await startRemoteHub(context);
  const wrong = await hub.request(
    "PUT",
    "/v1/config/press-1",
    "streams:\n  a: {}\nqueries:\n  q: { form: a }\n",
  );
  assert.equal(wrong.status, 422);
  const { errors } = JSON.parse(wrong.text) as { errors: { line: number; path: string; message: string }[] };
  assert.ok(
    errors.some(({ line, path }) => line === 4 && path.startsWith("queries.q")),
    wrong.text,
  );
  const local = await hub.request("PUT", "/v1/config/press-1", `${documentOf("q")}data: /elsewhere\n`);
  assert.equal(local.status, 422);
  assert.match(local.text, /data of an edge cannot be set from a hub: the events are there/);
  assert.equal((await hub.request("GET", "/v1/config/press-1")).status, 404);
});

test("a version that an edge refuses, or is not well with, is told and never tried again", async (context) => {
  const { client: hub, url } = await startRemoteHub(context);
  const { edge, client } = remoteEdge("press-1", url, context, "every: 200ms, watch: 2s");
  await edge.start();
  await hub.request("PUT", "/v1/config/press-1", documentOf("good"));
  await configState(hub, "press-1", stateOf(1, "applied"));

  const unset = `${documentOf("with_alert")}alerts:
  hot: { from: with_alert, when: n > 5, notify: [{ webhook: "\${NOT_SET_HERE}/hook" }] }
`;
  assert.equal((await hub.request("PUT", "/v1/config/press-1", unset)).status, 200);
  const refused = await configState(hub, "press-1", stateOf(2, "refused"));
  assert.match(refused.report?.reason ?? "", /NOT_SET_HERE is not set/);
  assert.equal(refused.isInForce, false);
  assert.deepEqual(await queriesOf(client), ["good"]);

  // Valid, but no event fits: it must go back.
  const strict = documentOf("bad", ", fields: { other: int }, extra: reject");
  const back = await rolledBackByEvents(hub, "press-1", client, 3, () =>
    hub.request("PUT", "/v1/config/press-1", strict),
  );
  assert.match(back.report?.reason ?? "", /of the events since .* could not be taken/);
  assert.deepEqual(await queriesOf(client), ["good"]);
  const version = async (): Promise<unknown> =>
    (await client.json<{ config?: unknown }>("/v1/status")).config;
  const before = await version();
  await sleep(1_500);
  assert.deepEqual(await version(), before);
  assert.deepEqual(await queriesOf(client), ["good"]);
  await edge.restart("SIGKILL");
  await sleep(1_000);
  assert.deepEqual(await queriesOf(client), ["good"]);
  const after = await configState(hub, "press-1", stateOf(3, "rolled-back"));
  assert.deepEqual(after.report, back.report);
});

test("edge and hub killed in the middle: the version is watched to its end all the same", async (context) => {
  const { hub: process, client: hub, url } = await startRemoteHub(context);
  const { edge, client } = remoteEdge("press-1", url, context, "every: 200ms, watch: 10s");
  await edge.start();
  await hub.request("PUT", "/v1/config/press-1", documentOf("first"));
  await configState(hub, "press-1", knownOf(1));
  await edge.kill("SIGKILL");
  await process.kill("SIGKILL");
  await edge.start();
  assert.deepEqual(await queriesOf(client), ["first"]);
  await process.start();
  await configState(hub, "press-1", stateOf(1, "applied"));
  assert.deepEqual(await queriesOf(client), ["first"]);

  // A node that ends time after time with a new version goes back to the one before.
  await hub.request("PUT", "/v1/config/press-1", documentOf("deadly"));
  await configState(hub, "press-1", stateOf(2, "trying"));
  for (let life = 0; life < 3; life++) await edge.restart("SIGKILL");
  const back = await configState(hub, "press-1", stateOf(2, "rolled-back"));
  assert.match(back.report?.reason ?? "", /ended 3 times/);
  assert.deepEqual(await queriesOf(client), ["first"]);
});
