import assert from "node:assert/strict";
import { sorted } from "./alert-fixture.ts";
import type { ChaosEdge } from "./chaos-edge.ts";
import { asSent, type ChaosEvent } from "./chaos-load.ts";
import { type Expected, expectedOf, QUERY_NAMES, STREAM_NAMES } from "./chaos-plan.ts";
import { all, assertSame, comparable, pages } from "./fleet.ts";
import type { HttpClient } from "./http-client.ts";

/** What was compared of an edge. */
export interface Compared {
  readonly edge: string;
  /** Acknowledged, and at the hub one by one. */
  readonly events: number;
  /** Acknowledged and not at the hub as they were: each is in the ledger. */
  readonly inLedger: number;
  /** Rows at the hub in their place. */
  readonly aggregates: number;
  /** Revisions of results, worked out from what was acknowledged, and at the hub one by one. */
  readonly results: number;
  readonly late: number;
  /** As they stand at the end, in the same way. */
  readonly alerts: number;
  /** Rows that the edge holds still, and the hub too. */
  readonly held: number;
}

interface Loss {
  readonly stream: string | null;
  readonly count: number;
  readonly reason: string;
  readonly kind: string;
}

interface Ledger {
  readonly stream: string;
  readonly accepted: number;
  readonly late: number;
}

/** Of rows with long texts in them. */
const SMALL_PAGE = 200;
const LARGE_PAGE = 5_000;

/**
 * The hub has of an edge what follows from what the edge acknowledged: every event once, or a row of the ledger for it; every
 * revision of every result; every alert. And what the edge holds still is the same at both.
 */
export async function compareWithHub(edge: ChaosEdge, hub: HttpClient): Promise<Compared> {
  const { name, client } = edge;
  const expected = expectedOf(edge.load, edge.bulk);
  const losses = (await all(hub, `/v1/losses?edge=${name}`)) as unknown as Loss[];
  let [events, inLedger, aggregates] = [0, 0, 0];
  for (const load of [edge.load, edge.bulk]) {
    const sent = load.events;
    const found = await compareEvents(sent, load.stream, edge, hub, losses);
    events += sent.length;
    inLedger += found.missing;
    aggregates += found.aggregates;
  }
  await compareResults(expected, name, hub);
  await compareAlerts(expected, name, hub);
  await compareLedger(edge, expected);
  const lists = { streams: STREAM_NAMES, queries: QUERY_NAMES };
  const isWhole = edge.role !== "small" && edge.role !== "behind";
  const held = isWhole ? await assertSame(client, hub, name, lists) : await assertWithin(client, hub, name);
  assert.deepEqual(await all(client, "/v1/dlq"), [], `${name} has parked nothing`);
  const { alerts, results, late } = expected;
  return {
    edge: name,
    events,
    inLedger,
    aggregates,
    results: results.size,
    late: late.load + late.bulk,
    alerts: alerts.high.length + alerts.spike.length,
    held,
  };
}

/** @returns how many of the events are not there as they were sent, and how many rows of aggregates are. */
async function compareEvents(
  sent: readonly ChaosEvent[],
  stream: string,
  { name, role }: ChaosEdge,
  hub: HttpClient,
  losses: readonly Loss[],
): Promise<{ readonly missing: number; readonly aggregates: number }> {
  const seen = new Uint8Array(sent.length);
  let [downsampled, aggregates] = [0, 0];
  const limit = role === "small" && stream === "bulk" ? SMALL_PAGE : LARGE_PAGE;
  for await (const rows of pages(hub, `/v1/streams/${stream}/events?edge=${name}`, limit)) {
    for (const row of rows) {
      if (row.downsampled === true) {
        downsampled += Number(row.count);
        aggregates++;
        continue;
      }
      const { edge: _edge, ts, ...rest } = row;
      const event = sent[Number(row.n)];
      assert.ok(event !== undefined, `${name}: nobody sent ${JSON.stringify(row).slice(0, 300)}`);
      const is = { ...rest, ts: Date.parse(String(ts)) };
      assert.deepEqual(is, asSent(event), `${name}: event ${event.n} of ${stream}`);
      seen[event.n]!++;
    }
  }
  const twice = sent.filter(({ n }) => seen[n]! > 1);
  assert.deepEqual(
    twice.slice(0, 5),
    [],
    `${name}: ${twice.length} events of ${stream} are there more than once`,
  );
  const missing = sent.filter(({ n }) => seen[n] === 0);
  const rows = losses.filter((loss) => loss.stream === stream);
  const lost = sum(rows.filter(({ kind }) => kind === "events"));
  const which = JSON.stringify(missing.slice(0, 5));
  assert.equal(
    missing.length,
    lost,
    `${name}: of ${stream} the ledger has every missing event, such as ${which}`,
  );
  assert.deepEqual(
    rows.filter(({ reason }) => reason === "corrupt" || reason === "expired"),
    [],
  );
  const inAggregates = sum(rows.filter(({ reason }) => reason === "downsampled"));
  // Aggregates may have been given up in their turn.
  if (!rows.some(({ kind }) => kind === "aggregates"))
    assert.equal(downsampled, inAggregates, `${name}: aggregates of ${stream} stand for what they replaced`);
  return { missing: missing.length, aggregates };
}

