import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseConfig } from "../../host/config/load.ts";
import { checkRemoteDocument, localSettings } from "../../host/config/remote-document.ts";
import { configFile } from "../../host/config/schema.ts";
import { readRollout } from "../../host/hub/configs/config-routes.ts";
import { parseHubConfig } from "../../host/hub/hub-config.ts";
import { REPOSITORY_ROOT } from "../support/node-process.ts";

function page(name: string): string {
  return readFileSync(join(REPOSITORY_ROOT, name), "utf8");
}

function blocks(name: string): string[] {
  return [...page(name).matchAll(/^```yaml\n(.*?)^```/gms)].map(([, found = ""]) => found);
}

test("docs/remote-configuration.md: its edge, its document, its rollout, and what may not come", () => {
  const [edge = "", document = ""] = blocks("docs/remote-configuration.md");
  const loaded = parseConfig(edge, "edge.yaml");
  assert.ok(loaded.ok);
  const { remote } = loaded.config.sync!;
  assert.deepEqual(remote, {
    everyMs: 30_000,
    publicKey: null,
    group: null,
    watchMs: 60_000,
    reachMs: 600_000,
    maxBadShare: 0.1,
  });
  assert.deepEqual(checkRemoteDocument(document, { edge: "press-hall-3" }), []);
  const [, steps, wait, most] = /rollout=([\d,]+)&wait=([\w,]+)&maxFailures=(\d+)/.exec(
    page("docs/remote-configuration.md"),
  )!;
  assert.notEqual(readRollout(steps, wait, most), "wrong");
  for (const section of Object.keys(configFile.shape)) {
    const isRemote = ["streams", "queries", "tables", "alerts"].includes(section);
    const found = localSettings(`${section}: {}\n`, { group: "presses" }, "x.yaml");
    assert.equal(found.length, isRemote ? 0 : 1, section);
    if (!isRemote) assert.ok(page("docs/remote-configuration.md").includes(`\`${section}\``), section);
  }
  assert.deepEqual(localSettings("node: { id: press-1 }\n", { edge: "press-1" }, "x.yaml"), []);
  assert.equal(localSettings("node: { id: press-2 }\n", { edge: "press-1" }, "x.yaml").length, 1);
  const [file] = checkRemoteDocument("streams: { a: {} }\ntables:\n  t: { file: a.csv, key: k }\n", {
    edge: "x",
  });
  assert.deepEqual([file?.line, file?.path], [3, "tables.t.file"]);
});

test("docs/relay.md: its relay and its hub", () => {
  const environment = { SITE_TOKEN: "longenough", PRESS_1_TOKEN: "longenough", PRESS_2_TOKEN: "longenough" };
  const [relay = "", hub = ""] = blocks("docs/relay.md");
  const loaded = parseConfig(relay, "relay.yaml", {}, environment);
  assert.ok(loaded.ok);
  assert.deepEqual([loaded.config.relay?.capBytes, loaded.config.relay?.maxHops], [1024 ** 3, 4]);
  const ofHub = parseHubConfig(hub, "hub.yaml", {}, environment);
  assert.ok(ofHub.ok);
  assert.deepEqual([...(ofHub.config.relays.get("site-4") ?? [])], ["press-1", "press-2"]);
  const nowhere = parseConfig("relay: true\n", "relay.yaml");
  assert.ok(!nowhere.ok);
  assert.match(nowhere.problems[0]!.message, /nowhere to send/);
});
