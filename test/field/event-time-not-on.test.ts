import assert from "node:assert/strict";
import { test } from "node:test";
import { startFieldNode } from "../support/field-node.ts";

interface Stream {
  readonly keyField: string | null;
  readonly keySource: string;
  readonly timeField: string;
  readonly timeSource: string;
  readonly timeFound: { readonly fields: readonly string[]; readonly arrival: boolean };
}

test("event-time-not-on: windows are of event time without any setting, and the stream says which fields are used", async (context) => {
  const { node, client } = await startFieldNode(null, context);
  await client.send("machines", [
    { id: "m1", timestamp: "2019-05-04T10:00:30Z", temp: 1 },
    { id: "m1", timestamp: "2019-05-04T10:00:45Z", temp: 3 },
  ]);
  await client.watermark("machines", { end: true });
  const rows = await client.results("machines_1m");
  assert.deepEqual(
    rows.map(({ key, window, values }) => [key, window.start, values.temp_avg]),
    [[{ id: "m1" }, "2019-05-04T10:00:00.000Z", 2]],
  );
  const stream = (): Promise<Stream> => client.json<Stream>("/v1/streams/machines");
  const expected = { fields: ["timestamp"], arrival: false };
  for (const signal of [null, "SIGKILL", "SIGTERM"] as const) {
    if (signal !== null) await node.restart(signal);
    const { keyField, keySource, timeSource, timeFound } = await stream();
    assert.deepEqual(
      [keyField, keySource, timeSource, timeFound],
      ["id", "found", "found-or-arrival", expected],
    );
  }
  await client.send("machines", [{ id: "m1", temp: 5 }]);
  assert.deepEqual((await stream()).timeFound, { fields: ["timestamp"], arrival: true });
});

test("event-time-not-on: a declared field is used alone, and said to be declared", async (context) => {
  const config = "streams:\n  machines: { key: device, time: { field: at, unit: s } }\n";
  const { client } = await startFieldNode(config, context);
  const answer = await client.send("machines", [
    { device: "m1", at: 5, ts: 99 },
    { device: "m1", ts: 99 },
  ]);
  assert.deepEqual([answer.accepted, answer.deadLettered], [1, 1], "a line without the declared time is bad");
  const { keyField, keySource, timeField, timeSource, timeFound } =
    await client.json<Stream>("/v1/streams/machines");
  assert.deepEqual([keyField, keySource, timeField, timeSource], ["device", "declared", "at", "declared"]);
  assert.deepEqual(timeFound, { fields: ["at"], arrival: false });
});
