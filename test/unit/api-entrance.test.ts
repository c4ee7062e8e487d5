import assert from "node:assert/strict";
import { test } from "node:test";
import { Hono } from "hono";
import { pino } from "pino";
import type { App } from "../../host/api/app.ts";
import { createEntrance } from "../../host/api/entrance.ts";
import { serveNode } from "../../host/api/serve.ts";
import { createMetrics } from "../../host/observe/metrics.ts";
import { KNOWN, MemoryEngine, MemoryReads, startTestNode, testConfig } from "./api-fixture.ts";

const log = pino({ level: "silent" });
const PROBES = ["/healthz", "/readyz", "/metrics"];

test("a probe's short way answers as the app does, whatever the engine says", async (context) => {
  const { url, engine } = await startTestNode(context);
  for (const isReady of [true, false]) {
    const status = engine.status();
    engine.status = () => ({ ...status, isReady });
    for (const path of PROBES) {
      const short = await fetch(url + path);
      // A query has it go the long way.
      const long = await fetch(`${url}${path}?`);
      assert.equal(short.status, long.status, path);
      assert.deepEqual(headersOf(short), headersOf(long), path);
      const [first, second] = [await short.text(), await long.text()];
      if (path !== "/metrics") assert.equal(first, second);
      assert.equal((await fetch(url + path, { method: "HEAD" })).status, short.status);
      assert.equal((await fetch(url + path, { method: "POST" })).status, 405);
    }
  }
  const metrics = await (await fetch(`${url}/metrics`)).text();
  // Both ways, and HEAD.
  for (const [path, status] of [
    ["/healthz", 200],
    ["/readyz", 200],
    ["/readyz", 503],
  ])
    assert.match(metrics, new RegExp(`seconds_count\\{route="${path}",status="${status}"\\} [36]`));
});

test("events and probes do not load the app; what else is asked does, once", async (context) => {
  const config = testConfig();
  const engine = new MemoryEngine();
  const metrics = createMetrics({ config, engine });
  const { door, app } = createEntrance({ config, engine, reads: new MemoryReads(), log, metrics });
  let loads = 0;
  const server = await serveNode(
    {
      app: () => {
        loads++;
        return app();
      },
      door,
      listen: config.listen,
      maxConnections: 100,
      metrics,
      log,
    },
    { drainMs: 500 },
  );
  context.after(() => server.close());
  for (const path of PROBES) assert.equal((await fetch(server.url + path)).status, 200);
  const headers = { "content-type": "application/x-ndjson" };
  const events = `${server.url}/v1/streams/${KNOWN}/events`;
  assert.equal((await fetch(events, { method: "POST", headers, body: "{}" })).status, 200);
  assert.equal(loads, 0);
  const answers = await Promise.all([1, 2, 3].map(() => fetch(`${server.url}/v1/streams`)));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200],
  );
  assert.equal(loads, 1);
});

test("an app that cannot be loaded closes the request's connection, and the next request has it tried again", async (context) => {
  const config = testConfig();
  const metrics = createMetrics({ config, engine: new MemoryEngine() });
  let loads = 0;
  const whole: App = new Hono();
  whole.get("/v1/streams", (answer) => answer.json({ streams: [] }));
  const server = await serveNode(
    {
      app: () => (loads++ === 0 ? Promise.reject(new Error("a file is gone")) : Promise.resolve(whole)),
      listen: config.listen,
      maxConnections: 100,
      metrics,
      log,
    },
    { drainMs: 500 },
  );
  context.after(() => server.close());
  await assert.rejects(fetch(`${server.url}/v1/streams`));
  assert.equal((await fetch(`${server.url}/v1/streams`)).status, 200);
  assert.equal(loads, 2);
});

function headersOf({ headers }: Response): Record<string, string> {
  const { date: _, "content-length": __, ...rest } = Object.fromEntries(headers);
  return rest;
}
