import assert from "node:assert/strict";
import { test } from "node:test";
import { type Answer, HttpClient } from "../support/http-client.ts";
import { spawnNode } from "../support/node-process.ts";

const CONFIG = `
limits: { maxState: 1MiB }
streams:
  s: { key: device, time: { field: ts, unit: s }, watermark: { bound: 0s, maxAhead: 36500d }, lateness: 0s }
  plain: { key: device, time: { field: ts, unit: s }, watermark: { maxAhead: 36500d } }
queries:
  minutes: { from: s, window: { tumbling: 1m }, select: { n: count(), most: max(v) } }
  busy: { from: s, window: { session: 10s }, select: { n: count() } }
`;
const BATCH = 500;
const MINUTE = 60;

interface State {
  readonly bytes: number;
  readonly maxBytes: number;
  readonly refused: number;
  readonly largestKeys: {
    readonly query: string;
    readonly keys: readonly { readonly key: string; readonly bytes: number }[];
  } | null;
  readonly largest: readonly { readonly query: string; readonly keys: number; readonly openGroups: number }[];
}

test("over maxState events are refused until windows close, and none that was acknowledged is lost", async (context) => {
  const node = await spawnNode({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  let device = 0;
  let accepted = 0;
  const post = async (ts: number, count = BATCH): Promise<Answer> => {
    const events = Array.from({ length: count }, () => ({ device: `device ${device++}`, ts, v: device }));
    const answer = await client.post("s", events);
    if (answer.status === 200) accepted += count;
    return answer;
  };
  const state = async (): Promise<State> => (await settled(client)).state;
  /** Sends new keys of that time until they are refused. */
  const fill = async (ts: number): Promise<Answer> => {
    for (let sent = 0; sent < 100; sent++) {
      const answer = await post(ts);
      if (answer.status !== 200) return answer;
      await settled(client);
    }
    throw new Error("nothing was refused");
  };

  const refused = await fill(MINUTE);
  assert.equal(refused.status, 503);
  assert.ok(Number(refused.headers["retry-after"]) > 0);
  assert.match(refused.text, /limits\.maxState \(1\.0 MiB\)/);
  assert.match(refused.text, /query (minutes|busy): .* \d+ keys, \d+ open groups/);
  assert.match(refused.text, /events of 1970-01-01T00:01:10.*Z or later/);
  const full = await state();
  assert.ok(full.bytes > full.maxBytes && full.bytes < 2 * full.maxBytes, `${full.bytes} bytes`);
  assert.equal(full.refused, 1);
  assert.deepEqual(full.largest.map(({ query }) => query).toSorted(), ["busy", "minutes"]);
  assert.equal(full.largest[0]!.keys, accepted);
  // Looked through at the first refusal: a part of the keys at a time.
  while ((await state()).largestKeys === null) await new Promise((resolve) => setTimeout(resolve, 5));
  const { largestKeys } = await state();
  assert.equal(largestKeys?.query, full.largest[0]!.query);
  assert.equal(largestKeys?.keys.length, 5);
  assert.ok(largestKeys.keys.every(({ bytes }) => bytes > 0));
  const named = await post(MINUTE);
  assert.match(named.text, /Largest keys of (minutes|busy): \{\\"device\\":\\"device \d+\\"\} \(\d+ B\), /);
  assert.ok(
    node.lines.some((line) => line.includes("over limits.maxState") && line.includes("Largest keys")),
  );
  const metrics = (await client.request("GET", "/metrics")).text;
  assert.match(metrics, /^millrace_state_refused_requests_total 2$/m);
  assert.match(metrics, /^millrace_state_max_bytes 1048576$/m);
  assert.equal(
    (await client.post("plain", [{ device: "a", ts: MINUTE }])).status,
    200,
    "no windows, no limit",
  );

  // A restart replays all of it, and refuses as before.
  await node.restart("SIGKILL");
  assert.ok((await state()).bytes > full.maxBytes);
  assert.equal((await post(MINUTE + 1)).status, 503);

  // Time goes on: what closes windows is taken, and then there is room.
  assert.equal((await post(3 * MINUTE, 1)).status, 200);
  assert.ok((await state()).bytes < full.maxBytes);
  assert.equal((await fill(3 * MINUTE + 1)).status, 503);
  assert.ok(accepted > 2 * BATCH);

  // So it is when somebody says that time went on.
  await client.watermark("s", { time: 10 * MINUTE * 1_000 });
  assert.equal((await post(10 * MINUTE)).status, 200);
  await client.watermark("s", { end: true });
  for (const query of ["minutes", "busy"]) {
    const rows = await client.results(query);
    assert.equal(
      rows.reduce((sum, { values }) => sum + values["n"]!, 0),
      accepted,
      query,
    );
  }
  assert.deepEqual(await client.late("s"), []);
  await node.stop();
});

/** Status once all that was acknowledged is applied. */
async function settled(client: HttpClient): Promise<{ readonly state: State }> {
  for (;;) {
    const status = await client.json<{ readonly settled: boolean; readonly state: State }>("/v1/status");
    if (status.settled) return status;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
