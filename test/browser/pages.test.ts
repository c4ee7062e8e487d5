import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Chromium, withoutChromium } from "../support/chromium.ts";
import { synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";

const skip = withoutChromium();
/** What a browser would run, had it come as markup. */
const MARKUP = "<img src=x onerror=document.title='run'>";

/** A hub and an edge with 1,234 events, results and an alert that is firing; one device's name is markup. */
async function fleet(context: TestContext) {
  const hub = new NodeProcess({ config: null, command: "hub" }, context);
  await hub.start();
  const config = `
node: { id: press-hall-3 }
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1s, maxAhead: 36500d } }
queries:
  per_device: { from: machines, window: { tumbling: 10s }, by: [device], select: { n: count(), mean: avg(temp) } }
alerts:
  hot: { from: per_device, when: mean > 60, severity: critical }
sync: { url: "${hub.url}", batch: { events: 100, every: 200ms }, probe: 100ms }
`;
  const edge = new NodeProcess({ config }, context);
  await edge.start();
  const client = new HttpClient(() => edge.url);
  context.after(() => client.close());
  const events = Array.from({ length: 1_234 }, (_, n) => ({
    ts: Date.UTC(2026, 0, 1) + n * 20,
    device: n % 2 === 0 ? MARKUP : "press-1",
    temp: 70,
  }));
  await client.send("machines", events);
  await client.watermark("machines", { time: "2026-01-01T00:00:20Z" });
  await synced(edge, client);
  return { hub, edge, client };
}

test("the node's dashboard and the hub's page load, show what there is, and run nothing but their own", {
  skip,
  timeout: 900_000,
}, async (context) => {
  const { hub, edge, client } = await fleet(context);
  const chromium = await Chromium.start(context);

  const dashboard = await chromium.open(edge.url);
  const shown = await dashboard.shows(/machines[\s\S]*1[,.\u202f ]?234/);
  assert.match(shown, /per_device/);
  await dashboard.shows(/2 firing[\s\S]*hot/i);
  // What comes later is shown without a reload.
  await client.send("machines", [{ ts: Date.UTC(2026, 0, 1, 0, 0, 21), device: "press-1", temp: 70 }]);
  await dashboard.shows(/1[,.\u202f ]?235/);

  const page = await chromium.open(hub.url);
  const seen = await page.shows(/press-hall-3[\s\S]*1[,.\u202f ]?23[45]/);
  assert.match(seen, /Millrace hub/);
  await page.shows(/1 edge\b/);
  assert.match(await page.shows(/hot[\s\S]*firing/), /press-hall-3 · /);

  for (const { tab, of } of [
    { tab: dashboard, of: edge },
    { tab: page, of: hub },
  ]) {
    assert.deepEqual(tab.problems, []);
    assert.notEqual(await tab.evaluate("document.title"), "run", "a device's name was run");
    assert.equal(await tab.evaluate("document.querySelectorAll('img').length"), 0);
    const strangers = tab.requests.filter((url) => !url.startsWith(of.url) && !url.startsWith("data:"));
    assert.deepEqual(strangers, []);
    // The policy is in force: what is added is not run.
    await tab.evaluate(
      "void document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.added = 1' }))",
    );
    assert.equal(await tab.evaluate("window.added === undefined"), true);
    assert.match(tab.problems.join("\n"), /Content Security Policy/);
  }
  await edge.stop();
  await hub.stop();
});

test("a page whose node is gone says so, and finds it again", { skip, timeout: 900_000 }, async (context) => {
  const { hub } = await fleet(context);
  const chromium = await Chromium.start(context);
  const page = await chromium.open(hub.url);
  await page.shows(/1 edge/);
  const listen = new URL(hub.url).host;
  await hub.stop();
  await page.shows(/no answer/);
  const again = new NodeProcess({ config: null, command: "hub", dataDir: hub.dataDir, listen }, context);
  await again.start();
  await page.shows(/1 edge/);
  await again.stop();
});
