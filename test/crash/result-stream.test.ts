import assert from "node:assert/strict";
import { test } from "node:test";
import { HttpClient } from "../support/http-client.ts";
import { spawnNode } from "../support/node-process.ts";

const CONFIG = `
streams: { s: { key: device, time: { field: ts, unit: s }, watermark: { bound: 1m, maxAhead: 36500d }, lateness: 5m } }
queries:
  # Stands before the query that it is from.
  hours: { from: minutes, window: { tumbling: 1h }, select: { minutes: count(), n: sum(n), most: max(n) } }
  minutes: { from: s, window: { tumbling: 1m }, select: { n: count() } }
  direct: { from: s, window: { tumbling: 1h }, select: { n: count() } }
`;
const HOURS = 6;

test("hours made of minutes are those made of events, through kills and restarts", async (context) => {
  const node = await spawnNode({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const lines: string[] = [];
  for (let ts = 0; ts < HOURS * 3_600; ts += 20) {
    // Every seventh event comes four minutes after its time, within the lateness.
    const isLate = ts % 140 === 0 && ts > 240;
    lines.push(JSON.stringify({ device: `d${ts % 3}`, ts: isLate ? ts - 240 : ts }));
  }
  const batch = Math.ceil(lines.length / 9);
  for (let at = 0, sent = 0; at < lines.length; at += batch, sent++) {
    const body = lines.slice(at, at + batch).join("\n");
    await client.send("s", body);
    if (sent % 3 === 1) await node.restart("SIGKILL");
    if (sent % 3 === 2) await node.restart("SIGTERM");
  }
  await client.watermark("s", { end: true });
  await node.restart("SIGKILL");
  const [hours, direct] = await Promise.all([client.results("hours"), client.results("direct")]);
  assert.equal(direct.length, HOURS * 3);
  const plain = (rows: typeof hours): unknown[] =>
    rows.map(({ window, key, values }) => ({ window, key, n: values.n }));
  assert.deepEqual(plain(hours), plain(direct));
  assert.ok(
    hours.every(({ values, revision }) => values.minutes! > 10 && values.most! >= 1 && revision === 0),
  );
});
