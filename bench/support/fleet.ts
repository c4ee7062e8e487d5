import { Random } from "../../test/support/random.ts";

/** Width of an event time in epoch milliseconds. */
const TIME_DIGITS = 13;
const TIME_PLACEHOLDER = "0".repeat(TIME_DIGITS);

/** A body whose event times can be set anew in place, so that sending costs no formatting. */
export interface FleetBody {
  readonly bytes: Buffer;
  readonly events: number;
  /** Where each event's time stands. */
  readonly timeOffsets: Uint32Array;
}

export interface FleetOptions {
  readonly devices: number;
  readonly bodies: number;
  readonly eventsPerBody: number;
  readonly seed: number;
  /** The number of the first device; default 0. */
  readonly firstDevice?: number;
}

/**
 * NDJSON of a fleet that measures temperature, speed and state: 5 fields, about 74 bytes an event. Each event is of a
 * random device; temperatures walk around each device's own mean.
 */
export function makeFleetBodies(options: FleetOptions): FleetBody[] {
  const random = new Random(options.seed);
  const temperatures = Float64Array.from({ length: options.devices }, () => 20 + random.next() * 60);
  const device = (): number => random.integer(0, options.devices - 1);
  return Array.from({ length: options.bodies }, () =>
    makeBody(options.eventsPerBody, device, options.firstDevice ?? 0, temperatures, random),
  );
}

function makeBody(
  events: number,
  pickDevice: () => number,
  firstDevice: number,
  temperatures: Float64Array,
  random: Random,
): FleetBody {
  const lines: string[] = [];
  const timeOffsets = new Uint32Array(events);
  let length = 0;
  for (let index = 0; index < events; index++) {
    const device = pickDevice();
    temperatures[device] = temperatures[device]! + (random.next() - 0.5) * 0.4;
    const start = `{"device":"d${String(firstDevice + device).padStart(5, "0")}","ts":`;
    const temp = temperatures[device].toFixed(2);
    const line = `${start}${TIME_PLACEHOLDER},"temp":${temp},"rpm":${random.integer(1_180, 1_520)},"on":${random.chance(0.97)}}\n`;
    timeOffsets[index] = length + start.length;
    length += line.length;
    lines.push(line);
  }
  return { bytes: Buffer.from(lines.join(""), "latin1"), events, timeOffsets };
}

/** Spreads the body's event times evenly over (endMs − spreadMs, endMs]; the last event is at endMs. */
export function stampBody({ bytes, events, timeOffsets }: FleetBody, endMs: number, spreadMs: number): void {
  const steps = Math.max(1, spreadMs);
  for (let step = 0; step < steps; step++) {
    const digits = Buffer.from(String(endMs - steps + 1 + step), "latin1");
    const from = Math.floor((events * step) / steps);
    const to = Math.floor((events * (step + 1)) / steps);
    for (let index = from; index < to; index++) bytes.set(digits, timeOffsets[index]!);
  }
}

/** The query that benches run: the aggregates of a usual dashboard, with a quantile. */
export function fleetConfig(windowText: string, boundText: string, more = ""): string {
  return `
streams:
  fleet:
    key: device
    time: { field: ts, unit: ms }
    watermark: { bound: ${boundText}, maxAhead: 36500d }
    lateness: 0s
queries:
  temp:
    from: fleet
    window: { tumbling: ${windowText} }
    by: [device]
    select: { n: count(), mean: avg(temp), low: min(temp), high: max(temp), p99: quantile(temp, 0.99) }
${more}`;
}
