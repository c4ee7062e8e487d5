import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { type HttpClient, UnexpectedAnswer } from "./http-client.ts";
import type { NodeProcess } from "./node-process.ts";

/** What `GET /v1/status` says of a sink. */
export interface SinkState {
  readonly state: string;
  readonly breaker: string;
  readonly backlog: Readonly<
    Record<"alerts" | "losses" | "attributes" | "results" | "events" | "bytes" | "parked", number>
  >;
  readonly lastError: string | null;
  readonly failures: number;
  readonly duplicates: number;
  readonly rows: Readonly<Record<"alerts" | "losses" | "attributes" | "results" | "events", number>>;
}

const SYNC_TIMEOUT_MS = 300_000;
/** The status is as it was a moment ago: twice nothing, this far apart, is nothing. */
const SETTLE_MS = 600;

export async function sinkState(client: HttpClient): Promise<SinkState> {
  const status = await client.json<{ sync: { sinks: SinkState[] } }>("/v1/status");
  return status.sync.sinks[0]!;
}

/** Waits until the hub has everything, but for what is parked. */
export async function synced(
  node: NodeProcess,
  client: HttpClient,
  parked = 0,
  timeoutMs = SYNC_TIMEOUT_MS,
): Promise<SinkState> {
  const deadline = performance.now() + timeoutMs;
  let wasDone = false;
  for (;;) {
    const state = await sinkState(client);
    const { alerts, losses, attributes, results, events, parked: set } = state.backlog;
    const isDone = alerts + losses + attributes + results + events === 0 && set === parked;
    if (isDone && wasDone) return state;
    wasDone = isDone;
    if (performance.now() > deadline)
      assert.fail(`not synced: ${JSON.stringify(state, null, 1)}\n${node.tail()}`);
    await sleep(isDone ? SETTLE_MS : 100);
  }
}

/** Waits until the node has logged such a line. */
export async function logged(node: NodeProcess, pattern: RegExp): Promise<string> {
  const deadline = performance.now() + SYNC_TIMEOUT_MS;
  for (;;) {
    const line = node.lines.find((each) => pattern.test(each));
    if (line !== undefined) return line;
    if (performance.now() > deadline) assert.fail(`${pattern} was not logged:\n${node.tail()}`);
    await sleep(50);
  }
}

/** Every row of a list. */
export async function all(client: HttpClient, path: string): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  for await (const page of pages(client, path, 5_000)) for (const row of page) rows.push(row);
  return rows;
}

/** The pages of a list, so many rows each. */
export async function* pages(
  client: HttpClient,
  path: string,
  limit: number,
): AsyncGenerator<Record<string, unknown>[], void, void> {
  let next: string | null = `${path}${path.includes("?") ? "&" : "?"}limit=${limit}`;
  while (next !== null) {
    const answer = await client.request("GET", next);
    // Nothing was ever sent of it.
    if (answer.status === 404) return;
    if (answer.status !== 200) throw new UnexpectedAnswer(`GET ${next}`, answer);
    const lines = answer.text.split("\n").filter((line) => line !== "");
    yield lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    next = /<([^>]+)>/.exec(String(answer.headers.link ?? ""))?.[1] ?? null;
  }
}

/** Rows without the edge, each as a text, in an order of their own: what is the same here is the same there. */
export function comparable(rows: readonly Record<string, unknown>[]): string[] {
  return rows.map(({ edge: _edge, ...row }) => JSON.stringify(row)).sort();
}

export interface Lists {
  readonly streams: readonly string[];
  readonly queries: readonly string[];
}

/** The hub holds of the edge what the edge holds, row by row. @returns how many rows were compared. */
export async function assertSame(
  edge: HttpClient,
  hub: HttpClient,
  name: string,
  { streams, queries }: Lists,
): Promise<number> {
  const paths = [
    ...streams.map((stream) => `/v1/streams/${stream}/events`),
    ...queries.map((query) => `/v1/queries/${query}/results?revisions=all`),
    "/v1/alerts?revisions=all",
    "/v1/losses",
  ];
  let count = 0;
  for (const path of paths) {
    const here = comparable(await all(edge, path));
    const there = comparable(await all(hub, `${path}${path.includes("?") ? "&" : "?"}edge=${name}`));
    const held = new Set(there);
    const [missing, twice] = [here.filter((row) => !held.has(row)), there.length - held.size];
    if (here.length !== there.length)
      assert.equal(
        there.length,
        here.length,
        `${path}: ${missing.length} missing, ${twice} twice: ${missing.slice(0, 3).join("\n")}`,
      );
    assert.deepEqual(there, here, path);
    count += here.length;
  }
  return count;
}
