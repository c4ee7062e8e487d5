import assert from "node:assert/strict";
import { test } from "node:test";
import { RateMeter } from "../../host/pipeline/rate.ts";

test("the rate is that of the last ten whole seconds", () => {
  const meter = new RateMeter();
  for (let second = 0; second < 20; second++) meter.add(50, second * 1_000);
  assert.equal(meter.perSecond(20_000), 50);
  assert.equal(meter.perSecond(25_000), 25);
  assert.equal(meter.perSecond(60_000), 0);
});
