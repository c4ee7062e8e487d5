import assert from "node:assert/strict";
import type { HttpClient } from "./http-client.ts";
import type { LoadEvent } from "./load.ts";
import { computeWindows, type OracleWindow, windowId } from "./oracle.ts";

const WINDOW_US = 10_000_000;

/** Windows of ten seconds over the load of `LoadClient`s, with checkpoints as often as `every` says. */
export function loadConfig(every: string): string {
  return `
checkpoint: { every: ${every} }
streams:
  load:
    key: client
    time: { field: ts, unit: ms }
    watermark: { bound: 1m, maxAhead: 36500d }
    lateness: 0s
queries:
  per_client:
    from: load
    window: { tumbling: 10s }
    by: [client]
    select: { n: count(), total: sum(v), top: max(v), end: last(v) }
`;
}

/** The windows of `per_client`, the slow way. */
export function loadWindows(sent: readonly LoadEvent[]): OracleWindow[] {
  return computeWindows(
    sent.map(({ client: key, ts, v }) => ({ key, timeUs: ts * 1_000, value: v })),
    WINDOW_US,
  );
}

/** Every event that was acknowledged is there, once, and no other; and so are the windows, each once. */
export async function verifyLoad(client: HttpClient, sent: readonly LoadEvent[]): Promise<void> {
  const numbers = new Map<string, number>();
  for (const event of await client.events("load")) {
    const id = `${String(event.client)} ${String(event.number)}`;
    numbers.set(id, (numbers.get(id) ?? 0) + 1);
  }
  const lost = sent.filter((event) => !numbers.has(`${event.client} ${event.number}`));
  const twice = [...numbers].filter(([, times]) => times > 1);
  assert.deepEqual(lost.slice(0, 10), [], `${lost.length} acknowledged events are lost`);
  assert.deepEqual(twice.slice(0, 10), [], `${twice.length} events are there more than once`);
  assert.equal(numbers.size, sent.length, "no event is there that was never sent");

  await client.watermark("load", { end: true });
  assert.deepEqual(await client.late("load"), [], "no event was late");
  const expected = loadWindows(sent).map(({ key, startUs, events, sum, max, last }) => [
    windowId(key, startUs),
    { n: events, total: sum, top: max, end: last },
  ]);
  const results = await client.results("per_client");
  const found = results.map(({ key, window, values }) => [
    windowId(String(key.client), Date.parse(window.start) * 1_000),
    values,
  ]);
  assert.equal(found.length, expected.length, "there is one result for each window and key");
  assert.deepEqual(Object.fromEntries(found), Object.fromEntries(expected));
  for (const row of await client.results("per_client", { revisions: "all" })) {
    assert.equal(row.revision, 0, "no window was revised, since no event was late");
  }
}
