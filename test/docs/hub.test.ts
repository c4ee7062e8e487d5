import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { schemas } from "../../host/api/schemas.ts";
import { parseConfig } from "../../host/config/load.ts";
import { parseHubConfig } from "../../host/hub/hub-config.ts";
import { synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess, REPOSITORY_ROOT } from "../support/node-process.ts";

function blocks(page: string, language: string): string[] {
  const text = readFileSync(join(REPOSITORY_ROOT, page), "utf8");
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map(
    ([, found = ""]) => found,
  );
}

test("the README's edge and hub: events sent to the one are read at the other, as it says", async (context) => {
  const hub = new NodeProcess({ config: null, command: "hub" }, context);
  await hub.start();
  const config = blocks("README.md", "yaml").find((text) => text.includes("sync:"));
  assert.ok(config);
  const edge = new NodeProcess({ config: config.replace("http://127.0.0.1:7080", hub.url) }, context);
  await edge.start();
  const [atEdge, atHub] = [new HttpClient(() => edge.url), new HttpClient(() => hub.url)];
  context.after(() => atEdge.close());
  context.after(() => atHub.close());
  await atEdge.send("machines", [{ ts: "2026-01-01T08:00:01Z", device: "press-1", temp: 70.5 }]);
  await synced(edge, atEdge);
  const path = "/v1/streams/machines/events";
  assert.ok(blocks("README.md", "sh").some((text) => text.includes(`curl http://127.0.0.1:7080${path}`)));
  assert.equal((await atHub.request("GET", path)).text, blocks("README.md", "jsonl")[0]);
  schemas.Status.parse(await atEdge.json("/v1/status"));
  const metrics = (await atEdge.request("GET", "/metrics")).text;
  assert.match(metrics, /millrace_sync_events_total\{sink="hub"\} 1\n/);
  assert.match(metrics, /millrace_sync_breaker\{sink="hub"\} 0\n/);
  assert.match(
    (await atHub.request("GET", "/metrics")).text,
    /millrace_hub_batches_total\{outcome="stored"\} [1-9]/,
  );
  assert.match((await atHub.request("GET", "/")).text, /Millrace hub/);
  const { paths } = await atHub.json<{ paths: Record<string, unknown> }>("/openapi.json");
  for (const call of ["/v1/sync", "/v1/edges", "/v1/alerts"]) assert.ok(call in paths, call);
  const shown = await atEdge.json<Record<string, unknown>>("/v1/config");
  assert.ok(parseConfig(JSON.stringify(shown), "shown.yaml").ok, "what is shown can be read again");
});

test("the configurations of docs/sync.md and docs/hub.md are valid", () => {
  for (const text of blocks("docs/sync.md", "yaml")) assert.ok(parseConfig(text, "sync.yaml").ok, text);
  const environment = {
    DATABASE_URL: "postgres://hub:secret@db:5432/fleet",
    PRESS_HALL_3_TOKEN: "longenough",
    PRESS_HALL_4_TOKEN: "longenough",
  };
  for (const text of blocks("docs/hub.md", "yaml")) {
    const loaded = parseHubConfig(text, "hub.yaml", {}, environment);
    assert.ok(loaded.ok);
    if (text.includes("tokens:")) assert.equal(loaded.config.tokens?.get("press-hall-3"), "longenough");
    assert.equal(loaded.config.store.kind === "postgres", text.includes("postgres:"));
    assert.equal(loaded.config.nats !== null, text.includes("nats:"));
  }
  const short = parseHubConfig("tokens: { a: short }\n", "hub.yaml");
  assert.ok(!short.ok);
  assert.match(short.problems[0]!.message, /8 characters/);
});
