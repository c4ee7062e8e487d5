import { formatTime } from "../../workers/time-format.ts";
import { formatBytes } from "../config/sizes.ts";
import type { IngestRefusal, StateUse } from "./engine.ts";
import type { NamedKeys } from "./largest-keys.ts";
import type { RunningQuery, RunningStream, StreamRegistry } from "./stream-registry.ts";

/** Beyond so many times the limit, not even what closes windows is taken. */
const HARD_FACTOR = 2;
const RETRY_SECONDS = 10;
/** Queries that are named. */
const NAMED_QUERIES = 3;
/** Of a key's JSON text in a message. */
const MAX_KEY_CHARS = 80;

/** What is known of a parsed batch before it is committed. */
export interface ParsedBatch {
  /** Greatest event time that may move a watermark, or null. */
  readonly maxEventUs: number | null;
}

/**
 * Keeps the memory of window state within `limits.maxState`. Over it, a batch for windows is refused before it is committed,
 * but for one whose greatest event time lets the watermark close a window: so state gets smaller by itself, as time goes
 * on. What has been committed is never refused, so neither is a replay.
 */
export class StateGuard {
  readonly #registry: StreamRegistry;
  readonly #maxBytes: number;
  readonly #pendingBytes: () => number;
  refusedRequests = 0;
  /** Hears of what is refused and why. */
  onRefusal: ((detail: string) => void) | null = null;
  /** The largest keys, as far as they are known. */
  namedKeys: () => NamedKeys | null = () => null;

  constructor(registry: StreamRegistry, maxBytes: number, pendingBytes: () => number) {
    this.#registry = registry;
    this.#maxBytes = maxBytes;
    this.#pendingBytes = pendingBytes;
  }

  /** Memory of all queries' state as it was last told. */
  use(): StateUse {
    const queries = this.#registry.queries();
    const bytes = bytesOf(queries);
    const largest = queries
      .filter(({ stats }) => stats !== null && stats.groups > 0)
      .toSorted((a, b) => (b.stats?.bytes ?? 0) - (a.stats?.bytes ?? 0))
      .slice(0, NAMED_QUERIES)
      .map(({ config, stats }) => ({
        query: config.name,
        stateBytes: stats?.bytes ?? 0,
        keys: stats?.keys ?? 0,
        openGroups: stats?.groups ?? 0,
      }));
    return {
      bytes,
      maxBytes: this.#maxBytes,
      refusedRequests: this.refusedRequests,
      largest,
      largestKeys: this.namedKeys(),
    };
  }

  /** null when the batch is to be taken; else the answer for its senders. */
  refusal(stream: RunningStream, { maxEventUs }: ParsedBatch, requests: number): IngestRefusal | null {
    if (stream.queries.length === 0) return null;
    const bytes = bytesOf(this.#registry.queries()) + this.#pendingBytes();
    if (bytes <= this.#maxBytes) return null;
    const state = this.use();
    const [largest] = state.largest;
    if (largest === undefined) return null;
    const closesUs = earliestClose(stream.queries);
    const { boundUs } = stream.config.watermark;
    const isClosing = closesUs !== null && maxEventUs !== null && maxEventUs - boundUs >= closesUs;
    if (isClosing && bytes <= this.#maxBytes * HARD_FACTOR) return null;
    this.refusedRequests += requests;
    const until =
      closesUs === null || bytes > this.#maxBytes * HARD_FACTOR
        ? "a watermark closes windows"
        : `events of ${formatTime(closesUs + boundUs)} or later close windows`;
    const detail =
      `the windows hold ${formatBytes(bytes)}, more than limits.maxState (${formatBytes(this.#maxBytes)}); most of it is ` +
      `of query ${largest.query}: ${formatBytes(largest.stateBytes)}, ${largest.keys} keys, ${largest.openGroups} open groups.${describeKeys(state.largestKeys)} ` +
      `Send again once ${until}; group by less, make windows shorter, or raise the limit`;
    this.onRefusal?.(detail);
    return { kind: "overloaded", status: 503, retryAfterSeconds: RETRY_SECONDS, detail };
  }
}

function bytesOf(queries: readonly RunningQuery[]): number {
  return queries.reduce((sum, { stats }) => sum + (stats?.bytes ?? 0), 0);
}

function describeKeys(named: NamedKeys | null): string {
  if (named === null || named.keys.length === 0) return "";
  const keys = named.keys.map(({ key, bytes }) => `${shorten(key)} (${formatBytes(bytes)})`);
  return ` Largest keys of ${named.query}: ${keys.join(", ")}.`;
}

function shorten(key: string): string {
  return key.length <= MAX_KEY_CHARS ? key : `${key.slice(0, MAX_KEY_CHARS)}…`;
}

/** When the first window of these queries, or of those over their results, closes: by the stream's watermark, in µs. */
function earliestClose(queries: readonly RunningQuery[]): number | null {
  let earliest: number | null = null;
  for (const { stats, asStream } of queries) {
    for (const closesUs of [
      stats?.nextCloseUs ?? null,
      asStream === null ? null : earliestClose(asStream.queries),
    ])
      if (closesUs !== null && (earliest === null || closesUs < earliest)) earliest = closesUs;
  }
  return earliest;
}
