import { request } from "node:http";
import { machineMs, receiveOptions, report } from "./child.ts";

/** A process that follows a query's live feed and notes when each window's results arrived. */

export interface LiveOptions {
  readonly url: string;
  readonly query: string;
}

/** Arrivals of the results of one window, machine clock. */
export interface WindowArrivals {
  readonly endMs: number;
  readonly arrivedMs: Float64Array;
}

export type LiveMessage =
  | { readonly kind: "listening" }
  | { readonly kind: "windows"; readonly windows: readonly WindowArrivals[] };

const END_MARK = '"end":"';
const END_LENGTH = "2026-01-01T00:00:00.000Z".length;

const { url, query } = await receiveOptions<LiveOptions>();
const arrivals = new Map<string, number[]>();
let rest = "";

function take(text: string): void {
  const nowMs = machineMs();
  const all = rest + text;
  let from = 0;
  while (true) {
    const at = all.indexOf(END_MARK, from);
    const end = at + END_MARK.length + END_LENGTH;
    if (at < 0 || end > all.length) break;
    const key = all.slice(at + END_MARK.length, end);
    const times = arrivals.get(key);
    if (times === undefined) arrivals.set(key, [nowMs]);
    else times.push(nowMs);
    from = end;
  }
  // What may be the beginning of a mark is kept for the next chunk.
  rest = all.slice(Math.max(from, all.length - END_MARK.length - END_LENGTH));
}

request(
  new URL(`/v1/queries/${query}/live`, url),
  { headers: { accept: "text/event-stream" } },
  (response) => {
    if (response.statusCode !== 200) throw new Error(`the live feed answered ${response.statusCode}`);
    response.setEncoding("latin1");
    response.on("data", take);
    void report({ kind: "listening" } satisfies LiveMessage);
  },
).end();

process.on("message", () => {
  const windows = [...arrivals].map(([end, times]) => ({
    endMs: Date.parse(end),
    arrivedMs: Float64Array.from(times),
  }));
  void report({ kind: "windows", windows } satisfies LiveMessage).then(() => process.exit(0));
});
