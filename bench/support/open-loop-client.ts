import { setTimeout as sleep } from "node:timers/promises";
import { machineMs, receiveOptions, report } from "./child.ts";
import { makeFleetBodies, stampBody } from "./fleet.ts";
import { acceptedOf, RawConnection } from "./raw-connection.ts";

/**
 * A process that sends at a constant rate whatever the answers do. Latencies count from the moment a body was due, not
 * from when it could be sent, so that a stalled server cannot hide its stall (coordinated omission).
 */

export interface OpenLoopOptions {
  readonly url: string;
  readonly path: string;
  readonly connections: number;
  readonly devices: number;
  readonly bodies: number;
  readonly eventsPerBody: number;
  readonly bodiesPerSecond: number;
  readonly warmupMs: number;
  readonly measureMs: number;
}

/** One body: when it was due and acknowledged (machine clock), and its newest event's time. */
export type SentBody = readonly [dueMs: number, ackMs: number, eventMs: number];

export type OpenLoopMessage =
  | { readonly kind: "measuring" }
  | {
      readonly kind: "done";
      readonly sent: readonly SentBody[];
      readonly measureFromMs: number;
      readonly totalEvents: number;
      readonly bytes: number;
      readonly refused: number;
      /** Longest queue of bodies that were due while all connections were busy. */
      readonly longestQueue: number;
      readonly cpuMs: number;
    };

const REFUSED_PAUSE_MS = 5;

const options = await receiveOptions<OpenLoopOptions>();
// A body is on its way in one connection at a time.
const free = makeFleetBodies({ ...options, seed: 11 });
const idle = await Promise.all(
  Array.from({ length: options.connections }, () => RawConnection.open(options.url, options.path)),
);
const everyMs = 1_000 / options.bodiesPerSecond;
const count = Math.round(((options.warmupMs + options.measureMs) / 1_000) * options.bodiesPerSecond);
const startMs = machineMs() + 100;
const measureFromMs = startMs + options.warmupMs;
/** Event time is the wall clock at which a body is due. */
const epochMs = Date.now() - machineMs();
const sent: SentBody[] = [];
const waiting: number[] = [];
let totalEvents = 0;
let bytes = 0;
let refused = 0;
let longestQueue = 0;
let cpuAtStart = process.cpuUsage();

async function send(connection: RawConnection, index: number): Promise<void> {
  const body = free.shift()!;
  const dueMs = startMs + index * everyMs;
  const eventMs = Math.floor(epochMs + dueMs);
  stampBody(body, eventMs, Math.round(everyMs));
  let answer = await connection.post(body.bytes);
  while (answer.status === 429 || answer.status === 503 || answer.status === 507) {
    refused++;
    await sleep(REFUSED_PAUSE_MS);
    answer = await connection.post(body.bytes);
  }
  const accepted = acceptedOf(answer.body);
  if (answer.status !== 200 || accepted !== body.events) {
    throw new Error(`answer ${answer.status}: ${answer.body.slice(0, 1_000)}`);
  }
  free.push(body);
  totalEvents += accepted;
  bytes += body.bytes.length;
  sent.push([dueMs, machineMs(), eventMs]);
}

/** Uses the connection for all that waits, then gives it back. */
async function drain(connection: RawConnection): Promise<void> {
  for (let index = waiting.shift(); index !== undefined; index = waiting.shift())
    await send(connection, index);
  idle.push(connection);
}

const running: Promise<void>[] = [];
let isMeasuring = false;
for (let index = 0; index < count; index++) {
  const dueMs = startMs + index * everyMs;
  const aheadMs = dueMs - machineMs();
  if (aheadMs > 0.5) await sleep(aheadMs);
  if (!isMeasuring && dueMs >= measureFromMs) {
    isMeasuring = true;
    cpuAtStart = process.cpuUsage();
    void report({ kind: "measuring" } satisfies OpenLoopMessage);
  }
  waiting.push(index);
  // The one that rested longest, so that none rests until the server closes it.
  const connection = idle.shift();
  if (connection === undefined) longestQueue = Math.max(longestQueue, waiting.length);
  else running.push(drain(connection));
}
await Promise.all(running);
const cpu = process.cpuUsage(cpuAtStart);
for (const connection of idle) connection.close();
await report({
  kind: "done",
  sent,
  measureFromMs,
  totalEvents,
  bytes,
  refused,
  longestQueue,
  cpuMs: (cpu.user + cpu.system) / 1_000,
} satisfies OpenLoopMessage);
process.disconnect();
