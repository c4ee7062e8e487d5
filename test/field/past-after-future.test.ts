import assert from "node:assert/strict";
import { test } from "node:test";
import { startFieldNode } from "../support/field-node.ts";

const CONFIG = (per: "stream" | "source" | "key"): string => `
streams:
  fleet:
    key: device
    time: { field: ts }
    watermark: { bound: 0s, per: ${per}, maxAhead: 5m }
    lateness: 0s
queries:
  counts:
    from: fleet
    window: { tumbling: 10s }
    select: { n: count() }
`;
const HOUR_MS = 3_600_000;

interface Stream {
  readonly watermark: string;
  readonly clockSkewed: number;
  readonly late: number;
  readonly skewedDevices: readonly { device: string; events: number; medianOffsetMs: number }[];
}

for (const per of ["stream", "source", "key"] as const) {
  test(`past-after-future, watermarks per ${per}: an event in the future makes no other late, and its device is named`, async (context) => {
    const { node, client } = await startFieldNode(CONFIG(per), context);
    const nowMs = Math.floor(Date.now() / 10_000) * 10_000 - 60_000;
    await client.send("fleet", [{ device: "good", ts: nowMs }]);
    await client.send("fleet", [
      { device: "fast", ts: nowMs + 2 * HOUR_MS },
      { device: "fast", ts: nowMs + 2 * HOUR_MS },
    ]);
    await client.send("fleet", [
      { device: "good", ts: nowMs + 1_000 },
      { device: "other", ts: nowMs + 2_000 },
    ]);
    const stream = await client.json<Stream>("/v1/streams/fleet");
    assert.deepEqual([stream.late, stream.clockSkewed], [0, 2], "no correct event is late");
    assert.ok(Date.parse(stream.watermark) <= nowMs + 2_000, "the watermark did not follow the fast clock");
    await client.watermark("fleet", { end: true });
    assert.deepEqual(
      (await client.results("counts")).map(({ key, values }) => [key.device, values.n]),
      [
        ["good", 2],
        ["other", 1],
      ],
    );

    const aside = await client.late("fleet");
    assert.deepEqual(
      aside.map(({ reason, event }) => [reason, event.device]),
      [
        ["clock-skew", "fast"],
        ["clock-skew", "fast"],
      ],
    );
    const named = ({ skewedDevices: [device, ...others] }: Stream): void => {
      assert.deepEqual([device?.device, device?.events, others.length], ["fast", 2, 0]);
      const offMs = Math.abs((device?.medianOffsetMs ?? 0) - 2 * HOUR_MS);
      assert.ok(offMs < 0.1 * HOUR_MS, `${device?.medianOffsetMs} ms ahead`);
    };
    named(stream);
    const status = await client.json<{ streams: Stream[] }>("/v1/status");
    named(status.streams[0]!);
    const metrics = (await client.request("GET", "/metrics")).text;
    assert.match(metrics, /^millrace_clock_skewed_device_events\{stream="fleet",device="fast"\} 2$/m);
    await node.restart("SIGKILL");
    named(await client.json<Stream>("/v1/streams/fleet"));
  });
}

test("past-after-future, within maxAhead: with watermarks per source a clock that is ahead makes only itself wait", async (context) => {
  const { client } = await startFieldNode(CONFIG("source"), context);
  const nowMs = Math.floor(Date.now() / 10_000) * 10_000 - 60_000;
  await client.send("fleet", [{ device: "good", ts: nowMs }]);
  // Four minutes ahead of what arrives, which maxAhead allows.
  await client.send("fleet", [{ device: "fast", ts: nowMs + 240_000 }]);
  await client.send("fleet", [
    { device: "good", ts: nowMs + 1_000 },
    { device: "good", ts: nowMs + 30_000 },
  ]);
  assert.deepEqual(await client.late("fleet"), []);
  const clocks = await client.json<{
    heldBackBy: { device: string };
    devices: { device: string; medianOffsetMs: number }[];
  }>("/v1/streams/fleet/clocks");
  assert.deepEqual(clocks.heldBackBy, { device: "good" });
  assert.equal(clocks.devices[0]?.device, "fast", "the report begins with the clock that is furthest ahead");
});

test("past-after-future, watermarks per key: a clock that is ahead by less than maxAhead makes no other late either", async (context) => {
  const { node, client } = await startFieldNode(CONFIG("key"), context);
  const nowMs = Math.floor(Date.now() / 10_000) * 10_000 - 60_000;
  await client.send("fleet", [
    { device: "fast", ts: nowMs + 100_000 },
    { device: "good", ts: nowMs },
  ]);
  await client.send("fleet", [{ device: "good", ts: nowMs + 1_000 }]);
  await node.restart("SIGKILL");
  await client.send("fleet", [
    { device: "good", ts: nowMs + 2_000 },
    { device: "other", ts: nowMs + 3_000 },
    { device: "fast", ts: nowMs + 200_000 },
  ]);
  const counts = async (): Promise<unknown> =>
    (await client.results("counts")).map(({ key, values }) => [key.device, values.n]);
  assert.deepEqual(await counts(), [["fast", 1]], "each window closes by its own clock");
  assert.deepEqual(await client.late("fleet"), []);
  const { watermark } = await client.json<Stream>("/v1/streams/fleet");
  assert.equal(Date.parse(watermark), nowMs + 2_000, "the earliest clock with an open window is shown");
  await client.watermark("fleet", { end: true });
  assert.deepEqual(await counts(), [
    ["good", 3],
    ["other", 1],
    ["fast", 1],
    ["fast", 1],
  ]);
});
