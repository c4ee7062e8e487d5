import assert from "node:assert/strict";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { test } from "node:test";
import { createMetrics } from "../../host/observe/metrics.ts";
import { MemoryEngine, testConfig } from "./api-fixture.ts";

function metricOf(text: string, name: string): number {
  return Number(new RegExp(`^millrace_${name} (\\S+)$`, "m").exec(text)?.[1] ?? Number.NaN);
}

test("the first scrape has the process and Node itself, with samples of the loop's delay, whoever else asks", async () => {
  const metrics = createMetrics({ config: testConfig(), engine: new MemoryEngine() });
  assert.equal(metrics.registry.getSingleMetric("millrace_process_cpu_seconds_total"), undefined);
  const [one, other] = await Promise.all([metrics.render(), metrics.render()]);
  for (const text of [one, other]) assert.ok(metricOf(text, "process_cpu_seconds_total") > 0);
  // Without a sample the least is beyond all that could be. Each scrape begins anew, so that the other has none.
  const none = monitorEventLoopDelay().min / 1e9;
  const least = metricOf(one, "nodejs_eventloop_lag_min_seconds");
  assert.ok(least > 0 && least < none, `${least}`);
});
