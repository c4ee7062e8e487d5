import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../support/http-client.ts";
import { audit } from "../support/ledger-audit.ts";
import { spawnNode } from "../support/node-process.ts";

/** Bodies that are answered, whether taken or refused. The queue takes a tenth of what the clients offer at once. */
const ANSWERS = Number(process.env.MILLRACE_OVERLOAD_ANSWERS ?? 4_000);
const CLIENTS = 80;
const QUEUED_REQUESTS = CLIENTS / 10;
const EVENTS = 500;
const MIB = 1024 * 1024;
/** Of memory, between the most after the first third and the most at the end: what a collection may leave. */
const SLACK_BYTES = 96 * MIB;
const PATIENCE_MS = 240_000;
const CONFIG = `
streams: { fleet: { key: device } }
queries: { per_minute: { from: fleet, window: { tumbling: 1m }, select: { n: count(), mean: avg(temp) } } }
limits: { maxQueuedRequests: ${QUEUED_REQUESTS} }
`;

test("ten times as many requests as are taken: told when to come again, memory stays, what was accepted is there", async (context) => {
  const node = await spawnNode({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const clients = Array.from({ length: CLIENTS }, () => new HttpClient(() => node.url));
  context.after(() => {
    for (const each of clients) each.close();
  });
  const statuses = new Map<number, number>();
  const residents: number[] = [];
  let accepted = 0;
  let answers = 0;
  await Promise.all(
    clients.map(async (own, which) => {
      // None of them waits as it is told to.
      for (let round = 0; answers < ANSWERS; round++) {
        const answer = await own.post("fleet", body(which, round));
        answers++;
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        if (answer.status === 200) accepted += (JSON.parse(answer.text) as { accepted: number }).accepted;
        else {
          assert.ok(answer.status === 429 || answer.status === 503, `${answer.status} ${answer.text}`);
          const seconds = Number(answer.headers["retry-after"]);
          assert.ok(Number.isInteger(seconds) && seconds >= 1 && seconds <= 30, `retry after ${seconds} s`);
        }
        const resident = node.residentBytes();
        if (resident !== null && answers % 50 === 0) residents.push(resident);
      }
    }),
  );
  context.diagnostic(`${JSON.stringify([...statuses])}, ${accepted} events accepted`);
  assert.ok((statuses.get(429) ?? 0) + (statuses.get(503) ?? 0) > 0, "it was too much");
  assert.ok(accepted > 0);

  const third = Math.ceil(residents.length / 3);
  const [early, most] = [Math.max(...residents.slice(0, third)), Math.max(...residents)];
  context.diagnostic(
    `resident ${Math.round(early / MIB)} MiB after a third, ${Math.round(most / MIB)} at most`,
  );
  if (residents.length > 0) assert.ok(most <= early + SLACK_BYTES, `${early} grew to ${most}`);

  // It goes on at once: nothing is left over of what was too much.
  const endMs = performance.now() + PATIENCE_MS;
  let answer = await client.post("fleet", body(0, -1));
  while (answer.status !== 200) {
    assert.ok(performance.now() < endMs, answer.text);
    await sleep(1_000 * Number(answer.headers["retry-after"]));
    answer = await client.post("fleet", body(0, -1));
  }
  accepted += EVENTS;
  await client.watermark("fleet", { end: true });
  const results = await client.results("per_minute");
  assert.equal(
    results.reduce((sum, { values }) => sum + (values.n ?? 0), 0),
    accepted,
  );
  const { ledgers, imbalances } = audit(node.dataDir);
  assert.deepEqual(imbalances, []);
  assert.deepEqual(
    ledgers.map(({ stream, held }) => [stream, held]),
    [["fleet", accepted]],
  );
  await node.stop();
});

function body(client: number, round: number): string {
  const startMs = Date.UTC(2026, 0, 1);
  const lines: string[] = [];
  for (let n = 0; n < EVENTS; n++)
    lines.push(
      `{"device":"c${client}-${n % 10}","ts":${startMs + (n % 60) * 1_000},"temp":${round + n / 10}}`,
    );
  return lines.join("\n");
}
