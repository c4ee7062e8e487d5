import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../../test/support/http-client.ts";
import { type NodeProcess, spawnNode } from "../../test/support/node-process.ts";
import type { Cleanup } from "../../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "../report.ts";
import { FIRST_EVENT_MS } from "./closed-loop.ts";
import { readUsage } from "./proc.ts";
import { waitUntilSettled } from "./settled.ts";

/** What streams and queries take of a node's memory, by how many there are. */

const STREAMS = "1,100,1000";
const QUERIES = "1,10,100";
const DEVICES_OF_A_STREAM = 100;
const DEVICES_OF_QUERIES = 1_000;
/** Each device is heard from so often, so that what is made at the first event is not all that shows. */
const ROUNDS = 3;
const SENDERS = 4;
/** For what the garbage collector still has to do. */
const REST_MS = 1_000;

type Row = BenchReport["rows"][number];

interface Footprint {
  readonly what: string;
  readonly streams: number;
  readonly queries: number;
  readonly devices: number;
}

interface Status {
  readonly state: { readonly bytes: number };
}

/** Rows for streams with a query each, and for queries of one stream; `--streams` and `--queries`: how many, with commas. */
export async function measureFootprints(
  { settings }: BenchOptions,
  cleanup: Cleanup,
  failures: string[],
): Promise<{ readonly rows: readonly Row[]; readonly notes: readonly string[] }> {
  const counts = (setting: string, usual: string): number[] =>
    (settings.get(setting) ?? usual).split(",").map(Number);
  const shapes: Footprint[] = [
    ...counts("streams", STREAMS).map((count) => ({
      what: "streams with a query each",
      streams: count,
      queries: count,
      devices: DEVICES_OF_A_STREAM,
    })),
    ...counts("queries", QUERIES).map((count) => ({
      what: "queries of one stream",
      streams: 1,
      queries: count,
      devices: DEVICES_OF_QUERIES,
    })),
  ];
  const rows: Row[] = [];
  for (const shape of shapes) rows.push(await measure(shape, cleanup, failures));
  return {
    rows,
    notes: [
      `streams with a query each: ${DEVICES_OF_A_STREAM} devices a stream; queries of one stream: ${DEVICES_OF_QUERIES} devices, windows of different lengths; ${ROUNDS} events a device, n, mean, low and high of one field`,
      "RSS ready: before the first event; RSS: when all of them are applied; state: what the windows hold",
    ],
  };
}

function configOf({ streams, queries }: Footprint): string {
  const named = (count: number, line: (index: number) => string): string =>
    Array.from({ length: count }, (_, index) => `  ${line(index)}\n`).join("");
  return `
limits: { maxState: 1GiB }
streams:
${named(streams, (n) => `s${n}: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1h, maxAhead: 36500d }, lateness: 0s }`)}
queries:
${named(queries, (n) => `q${n}: { from: s${n % streams}, window: { tumbling: ${n + 1}m }, select: { n: count(), mean: avg(v), low: min(v), high: max(v) } }`)}`;
}

async function measure(shape: Footprint, cleanup: Cleanup, failures: string[]): Promise<Row> {
  const node = await spawnNode({ config: configOf(shape) }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const readyMb = residentMb(node);
  for (let round = 0; round < ROUNDS; round++) await sendToAll(client, shape, round);
  await waitUntilSettled(client);
  await sleep(REST_MS);
  const { state } = await client.json<Status>("/v1/status");
  const row = {
    what: shape.what,
    streams: shape.streams,
    queries: shape.queries,
    "live keys": shape.devices * shape.queries,
    "RSS ready MB": readyMb,
    "RSS MB": residentMb(node),
    "state MB": state.bytes / 1e6,
  };
  if (state.bytes === 0) failures.push(`${shape.what}, ${shape.queries} queries: the windows hold nothing`);
  await node.stop();
  return row;
}

/** One event of each device to every stream. */
async function sendToAll(client: HttpClient, { streams, devices }: Footprint, round: number): Promise<void> {
  let next = 0;
  const events = Array.from({ length: devices }, (_, device) => ({
    device: `device-${device}`,
    ts: FIRST_EVENT_MS + round * 1_000,
    v: device / 8,
  }));
  const sender = async (): Promise<void> => {
    while (next < streams) await client.send(`s${next++}`, events);
  };
  await Promise.all(Array.from({ length: SENDERS }, sender));
}

const residentMb = (node: NodeProcess): number =>
  Math.round((readUsage(node.pid)?.residentBytes ?? Number.NaN) / 1e6);
