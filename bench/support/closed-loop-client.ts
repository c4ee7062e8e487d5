import { setTimeout as sleep } from "node:timers/promises";
import { machineMs, receiveOptions, report } from "./child.ts";
import { makeFleetBodies, stampBody } from "./fleet.ts";
import { acceptedOf, RawConnection } from "./raw-connection.ts";

/** A process that sends as fast as it is answered, from a few connections. */

export interface ClosedLoopOptions {
  readonly url: string;
  readonly path: string;
  readonly connections: number;
  readonly devices: number;
  readonly bodies: number;
  readonly eventsPerBody: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  /** Stops at so many events, or null. */
  readonly maxEvents: number | null;
  readonly firstEventMs: number;
  /** Event time that passes per body. */
  readonly msPerBody: number;
}

export type ClosedLoopMessage =
  | { readonly kind: "measuring" }
  | {
      readonly kind: "done";
      /** Acknowledged within the measured stretch: more than none, unless `maxEvents` were sent before it. */
      readonly events: number;
      readonly bytes: number;
      readonly elapsedMs: number;
      readonly latenciesMs: readonly number[];
      readonly refused: number;
      /** Acknowledged since the start. */
      readonly totalEvents: number;
      readonly lastEventMs: number;
      readonly cpuMs: number;
    };

const REFUSED_PAUSE_MS = 5;

const options = await receiveOptions<ClosedLoopOptions>();
const bodies = makeFleetBodies({ ...options, seed: 7 });
// A body is on its way in one connection at a time.
const free = [...bodies];
const connections = await Promise.all(
  Array.from({ length: options.connections }, () => RawConnection.open(options.url, options.path)),
);
const measureFromMs = machineMs() + options.warmupMs;
const endMs = measureFromMs + options.measureMs;
const latenciesMs: number[] = [];
/** A stretch in which no answer came, as a short one on a busy machine, lasts until the first. */
let lastCountedMs = measureFromMs;
let eventMs = options.firstEventMs;
let events = 0;
let bytes = 0;
let totalEvents = 0;
let refused = 0;
let isMeasuring = false;
let cpuAtStart = process.cpuUsage();

function beginMeasuring(): void {
  isMeasuring = true;
  cpuAtStart = process.cpuUsage();
  void report({ kind: "measuring" } satisfies ClosedLoopMessage);
}

async function send(connection: RawConnection): Promise<void> {
  const isOver = (): boolean => machineMs() >= endMs && events > 0;
  while (!isOver() && (options.maxEvents === null || totalEvents < options.maxEvents)) {
    const body = free.shift()!;
    eventMs += options.msPerBody;
    stampBody(body, eventMs, options.msPerBody);
    const sentMs = machineMs();
    let answer = await connection.post(body.bytes);
    while (answer.status === 429 || answer.status === 503) {
      refused++;
      await sleep(REFUSED_PAUSE_MS);
      answer = await connection.post(body.bytes);
    }
    const nowMs = machineMs();
    const accepted = acceptedOf(answer.body);
    if (answer.status !== 200 || accepted !== body.events) {
      throw new Error(`answer ${answer.status}: ${answer.body.slice(0, 1_000)}`);
    }
    free.push(body);
    totalEvents += accepted;
    if (!isMeasuring && nowMs >= measureFromMs) beginMeasuring();
    if (nowMs >= measureFromMs && (nowMs <= endMs || events === 0)) {
      lastCountedMs = nowMs;
      events += accepted;
      bytes += body.bytes.length;
      latenciesMs.push(nowMs - sentMs);
    }
  }
}

await Promise.all(connections.map(send));
const elapsedMs = Math.min(machineMs(), Math.max(endMs, lastCountedMs)) - measureFromMs;
const cpu = process.cpuUsage(cpuAtStart);
for (const connection of connections) connection.close();
const cpuMs = (cpu.user + cpu.system) / 1_000;
await report({
  kind: "done",
  events,
  bytes,
  elapsedMs,
  latenciesMs,
  refused,
  totalEvents,
  lastEventMs: eventMs,
  cpuMs,
} satisfies ClosedLoopMessage);
process.disconnect();
