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

test("keys keep their types on the way up, whatever is beside them, and through a restart", async (context) => {
  const config = `
streams: { s: { key: device, time: { field: ts, unit: s }, watermark: { bound: 0s, maxAhead: 36500d }, lateness: 0s } }
queries:
  minutes: { from: s, window: { tumbling: 1m }, select: { last: last(v) } }
  hours: { from: minutes, window: { tumbling: 1h }, select: { n: count(), total: sum(last) } }
`;
  const node = await spawnNode({ config }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const devices = ["7", "9007199254740992", "9007199254740993"];
  const send = (ts: number, value: string): Promise<unknown> =>
    client.send("s", devices.map((device) => `{"device":${device},"ts":${ts},"v":${value}}`).join("\n"));
  await send(10, "5");
  await send(70, "2");
  await node.restart("SIGTERM");
  // From here on the stream's devices are texts; above, what came before stays what it was.
  await client.send("s", '{"device":"gate","ts":130,"v":"open"}');
  await client.watermark("s", { end: true });
  const texts = async (query: string): Promise<string[]> => {
    const answer = await fetch(`${node.url}/v1/queries/${query}/results`);
    return (await answer.text()).trim().split("\n");
  };
  const keysOf = (rows: readonly string[]): string[] =>
    [...new Set(rows.map((row) => /"key":(\{.*?\})/.exec(row)?.[1] ?? ""))].sort();
  const hours = await texts("hours");
  assert.deepEqual(keysOf(hours), keysOf(await texts("minutes")));
  const whole = hours.filter((row) => row.includes('"values":{"n":2,"total":7}'));
  assert.equal(whole.length, devices.length, hours.join("\n"));
});
