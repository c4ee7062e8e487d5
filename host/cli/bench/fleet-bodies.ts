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
  /** The number of the first device; default 0. */
  readonly firstDevice?: number;
}

/**
 * NDJSON of a fleet that measures temperature, speed and state: 5 fields, about 74 bytes an event. Each event is of a
 * random device; temperatures walk around each device's own mean.
 *
 * @param next a random number in [0, 1)
 */
export function fleetBodies(options: FleetOptions, next: () => number): FleetBody[] {
  const { devices, bodies, eventsPerBody, firstDevice = 0 } = options;
  const temperatures = Float64Array.from({ length: devices }, () => 20 + next() * 60);
  return Array.from({ length: bodies }, () => makeBody(eventsPerBody, firstDevice, temperatures, next));
}

function makeBody(
  events: number,
  firstDevice: number,
  temperatures: Float64Array,
  next: () => number,
): FleetBody {
  const integer = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1));
  const lines: string[] = [];
  const timeOffsets = new Uint32Array(events);
  let length = 0;
  for (let index = 0; index < events; index++) {
    const device = integer(0, temperatures.length - 1);
    temperatures[device] = temperatures[device]! + (next() - 0.5) * 0.4;
    const start = `{"device":"d${String(firstDevice + device).padStart(5, "0")}","ts":`;
    const temp = temperatures[device].toFixed(2);
    const line = `${start}${TIME_PLACEHOLDER},"temp":${temp},"rpm":${integer(1_180, 1_520)},"on":${next() < 0.97}}\n`;
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

/** A stream of such events, and the aggregates of a usual dashboard by device, with a quantile. */
export function fleetConfig(stream: string, query: string, windowText: string, boundText: string): string {
  return `
streams:
  ${stream}:
    key: device
    time: { field: ts, unit: ms }
    watermark: { bound: ${boundText}, maxAhead: 36500d }
    lateness: 0s
queries:
  ${query}:
    from: ${stream}
    window: { tumbling: ${windowText} }
    by: [device]
    select: { n: count(), mean: avg(temp), low: min(temp), high: max(temp), p99: quantile(temp, 0.99) }
`;
}
