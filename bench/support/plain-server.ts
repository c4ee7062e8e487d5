import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import Database from "better-sqlite3";
import { receiveOptions, report } from "./child.ts";

/**
 * The plain way, written with care but without tricks: node:http, JSON.parse of each line, one row per event, one
 * transaction per request with the same durability, and a Map of windows with the same aggregates.
 */

export interface PlainOptions {
  readonly file: string;
  readonly windowMs: number;
  readonly boundMs: number;
}

export type PlainMessage = { readonly kind: "listening"; readonly url: string };

interface DeviceEvent {
  readonly device: string;
  readonly ts: number;
  readonly temp: number;
  readonly rpm: number;
  readonly on: boolean;
}

interface Group {
  count: number;
  sum: number;
  low: number;
  high: number;
  /** Counts by logarithmic bucket, 1 % relative error, as in DDSketch. */
  readonly buckets: Map<number, number>;
}

const GAMMA = 1.01 / 0.99;
const LOG_GAMMA = Math.log(GAMMA);

const { file, windowMs, boundMs } = await receiveOptions<PlainOptions>();
const database = new Database(file);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
database.exec(`
  CREATE TABLE events (device TEXT, ts INTEGER, temp REAL, rpm INTEGER, is_on INTEGER);
  CREATE TABLE results (start INTEGER, device TEXT, n INTEGER, mean REAL, low REAL, high REAL, p99 REAL,
    PRIMARY KEY (start, device));
`);
const insertEvent = database.prepare("INSERT INTO events VALUES (?, ?, ?, ?, ?)");
const insertResult = database.prepare("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?)");
const windows = new Map<number, Map<string, Group>>();
let greatestMs = 0;

function quantile({ buckets, count }: Group, q: number): number {
  const rank = q * (count - 1);
  let seen = 0;
  for (const bucket of [...buckets.keys()].sort((a, b) => a - b)) {
    seen += buckets.get(bucket) ?? 0;
    if (seen > rank) return (2 * GAMMA ** bucket) / (GAMMA + 1);
  }
  return Number.NaN;
}

function apply(event: DeviceEvent): void {
  const start = Math.floor(event.ts / windowMs) * windowMs;
  let groups = windows.get(start);
  if (groups === undefined) {
    groups = new Map();
    windows.set(start, groups);
  }
  let group = groups.get(event.device);
  if (group === undefined) {
    group = {
      count: 0,
      sum: 0,
      low: Number.POSITIVE_INFINITY,
      high: Number.NEGATIVE_INFINITY,
      buckets: new Map(),
    };
    groups.set(event.device, group);
  }
  group.count++;
  group.sum += event.temp;
  if (event.temp < group.low) group.low = event.temp;
  if (event.temp > group.high) group.high = event.temp;
  const bucket = Math.ceil(Math.log(event.temp) / LOG_GAMMA);
  group.buckets.set(bucket, (group.buckets.get(bucket) ?? 0) + 1);
  if (event.ts > greatestMs) greatestMs = event.ts;
}

const store = database.transaction((events: readonly DeviceEvent[]) => {
  for (const { device, ts, temp, rpm, on } of events) insertEvent.run(device, ts, temp, rpm, on ? 1 : 0);
});

const fire = database.transaction(() => {
  for (const [start, groups] of windows) {
    if (start + windowMs > greatestMs - boundMs) continue;
    windows.delete(start);
    for (const [device, group] of groups) {
      const { count, sum, low, high } = group;
      insertResult.run(start, device, count, sum / count, low, high, quantile(group, 0.99));
    }
  }
});

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const lines = Buffer.concat(chunks).toString("utf8").split("\n");
    const events: DeviceEvent[] = [];
    for (const line of lines) if (line !== "") events.push(JSON.parse(line) as DeviceEvent);
    store(events);
    for (const event of events) apply(event);
    const oldest = Math.min(...windows.keys());
    if (oldest + windowMs <= greatestMs - boundMs) fire();
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ accepted: events.length }));
  });
});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  void report({ kind: "listening", url: `http://127.0.0.1:${port}` } satisfies PlainMessage);
});
