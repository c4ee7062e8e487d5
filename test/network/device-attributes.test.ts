import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import { ChaosProxy } from "../support/chaos-proxy.ts";
import { all, logged, synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess, REPOSITORY_ROOT } from "../support/node-process.ts";
import { Random } from "../support/random.ts";
import { makeTempDir } from "../support/temp-dir.ts";

/** Attributes of devices, from an edge to a hub, on real processes. */

const HOUR_MS = 3_600_000;
const SHIFTED_CLOCK = pathToFileURL(join(REPOSITORY_ROOT, "test/support/shifted-clock.js")).href;

async function startFleet(context: TestContext, random: Random | null = null) {
  const hub = new NodeProcess({ config: null, command: "hub" }, context);
  await hub.start();
  const proxy = random === null ? hub : await ChaosProxy.start(() => hub.url, random, context);
  const shiftFile = join(makeTempDir(context), "shift");
  writeFileSync(shiftFile, "0");
  const config = `
node: { id: press-1 }
sync: { url: "${proxy.url}", batch: { every: 100ms }, probe: 100ms, retry: { first: 20ms, longest: 200ms }, breaker: { open: 200ms } }
`;
  const environment = { NODE_OPTIONS: `--import ${SHIFTED_CLOCK}`, MILLRACE_SHIFT_FILE: shiftFile };
  const edge = new NodeProcess({ config, environment }, context);
  await edge.start();
  const [atEdge, atHub] = [new HttpClient(() => edge.url), new HttpClient(() => hub.url)];
  context.after(() => atEdge.close());
  context.after(() => atHub.close());
  const set = async (device: string, attributes: object, method = "PATCH"): Promise<void> => {
    const path = `/v1/devices/${encodeURIComponent(device)}/attributes`;
    const { status, text } = await atEdge.request(method, path, JSON.stringify(attributes), {
      "content-type": "application/json",
    });
    assert.equal(status, 200, text);
  };
  const devices = async (): Promise<Record<string, Record<string, unknown>>> => {
    type Row = { device: string; attributes: Record<string, { value: unknown }> };
    const rows = (await all(atHub, "/v1/devices?edge=press-1")) as unknown as Row[];
    return Object.fromEntries(
      rows.map(({ device, attributes }) => [
        device,
        Object.fromEntries(Object.entries(attributes).map(([name, { value }]) => [name, value])),
      ]),
    );
  };
  const shift = (ms: number): void => writeFileSync(shiftFile, String(ms));
  return { hub, edge, atEdge, atHub, set, devices, shift, settled: () => synced(edge, atEdge) };
}

test("attributes reach the hub as they are at the end, whatever the line and kills do", async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const { edge, set, devices, settled } = await startFleet(context, random);
  const expected: Record<string, Record<string, unknown>> = {};
  for (let n = 0; n < 60; n++) {
    const device = `m${random.integer(1, 4)}`;
    const name = random.pick(["firmware", "floor", "owner"]);
    const value = random.pick(["1.4", "é", 7, true, null]);
    await set(device, { [name]: value });
    const held = expected[device] ?? {};
    expected[device] = held;
    if (value === null) delete held[name];
    else held[name] = value;
    if (n % 20 === 10) {
      await edge.kill("SIGKILL");
      await edge.start();
    }
  }
  await settled();
  const held = Object.fromEntries(Object.entries(expected).filter(([, of]) => Object.keys(of).length > 0));
  assert.deepEqual(await devices(), held);
});

test("a clock that is far ahead is not believed: its stamps are refused, told of, and made anew", async (context) => {
  const { edge, atHub, atEdge, set, devices, shift, settled } = await startFleet(context);
  shift(10_000 * HOUR_MS);
  await set("m1", { firmware: "ahead" });
  await logged(edge, /stamped anew/);
  await settled();
  assert.deepEqual(await devices(), { m1: { firmware: "ahead" } });
  const { refusedAttributes } = await atHub.json<{ refusedAttributes: { count: number; reason: string } }>(
    "/v1/edges/press-1",
  );
  assert.ok(refusedAttributes.count >= 1);
  assert.equal(refusedAttributes.reason, "clock-ahead");
  const { text } = await atHub.request("GET", "/metrics");
  assert.match(text, new RegExp(`^millrace_hub_refused_attributes_total ${refusedAttributes.count}$`, "m"));
  const { sync } = await atEdge.json<{ sync: { hub: { clockOffsetMs: number } } }>("/v1/status");
  assert.ok(sync.hub.clockOffsetMs > 9_000 * HOUR_MS);
  // What was wrong for a while does not hold against what is set when the clock is right again.
  shift(0);
  await set("m1", { firmware: "right" });
  await settled();
  assert.deepEqual(await devices(), { m1: { firmware: "right" } });
});

test("a new disk with a clock of long ago: what is set on it holds against what was set before", async (context) => {
  const { edge, set, devices, shift, settled } = await startFleet(context);
  await set("m1", { firmware: "old disk", floor: 1 });
  await settled();
  await edge.stop();
  rmSync(edge.dataDir, { recursive: true });
  shift(-400_000 * HOUR_MS);
  await edge.start();
  await set("m1", { firmware: "new disk" });
  await settled();
  assert.deepEqual(await devices(), { m1: { firmware: "new disk", floor: 1 } });
  await set("m1", { firmware: "newer", floor: null });
  await settled();
  assert.deepEqual(await devices(), { m1: { firmware: "newer" } });
});
