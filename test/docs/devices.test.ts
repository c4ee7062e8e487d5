import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { schemas } from "../../host/api/schemas.ts";
import { DEFAULT_LIMITS } from "../../host/config/defaults.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess, REPOSITORY_ROOT } from "../support/node-process.ts";

test("docs/devices.md: its request gets its answer, and its limits are those there are", async (context) => {
  const page = readFileSync(join(REPOSITORY_ROOT, "docs/devices.md"), "utf8");
  const [, path = "", body = ""] =
    /curl -X PUT http:\/\/127\.0\.0\.1:7070(\S+) .*?-d '([^']+)'/s.exec(page) ?? [];
  const [, answer = ""] = /^```json\n(.*?)^```/ms.exec(page) ?? [];
  const node = new NodeProcess({ config: null }, context);
  await node.start();
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const { status, text } = await client.request("PUT", path, body, { "content-type": "application/json" });
  assert.equal(status, 200, text);
  const valuesOf = (json: string): unknown => {
    const { device, attributes } = schemas.Device.parse(JSON.parse(json));
    return [device, Object.entries(attributes).map(([name, { value }]) => [name, value])];
  };
  assert.deepEqual(valuesOf(text), valuesOf(answer));
  const said = [...page.matchAll(/`limits\.(max\w+)` +\| ([\d,]+)/g)].map(([, name, number]) => [
    name,
    Number(number?.replaceAll(",", "")) * (name === "maxAttributeBytes" ? 1_024 : 1),
  ]);
  const { maxDevices, maxDeviceAttributes, maxAttributeBytes } = DEFAULT_LIMITS;
  assert.deepEqual(Object.fromEntries(said), { maxDevices, maxDeviceAttributes, maxAttributeBytes });
  const metrics = await client.request("GET", "/metrics");
  for (const [, name = ""] of page.matchAll(/`(millrace_(?!hub_)\w+)`/g))
    assert.ok(metrics.text.includes(`# HELP ${name} `), name);
});
