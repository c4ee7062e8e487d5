import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import type { ResultRow } from "../../workers/messages.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Engine } from "../pipeline/engine.ts";
import { problemResponse } from "./problem.ts";
import { formatTime } from "../../workers/time-format.ts";

const HEARTBEAT_MS = 15_000;
/** Rows that may wait for a slow reader before it is cut off. It finds what it missed under /results. */
const MAX_WAITING_ROWS = 50_000;

let clients = 0;

/** Result rows as server-sent events, each once it is durable. */
export function liveResults(
  context: Context,
  query: string,
  { engine, metrics, maxClients }: { engine: Engine; metrics: Metrics; maxClients: number },
): Response {
  if (clients >= maxClients) {
    const detail = `limits.maxLiveClients (${maxClients}) clients are connected`;
    return problemResponse({ status: 503, code: "E_LIVE_CLIENTS", title: "Too many live clients", detail });
  }
  return streamSSE(context, async (stream) => {
    clients++;
    const waiting: ResultRow[] = [];
    let wake = (): void => {};
    const unsubscribe = engine.subscribe(query, (rows) => {
      for (const row of rows) waiting.push(row);
      wake();
    });
    stream.onAbort(() => wake());
    const heartbeat = setInterval(() => void stream.write(": still here\n\n"), HEARTBEAT_MS);
    try {
      await stream.write(": connected\n\n");
      while (!stream.aborted && waiting.length <= MAX_WAITING_ROWS) {
        const rows = waiting.splice(0, 1_000);
        if (rows.length > 0) await stream.write(rows.map(eventOf).join(""));
        else await new Promise<void>((resolve) => (wake = resolve));
      }
      if (!stream.aborted) metrics.liveClientsDropped.inc();
    } finally {
      clearInterval(heartbeat);
      unsubscribe();
      clients--;
    }
  });
}

function eventOf(row: ResultRow): string {
  const id = `${row.startUs}-${row.revision}`;
  return `event: result\nid: ${id}\ndata: ${resultJson(row)}\n\n`;
}

function resultJson({ query, startUs, endUs, key, values, revision, kind }: ResultRow): string {
  const window = `{"start":"${formatTime(startUs)}","end":"${formatTime(endUs)}"}`;
  return `{"query":${JSON.stringify(query)},"window":${window},"key":${key},"values":${values},"revision":${revision},"kind":"${kind}"}`;
}
