import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import Database from "better-sqlite3";
import { receiveOptions, report } from "./child.ts";
import { type DeviceEvent, PlainWindows, parseLines } from "./plain-windows.ts";

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
const windows = new PlainWindows(windowMs, boundMs);

const store = database.transaction((events: readonly DeviceEvent[]) => {
  for (const { device, ts, temp, rpm, on } of events) insertEvent.run(device, ts, temp, rpm, on ? 1 : 0);
});

const fire = database.transaction(() => {
  windows.fire(({ start, device, count, mean, low, high, p99 }) => {
    insertResult.run(start, device, count, mean, low, high, p99);
  });
});

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const events = parseLines(Buffer.concat(chunks));
    store(events);
    for (const event of events) windows.add(event);
    if (windows.isDue) fire();
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ accepted: events.length }));
  });
});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  void report({ kind: "listening", url: `http://127.0.0.1:${port}` } satisfies PlainMessage);
});
