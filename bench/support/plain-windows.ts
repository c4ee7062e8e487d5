/** Windows as one writes them without a library: a `Map` of windows, of a `Map` of groups. */

export interface DeviceEvent {
  readonly device: string;
  readonly ts: number;
  readonly temp: number;
  readonly rpm: number;
  readonly on: boolean;
}

export interface PlainRow {
  readonly start: number;
  readonly device: string;
  readonly count: number;
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly p99: number;
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

export class PlainWindows {
  readonly #windowMs: number;
  readonly #boundMs: number;
  readonly #windows = new Map<number, Map<string, Group>>();
  #greatestMs = 0;

  constructor(windowMs: number, boundMs: number) {
    this.#windowMs = windowMs;
    this.#boundMs = boundMs;
  }

  /** Whether a window has ended. */
  get isDue(): boolean {
    return Math.min(...this.#windows.keys()) + this.#windowMs <= this.#greatestMs - this.#boundMs;
  }

  add(event: DeviceEvent): void {
    const start = Math.floor(event.ts / this.#windowMs) * this.#windowMs;
    let groups = this.#windows.get(start);
    if (groups === undefined) {
      groups = new Map();
      this.#windows.set(start, groups);
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
    if (event.ts > this.#greatestMs) this.#greatestMs = event.ts;
  }

  /** Gives the rows of all windows that have ended, and forgets these. */
  fire(give: (row: PlainRow) => void): void {
    for (const [start, groups] of this.#windows) {
      if (start + this.#windowMs > this.#greatestMs - this.#boundMs) continue;
      this.#windows.delete(start);
      for (const [device, group] of groups) {
        const { count, sum, low, high } = group;
        give({ start, device, count, mean: sum / count, low, high, p99: quantile(group, 0.99) });
      }
    }
  }
}

function quantile({ buckets, count }: Group, q: number): number {
  const rank = q * (count - 1);
  let seen = 0;
  for (const bucket of [...buckets.keys()].sort((a, b) => a - b)) {
    seen += buckets.get(bucket) ?? 0;
    if (seen > rank) return (2 * GAMMA ** bucket) / (GAMMA + 1);
  }
  return Number.NaN;
}

/** The plain way to read NDJSON: the text of all, its lines, an object of each. */
export function parseLines(body: Uint8Array): DeviceEvent[] {
  const events: DeviceEvent[] = [];
  for (const line of Buffer.from(body.buffer, body.byteOffset, body.length).toString("utf8").split("\n")) {
    if (line !== "") events.push(JSON.parse(line) as DeviceEvent);
  }
  return events;
}
