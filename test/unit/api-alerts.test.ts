import assert from "node:assert/strict";
import { test } from "node:test";
import type { AlertRow } from "../../workers/messages.ts";
import { startTestNode, type TestProblem } from "./api-fixture.ts";
import { millrace, StandIn } from "./cli-stand-in.ts";

const ROW: AlertRow = {
  alert: 'h"ot',
  severity: "critical",
  definition: "d",
  key: '{"device":"m1"}',
  state: "firing",
  sinceUs: 0,
  atUs: 1_500,
  value: '{"mean":91}',
  id: "i1",
  revision: 0,
  isRetracted: false,
  isTold: true,
};

test("GET /v1/alerts hands every filter on, latest steps by default", async (context) => {
  const { url, reads } = await startTestNode(context);
  assert.equal((await fetch(`${url}/v1/alerts`)).status, 200);
  const filter =
    "alert=hot&state=firing&key=m1&from=1970-01-01T00:00:01Z&to=2000000&limit=7&revisions=all&after=x";
  assert.equal((await fetch(`${url}/v1/alerts?${filter}`)).status, 200);
  const none = { alert: null, state: null, key: null, fromUs: null, toUs: null, after: null };
  assert.deepEqual(
    reads.asked.map(({ list, request }) => ({ list, ...request })),
    [
      { list: "alerts", ...none, limit: 1_000, revisions: "latest" },
      {
        list: "alerts",
        alert: "hot",
        state: "firing",
        key: "m1",
        fromUs: 1_000_000,
        toUs: 2_000_000,
        limit: 7,
        revisions: "all",
        after: "x",
      },
    ],
  );
});

test("wrong filters of alerts are answered 400 with the parameter's name", async (context) => {
  const { url } = await startTestNode(context);
  for (const [filter, detail] of [
    ["state=hot", /^state: "hot" is not one of pending, firing, resolved$/],
    ["revisions=some", /^revisions: "some" is not latest or all$/],
    ["from=soon", /^from: /],
    ["limit=0", /^limit: /],
    ["after=none", /^after: /],
  ] as const) {
    const answer = await fetch(`${url}/v1/alerts?${filter}`);
    assert.equal(answer.status, 400, filter);
    assert.match(((await answer.json()) as TestProblem).detail, detail);
  }
});

test("GET /v1/alerts/live sends steps as events, each with its id and revision", async (context) => {
  const { url, engine } = await startTestNode(context);
  const answer = await fetch(`${url}/v1/alerts/live`);
  assert.equal(answer.headers.get("content-type"), "text/event-stream");
  const reader = answer.body!.getReader();
  let text = Buffer.from((await reader.read()).value!).toString();
  for (const listener of engine.alertListeners) listener([ROW, { ...ROW, revision: 1, isRetracted: true }]);
  while (!text.includes("retracted")) text += Buffer.from((await reader.read()).value!).toString();
  await reader.cancel();
  const body =
    '"severity":"critical","key":{"device":"m1"},"state":"firing","since":"1970-01-01T00:00:00.000Z"';
  const step =
    `event: alert\nid: i1-0\ndata: {"alert":"h\\"ot",${body},"at":"1970-01-01T00:00:00.001500Z",` +
    '"value":{"mean":91},"id":"i1","revision":0}\n\n';
  assert.ok(text.includes(step), text);
  assert.match(text, /id: i1-1\ndata: .*"revision":1,"retracted":true\}\n\n$/);
  const head = await fetch(`${url}/v1/alerts/live`, { method: "HEAD" });
  assert.equal(head.headers.get("content-type"), "text/event-stream");
});

test("millrace alerts asks with its filters and prints the lines as they are", async (context) => {
  const line = '{"alert":"hot","key":{"device":"m1"},"state":"firing"}';
  const standIn = await StandIn.start(() => ({ body: `${line}\n` }), context);
  const filters = [
    "--alert",
    "hot",
    "--state",
    "firing",
    "--key",
    "m1",
    "--revisions",
    "--from",
    "2026-01-01",
  ];
  const run = await millrace(["alerts", ...filters, "--url", standIn.url]);
  assert.deepEqual([run.code, run.stdout, run.stderr], [0, `${line}\n`, ""]);
  const asked = new URL(standIn.requests[0]!.path, standIn.url);
  assert.equal(asked.pathname, "/v1/alerts");
  assert.deepEqual(Object.fromEntries(asked.searchParams), {
    alert: "hot",
    state: "firing",
    key: "m1",
    revisions: "all",
    from: "2026-01-01",
    limit: "10000",
  });
});
