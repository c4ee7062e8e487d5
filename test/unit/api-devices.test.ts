import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Hono } from "hono";
import { pino } from "pino";
import { addDeviceRoutes } from "../../host/api/device-attributes.ts";
import { serveNode } from "../../host/api/serve.ts";
import { DeviceRegistry } from "../../host/attributes/device-registry.ts";
import { DEFAULT_LIMITS } from "../../host/config/defaults.ts";
import { createMetrics } from "../../host/observe/metrics.ts";
import { MillraceError } from "../../workers/errors.ts";
import { StoreFixture } from "../support/store-fixtures.ts";
import { MemoryEngine } from "./api-fixture.ts";

const NOW_MS = Date.UTC(2026, 0, 1);

/** The real routes over a real store. */
async function start(context: TestContext, limits: Partial<typeof DEFAULT_LIMITS> = {}) {
  const fixture = new StoreFixture(context);
  const all = { ...DEFAULT_LIMITS, ...limits };
  const state = { isDown: false, writes: 0, fsync: Promise.resolve() };
  const devices = new DeviceRegistry({
    storage: {
      setAttributes: async (task) => {
        state.writes++;
        await state.fsync;
        if (state.isDown) throw new MillraceError("E_DISK_FULL", "the disk is full");
        return fixture.store.attributes.set(task.tasks, task.limits, NOW_MS);
      },
      readAttributes: (device) => Promise.resolve(fixture.store.attributes.read(device)),
      listDevices: (task) => Promise.resolve(fixture.store.attributes.list(task)),
      reportAttributes: () => Promise.resolve(fixture.store.attributes.report(NOW_MS)),
    },
    limits: all,
    onSet: () => undefined,
  });
  const app: Parameters<typeof addDeviceRoutes>[0] = new Hono();
  addDeviceRoutes(app, devices);
  const metrics = createMetrics({ config: { limits: all } as never, engine: new MemoryEngine() });
  const listen = { host: "127.0.0.1", port: 0 };
  const server = await serveNode(
    { app: () => Promise.resolve(app), listen, maxConnections: 100, metrics, log: pino({ level: "silent" }) },
    { drainMs: 500 },
  );
  context.after(() => server.close());
  const request = async (method: string, path: string, body?: string, type = "application/json") => {
    const headers = { "content-type": type };
    const answer = await fetch(`${server.url}/v1/devices${path}`, {
      method,
      ...(body === undefined ? {} : { body, headers }),
    });
    const text = await answer.text();
    return { status: answer.status, text, link: answer.headers.get("link") };
  };
  const attributesOf = async (device: string): Promise<Record<string, unknown> | null> => {
    const { status, text } = await request("GET", `/${encodeURIComponent(device)}/attributes`);
    if (status === 404) return null;
    type Answer = { attributes: Record<string, { value: unknown }> };
    const { attributes } = JSON.parse(text) as Answer;
    return Object.fromEntries(Object.entries(attributes).map(([name, { value }]) => [name, value]));
  };
  return { request, attributesOf, state, devices };
}

test("PUT replaces a device's attributes, PATCH sets and removes some; both survive what names hold", async (context) => {
  const { request, attributesOf } = await start(context);
  assert.equal(await attributesOf("m1"), null);
  const put = await request("PUT", "/m1/attributes", '{"firmware":"1.4","floor":2,"spare":false}');
  assert.equal(put.status, 200);
  assert.deepEqual(JSON.parse(put.text), {
    device: "m1",
    attributes: {
      firmware: { value: "1.4", at: "2026-01-01T00:00:00.000Z", clock: `${NOW_MS}-0` },
      floor: { value: 2, at: "2026-01-01T00:00:00.000Z", clock: `${NOW_MS}-1` },
      spare: { value: false, at: "2026-01-01T00:00:00.000Z", clock: `${NOW_MS}-2` },
    },
  });
  assert.equal(
    (await request("PATCH", "/m1/attributes", '{"firmware":"1.5","spare":null,"none":null}')).status,
    200,
  );
  assert.deepEqual(await attributesOf("m1"), { firmware: "1.5", floor: 2 });
  assert.equal((await request("PUT", "/m1/attributes", '{"floor":3}')).status, 200);
  assert.deepEqual(await attributesOf("m1"), { floor: 3 });
  const odd = "line 1/é\u{1f600}?#";
  assert.equal(
    (await request("PUT", `/${encodeURIComponent(odd)}/attributes`, '{"a":"\\u0000"}')).status,
    200,
  );
  assert.deepEqual(await attributesOf(odd), { a: "\0" });
  assert.equal((await request("PUT", "/m1/attributes", "{}")).status, 200);
  assert.equal(await attributesOf("m1"), null);
});

