import assert from "node:assert/strict";
import { test } from "node:test";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { writeSmallCore } from "../support/small-core.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const CONFIG = `
checkpoint: { every: 200ms }
streams: { s: { key: k, time: { field: ts, unit: ms }, watermark: { bound: 1h, maxAhead: 36500d } } }
queries: { q: { from: s, window: { tumbling: 1h }, select: { n: count(), most: max(v), p: quantile(v, 0.5) } } }
`;
const EVENTS_PER_BATCH = 1_000;
const MOST_BATCHES = 2_000;
const MIB_PAGES = 16;

test("memory that cannot grow stops the node with a reason; with more of it, a restart has every event", async (context) => {
  const core = writeSmallCore(makeTempDir(context), 24 * MIB_PAGES);
  const options = { config: CONFIG, environment: { MILLRACE_WASM: core } };
  const small = new NodeProcess(options, context);
  const client = new HttpClient(() => small.url);
  context.after(() => client.close());
  await small.start();
  let acknowledged = 0;
  let sent = 0;
  while (small.isRunning && sent < MOST_BATCHES) {
    const first = sent++ * EVENTS_PER_BATCH;
    const events = Array.from({ length: EVENTS_PER_BATCH }, (_, n) => ({
      k: `key ${first + n}`,
      ts: n,
      v: n,
    }));
    const idempotencyKey = `batch ${first}`;
    const status = await client.post("s", events, { idempotencyKey }).then(
      (answer) => answer.status,
      () => null,
    );
    if (status === 200) acknowledged++;
  }
  assert.ok(acknowledged > 0 && sent < MOST_BATCHES, `${acknowledged} of ${sent} batches were taken`);
  assert.equal(await small.exited(), 1);
  const reason = small.lines.find((line) => line.includes("a restart replays the log"));
  assert.match(reason ?? "", /memory/, "the reason names what there was too little of");

  const node = new NodeProcess({ config: CONFIG, dataDir: small.dataDir }, context);
  const again = new HttpClient(() => node.url);
  context.after(() => again.close());
  await node.start();
  await again.watermark("s", { end: true });
  const rows = await again.results("q");
  const events = rows.reduce((sum, { values }) => sum + values["n"]!, 0);
  assert.equal(rows.length, events, "each key once");
  assert.ok(
    events >= acknowledged * EVENTS_PER_BATCH,
    `${events} events, ${acknowledged} batches acknowledged`,
  );
  assert.ok(events <= sent * EVENTS_PER_BATCH);
  await node.stop();
});
