import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient, type Result } from "../support/http-client.ts";
import { nabIsMissing, type Reading, readNab } from "../support/nab.ts";
import { type NodeProcess, spawnNode } from "../support/node-process.ts";
import {
  computeSessions,
  computeWindows,
  isQuantileWithin,
  type OracleWindow,
  windowId,
} from "../support/oracle.ts";
import { Random } from "../support/random.ts";

const HOUR_US = 3_600_000_000;
/** Readings of most files are 5 minutes apart, with holes. */
const GAP_US = 420_000_000;
const BATCH_EVENTS = 400;
const KILLS = 4;
const QUANTILE_ERROR = 0.01;
/** Variances of the node are computed from sums of squares in twice the precision, then rounded. */
const VARIANCE_ERROR = 1e-12;

const CONFIG = `
checkpoint: { every: 500ms }
streams:
  nab:
    key: file
    time: { field: timestamp, unit: iso }
    watermark: { bound: 1h, maxAhead: 36500d }
    lateness: 0s
queries:
  hourly:
    from: nab
    window: { tumbling: 1h }
    by: [file]
    select: &select
      count: count(value)
      sum: sum(value)
      avg: avg(value)
      min: min(value)
      max: max(value)
      first: first(value)
      last: last(value)
      variance: variance(value)
      stddev: stddev(value)
      median: quantile(value, 0.5)
      p99: quantile(value, 0.99)
  sessions:
    from: nab
    window: { session: 7m }
    by: [file]
    select: *select
  sliding:
    from: nab
    window: { sliding: 2h, every: 30m }
    by: [file]
    select: *select
`;

/** In the order of their time plus a delay below one hour: as a network with such delays would deliver them. */
function shuffleWithinAnHour(readings: readonly Reading[], random: Random): Reading[] {
  return readings
    .map((reading) => ({ reading, arrivalUs: reading.timeUs + random.next() * HOUR_US }))
    .toSorted((a, b) => a.arrivalUs - b.arrivalUs)
    .map(({ reading }) => reading);
}

function toLines(readings: readonly Reading[]): string {
  return readings
    .map(({ file, timeUs, value }) => {
      const timestamp = new Date(timeUs / 1_000).toISOString();
      return `{"timestamp":"${timestamp}","file":"${file}","value":${value}}\n`;
    })
    .join("");
}

/** Sends batch by batch; kills the node while some are on their way, and sends those again. */
async function sendThroughKills(
  node: NodeProcess,
  client: HttpClient,
  batches: readonly (readonly Reading[])[],
  random: Random,
): Promise<void> {
  const kills = new Set<number>();
  while (kills.size < KILLS) kills.add(random.integer(1, batches.length - 1));
  for (const [index, batch] of batches.entries()) {
    const options = { idempotencyKey: `batch-${index}` };
    const body = toLines(batch);
    if (kills.has(index)) {
      const doomed = client.post("nab", body, options).catch(() => null);
      await sleep(random.integer(0, 20));
      await node.kill("SIGKILL");
      await doomed;
      await node.start();
    }
    const first = await client.send("nab", body, options);
    assert.equal(first.accepted, batch.length);
    if (!kills.has(index)) assert.equal(first.duplicate, false);
    if (index % 3 !== 2) continue;
    const again = await client.send("nab", body, options);
    assert.deepEqual([again.accepted, again.duplicate], [batch.length, true]);
  }
}

function checkWindow(expected: OracleWindow, { values, kind, revision }: Result): void {
  const where = `${expected.key} ${new Date(expected.startUs / 1_000).toISOString()}`;
  for (const name of ["count", "sum", "avg", "min", "max", "first", "last"] as const) {
    assert.equal(values[name], expected[name], `${name} of ${where}`);
  }
  for (const name of ["variance", "stddev"] as const) {
    const [found, wanted] = [values[name], expected[name]];
    const isEqual =
      found === wanted ||
      (typeof found === "number" && wanted !== null && Math.abs(found - wanted) <= VARIANCE_ERROR * wanted);
    assert.ok(isEqual, `${name} of ${where}: ${found}, should be ${wanted}`);
  }
  for (const [name, q] of [
    ["median", 0.5],
    ["p99", 0.99],
  ] as const) {
    const found = values[name];
    assert.ok(isQuantileWithin(found, expected.sorted, q, QUANTILE_ERROR), `${name} of ${where}: ${found}`);
  }
  assert.deepEqual([kind, revision], ["on-time", 0], where);
}

test("all NAB files, shuffled, resent and killed: every hour, session and sliding window is exactly right", {
  skip: nabIsMissing,
}, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const readings = shuffleWithinAnHour(readNab(), random);
  assert.equal(new Set(readings.map(({ file }) => file)).size, 31);
  const batches: Reading[][] = [];
  for (let at = 0; at < readings.length; at += BATCH_EVENTS)
    batches.push(readings.slice(at, at + BATCH_EVENTS));
  const node = await spawnNode({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());

  await sendThroughKills(node, client, batches, random);
  await client.watermark("nab", { end: true });

  assert.deepEqual(await client.late("nab"), []);
  const stored = (await client.events("nab")).map(
    ({ file, timestamp, value }) => `${String(file)} ${Date.parse(String(timestamp))} ${String(value)}`,
  );
  const sent = readings.map(({ file, timeUs, value }) => `${file} ${timeUs / 1_000} ${value}`);
  assert.equal(stored.length, sent.length, "nothing is lost, nothing is there twice");
  assert.deepEqual(stored.toSorted(), sent.toSorted());

  const events = readings.map(({ file, timeUs, value }) => ({ key: file, timeUs, value }));
  for (const [query, expected] of [
    ["hourly", computeWindows(events, HOUR_US)],
    ["sessions", computeSessions(events, GAP_US)],
    ["sliding", computeWindows(events, 2 * HOUR_US, 0, HOUR_US / 2)],
  ] as const) {
    const results = await client.results(query);
    context.diagnostic(`${readings.length} events, ${results.length} results of ${query}`);
    assert.equal(results.length, expected.length);
    const found = new Map(
      results.map((row) => [windowId(String(row.key.file), Date.parse(row.window.start) * 1_000), row]),
    );
    for (const window of expected) {
      const row = found.get(windowId(window.key, window.startUs));
      assert.ok(row, `a result of ${query} for ${window.key} from ${window.startUs}`);
      assert.equal(Date.parse(row.window.end) * 1_000, window.endUs);
      checkWindow(window, row);
    }
  }
  await node.stop();
});
