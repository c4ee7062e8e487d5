import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { diagnose } from "../../workers/store/repair/doctor.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess, REPOSITORY_ROOT } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const HOUR_MS = 3_600_000;
const CONFIG = `
checkpoint: { every: 100ms }
streams:
  s: { key: k, time: { field: ts, unit: ms }, watermark: { bound: 0s, maxAhead: 36500d } }
  arrivals: { key: k }
  sources: { key: k, time: { field: ts, unit: ms }, watermark: { per: source, bound: 0s, maxAhead: 36500d, idle: 10m } }
queries:
  q: { from: s, window: { tumbling: 1s }, select: { n: count() } }
  p: { from: sources, window: { tumbling: 1s }, select: { n: count() } }
`;

test("the wall clock jumps back and forth by hours: nothing is lost, counted twice or late, and the node goes on", async (context) => {
  const file = join(makeTempDir(context), "shift");
  writeFileSync(file, "0");
  const environment = {
    NODE_OPTIONS: `--import ${join(REPOSITORY_ROOT, "test/support/shifted-clock.js")}`,
    MILLRACE_SHIFT_FILE: file,
  };
  const node = new NodeProcess({ config: CONFIG, environment }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  const startMs = Date.UTC(2026, 0, 1);
  const shifts = [0, 5, -3, 12, -26, 0, 40, -1];
  let sent = 0;
  for (const [round, hours] of shifts.entries()) {
    writeFileSync(file, String(hours * HOUR_MS));
    for (const k of ["a", "b"]) {
      const event = { k, ts: startMs + round * 1_000 };
      await client.send("s", [event], { idempotencyKey: `${k}${round}` });
      const again = await client.send("s", [event], { idempotencyKey: `${k}${round}` });
      assert.equal(again.duplicate, true);
      await client.send("arrivals", [{ k, round }]);
      await client.send("sources", [event]);
      sent++;
    }
    // Time for a checkpoint and a look at idle sources under this clock.
    await sleep(150);
    if (round % 3 === 1) await node.restart(round === 1 ? "SIGKILL" : "SIGTERM");
  }
  for (let round = 0; round < shifts.length; round++) {
    const event = { k: "a", ts: startMs + round * 1_000 };
    const again = await client.send("s", [event], { idempotencyKey: `a${round}` });
    assert.equal(again.duplicate, true, "keys are remembered across all of it");
  }
  assert.equal((await client.events("s")).length, sent);
  assert.equal((await client.events("arrivals")).length, sent);
  assert.deepEqual(await client.late("s"), []);
  await client.watermark("s", { end: true });
  assert.deepEqual(
    (await client.results("q")).map(({ values }) => values.n),

    shifts.flatMap(() => [1, 1]),
  );
  // A source is idle by the clock: a jump ahead may make it so, and then its next events may be late, which are kept.
  await client.watermark("sources", { end: true });
  const counted = (await client.results("p")).reduce((sum, { values }) => sum + Number(values.n), 0);
  assert.equal(counted + (await client.late("sources")).length, sent);
  await node.stop();
  const { findings } = await diagnose({
    dir: node.dataDir,
    masters: null,
    mode: "look",
    nowUs: Date.now() * 1000,
  });
  assert.deepEqual(findings, []);
});