async function compareResults({ results }: Expected, name: string, hub: HttpClient): Promise<void> {
  const found = new Map<string, string>();
  for (const query of QUERY_NAMES) {
    for await (const rows of pages(
      hub,
      `/v1/queries/${query}/results?revisions=all&edge=${name}`,
      LARGE_PAGE,
    ))
      for (const row of rows) {
        const { start, end } = row.window as Readonly<Record<"start" | "end", string>>;
        const window = [start, end].map((time) => Date.parse(time) * 1_000).join(" ");
        const id = `${query} ${window} ${JSON.stringify(row.key)} ${String(row.revision)}`;
        assert.ok(!found.has(id), `${name}: ${id} is there twice`);
        found.set(id, JSON.stringify([row.kind, row.retracted === true, row.values]));
      }
  }
  const wrong = [...new Set([...results.keys(), ...found.keys()])].filter(
    (id) => results.get(id) !== found.get(id),
  );
  const shown = wrong.slice(0, 5).map((id) => ({ id, hub: found.get(id), expected: results.get(id) }));
  assert.deepEqual(shown, [], `${name}: ${wrong.length} of ${results.size} results differ`);
}

async function compareAlerts({ alerts }: Expected, name: string, hub: HttpClient): Promise<void> {
  for (const [alert, standing] of Object.entries(alerts)) {
    const rows = await all(hub, `/v1/alerts?alert=${alert}&edge=${name}`);
    const timeUs = (text: unknown): number => Date.parse(String(text)) * 1_000;
    const found = rows.map(({ key, since, at, state }) => ({
      key: JSON.stringify(key),
      sinceUs: timeUs(since),
      atUs: timeUs(at),
      state: state as "pending" | "firing" | "resolved",
    }));
    assert.deepEqual(sorted(found), standing, `${name}: alert ${alert}`);
  }
}

/** Every accepted event has its place, by the edge's own books. */
async function compareLedger({ name, client, load, bulk }: ChaosEdge, { late }: Expected): Promise<void> {
  type Status = { buffer: { imbalance: number; streams: Ledger[] } };
  const { buffer } = await client.json<Status>("/v1/status");
  assert.equal(buffer.imbalance, 0, `${name}: ${JSON.stringify(buffer)}`);
  const of = (stream: string): unknown => {
    const ledger = buffer.streams.find((each) => each.stream === stream);
    return [ledger?.accepted, ledger?.late];
  };
  assert.deepEqual(of("load"), [load.events.length, late.load], `${name}: accepted and late of load`);
  assert.deepEqual(of("bulk"), [bulk.events.length, late.bulk], `${name}: accepted and late of bulk`);
}

/** What an edge that keeps little holds still, the hub holds as well. @returns how many rows. */
async function assertWithin(edge: HttpClient, hub: HttpClient, name: string): Promise<number> {
  let count = 0;
  const paths = [
    "/v1/streams/load/events",
    ...QUERY_NAMES.map((query) => `/v1/queries/${query}/results?revisions=all`),
    "/v1/alerts?revisions=all",
  ];
  for (const path of paths) {
    const there = new Set(comparable(await all(hub, `${path}${path.includes("?") ? "&" : "?"}edge=${name}`)));
    const here = comparable(await all(edge, path));
    const missing = here.filter((row) => !there.has(row));
    assert.deepEqual(
      missing.slice(0, 3),
      [],
      `${name} ${path}: ${missing.length} of ${here.length} are missing`,
    );
    count += here.length;
  }
  const [here, there] = [await all(edge, "/v1/losses"), await all(hub, `/v1/losses?edge=${name}`)];
  assert.deepEqual(comparable(there), comparable(here), `${name}: losses`);
  return count + here.length;
}

function sum(rows: readonly Loss[]): number {
  return rows.reduce((total, { count }) => total + count, 0);
}
