import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "./free-port.ts";
import { HttpClient } from "./http-client.ts";
import { NodeProcess } from "./node-process.ts";

const TIMEOUT_MS = 240_000;

/** What `GET /v1/edges/{edge}` says of its configuration. */
export interface EdgeConfigAnswer {
  readonly group: string | null;
  readonly wanted: { readonly of: string; readonly version: number } | null;
  readonly isInForce: boolean;
  readonly report: {
    readonly of: string;
    readonly version: number;
    readonly state: string;
    readonly reason: string | null;
  } | null;
}

export interface RemoteHub {
  readonly hub: NodeProcess;
  readonly client: HttpClient;
  readonly url: string;
}

/** A hub on a port that it has after a restart, too. */
export async function startRemoteHub(context: TestContext, config: string | null = null): Promise<RemoteHub> {
  const listen = `127.0.0.1:${await freePort()}`;
  const hub = new NodeProcess({ config, command: "hub", listen }, context);
  await hub.start();
  const client = new HttpClient(() => hub.url);
  context.after(() => client.close());
  return { hub, client, url: `http://${listen}` };
}

/** An edge whose configuration comes from the hub: quick to ask, and to believe. */
export function remoteEdge(
  name: string,
  url: string,
  context: TestContext,
  settings = "every: 200ms, watch: 1s",
  environment: Readonly<Record<string, string>> = {},
): { readonly edge: NodeProcess; readonly client: HttpClient } {
  const config = `
node: { id: ${name} }
checkpoint: { every: 10s }
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1s, maxAhead: 36500d } }
sync: { url: "${url}", config: { ${settings} }, batch: { every: 200ms }, retry: { first: 50ms, longest: 500ms }, probe: 200ms }
`;
  const edge = new NodeProcess({ config, environment }, context);
  const client = new HttpClient(() => edge.url);
  context.after(() => client.close());
  return { edge, client };
}

/** Waits until the hub knows of the edge what is hoped for. */
export async function configState(
  hub: HttpClient,
  edge: string,
  isThere: (config: EdgeConfigAnswer) => boolean,
): Promise<EdgeConfigAnswer> {
  const deadline = performance.now() + TIMEOUT_MS;
  let last: unknown = null;
  while (performance.now() < deadline) {
    const answer = await hub.request("GET", `/v1/edges/${edge}`);
    const { config } = JSON.parse(answer.text) as { config?: EdgeConfigAnswer | null };
    if (config && isThere(config)) return config;
    last = config;
    await sleep(50);
  }
  return assert.fail(`edge ${edge} did not come to be as hoped for: ${JSON.stringify(last, null, 1)}`);
}

export function stateOf(version: number, state: string): (config: EdgeConfigAnswer) => boolean {
  return ({ report }) => report?.version === version && report.state === state;
}

/** The edge has it, and watches it or is through with that. */
export function knownOf(version: number): (config: EdgeConfigAnswer) => boolean {
  return ({ report }) => report?.version === version;
}

/**
 * Sends events of a field `temp` until the version is rolled back: from before it is in force, so that some come while it is watched,
 * however short that is and however slow the machine.
 */
export async function rolledBackByEvents(
  hub: HttpClient,
  name: string,
  edge: HttpClient,
  version: number,
  put: () => Promise<unknown>,
): Promise<EdgeConfigAnswer> {
  let isOver = false;
  let sent = 0;
  const sending = (async () => {
    while (!isOver) {
      const events = Array.from({ length: 20 }, () => ({ device: "m", ts: 1e12 + sent++, temp: 1 }));
      await edge.post("machines", events);
      await sleep(10);
    }
  })();
  try {
    await put();
    return await configState(hub, name, stateOf(version, "rolled-back"));
  } finally {
    isOver = true;
    await sending;
  }
}

/** A document with one query of that name. */
export function documentOf(query: string, more = ""): string {
  return `streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1s, maxAhead: 36500d }${more} }
queries:
  ${query}: { from: machines, window: { tumbling: 10s }, select: { n: count() } }
`;
}

export async function queriesOf(edge: HttpClient): Promise<string[]> {
  const { queries } = await edge.json<{ queries: { query?: string; name?: string }[] }>("/v1/queries");
  return queries.map(({ query, name }) => query ?? name ?? "").sort();
}