test("devices are listed page by page", async (context) => {
  const { request } = await start(context);
  for (let n = 0; n < 7; n++) await request("PUT", `/d${n}/attributes`, `{"n":${n}}`);
  await request("PUT", "/d3/attributes", "{}");
  const names: string[] = [];
  for (let path: string | null = "?limit=2"; path !== null; ) {
    const { text, link } = await request("GET", path);
    names.push(
      ...text
        .split("\n")
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as { device: string }).device),
    );
    path = /devices(\?[^>]+)>/.exec(link ?? "")?.[1] ?? null;
  }
  assert.deepEqual(names, ["d0", "d1", "d2", "d4", "d5", "d6"]);
});

test("what cannot be taken is refused whole, with what to do", async (context) => {
  const { request, attributesOf, devices } = await start(context, {
    maxDevices: 2,
    maxDeviceAttributes: 3,
    maxAttributeBytes: 20,
  });
  await request("PUT", "/m1/attributes", '{"a":1}');
  const cases: [body: string, status: number, says: RegExp][] = [
    ["{", 422, /no JSON/],
    ["[1]", 422, /a JSON object/],
    ['{"a":{"b":1}}', 422, /a text, a number, true, false, or null/],
    ['{"a":[]}', 422, /a text, a number/],
    ['{"b c":1}', 422, /1 to 64 letters/],
    ['{"a":12345678901234567890}', 422, /beyond 2\^53/],
    ['{"a":"123456789012345678901"}', 422, /limits.maxAttributeBytes is 20/],
    ['{"b":1,"c":2,"d":3}', 422, /limits.maxDeviceAttributes \(3\)/],
    [`{"a":"${"x".repeat(1_000)}"}`, 413, /limits.maxDeviceAttributes \(3\)/],
  ];
  for (const [body, status, says] of cases) {
    const answer = await request("PATCH", "/m1/attributes", body);
    assert.equal(answer.status, status, `${body}: ${answer.text}`);
    assert.match(answer.text, says, body);
  }
  assert.equal((await request("PUT", "/m1/attributes", "{}", "text/csv")).status, 415);
  assert.equal((await request("PUT", `/${"x".repeat(257)}/attributes`, "{}")).status, 400);
  assert.equal((await request("PUT", "/a%00b/attributes", "{}")).status, 400);
  assert.deepEqual(await attributesOf("m1"), { a: 1 });
  await request("PUT", "/m2/attributes", '{"a":1}');
  assert.match((await request("PUT", "/m3/attributes", '{"a":1}')).text, /limits.maxDevices \(2\)/);
  assert.equal(devices.refused, 2);
});

test("requests that come together share a transaction, and a store that fails is told as it is", async (context) => {
  const { request, attributesOf, state, devices } = await start(context);
  // The first one's fsync takes until all the others are there.
  const set = devices.set.bind(devices);
  let asked = 0;
  state.fsync = new Promise((resolve) => {
    devices.set = (task) => {
      if (++asked === 60) resolve();
      return set(task);
    };
  });
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, n) => request("PATCH", "/m1/attributes", `{"a${n}":${n}}`)),
  );
  assert.ok(answers.every(({ status }) => status === 200));
  assert.equal(Object.keys((await attributesOf("m1")) ?? {}).length, 60);
  assert.equal(state.writes, 2);
  state.isDown = true;
  const { status, text } = await request("PATCH", "/m1/attributes", '{"a0":"x"}');
  assert.deepEqual([status, JSON.parse(text).code], [503, "E_DISK_FULL"]);
  assert.equal((await attributesOf("m1"))?.a0, 0);
});
