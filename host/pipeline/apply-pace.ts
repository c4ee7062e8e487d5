import type { WindowPlan } from "../../workers/messages.ts";
import type { CommittedEntry } from "./apply-loop.ts";
import type { RunningQuery, RunningStream, StreamRegistry } from "./stream-registry.ts";

/**
 * Between the beginnings of two calls of the window thread, where nothing that waits is urgent: at a hundred blocks a second two or three
 * go together, and a call costs about as much as merging 1,000 events. What a revision of a closed window is late by at most.
 */
const GATHER_MS = 25;
/** Blocks, and bytes of their partials, that wait no longer: they make a call worth its price. */
const GATHERED_ENTRIES = 16;
const GATHERED_BYTES = 256 * 1024;

/**
 * When committed entries go to the window thread. A block that closes no window changes nothing that anybody is told of: it
 * may wait for the blocks behind it. All else goes at once, and what waits with it, in the order of the log.
 */
export class ApplyPace {
  readonly #registry: Pick<StreamRegistry, "stream">;

  constructor(registry: Pick<StreamRegistry, "stream">) {
    this.#registry = registry;
  }

  /**
   * How long `entry`, the newest of those that wait, may wait for others, in ms; 0: not at all. What waited before it may wait as well.
   * @param lastStartMs when entries went to the window thread last, on the clock of `nowMs`
   */
  waitMs(
    entry: CommittedEntry,
    waiting: { readonly entries: number; readonly bytes: number },
    lastStartMs: number,
    nowMs: number,
  ): number {
    const untilDueMs = lastStartMs + GATHER_MS - nowMs;
    if (untilDueMs <= 0 || waiting.entries >= GATHERED_ENTRIES || waiting.bytes >= GATHERED_BYTES) return 0;
    return this.#isUrgent(entry) ? 0 : untilDueMs;
  }

  #isUrgent({ entry, later }: CommittedEntry): boolean {
    if (entry.kind !== "block" || later !== undefined) return true;
    const stream = this.#registry.stream(entry.stream);
    if (stream === undefined || stream.alerts.length > 0) return true;
    const { maxEventUs } = entry;
    if (maxEventUs === null || stream.queries.length === 0) return false;
    if (stream.watermarkUs === null || stream.config.watermark.per !== "stream") return true;
    const watermarkUs = maxEventUs - stream.config.watermark.boundUs;
    return stream.queries.some((query) => mayGiveResults(query, stream, watermarkUs));
  }
}

/** Whether the query gives more than revisions when the watermark comes so far. True where only its windows can tell. */
function mayGiveResults(query: RunningQuery, stream: RunningStream, watermarkUs: number): boolean {
  const { window, earlyUs, keyClock } = query.plan;
  if (earlyUs !== undefined || keyClock !== undefined || query.asStream !== null) return true;
  const ends = endsOf(window);
  if (ends === null || stream.watermarkUs === null) return true;
  const endsBy = (us: number): number => Math.floor((us - ends.firstUs) / ends.everyUs);
  return endsBy(watermarkUs) > endsBy(stream.watermarkUs);
}

/** One of the ends of the windows, and how far they are apart; null: not so evenly, or each key has its own. */
function endsOf(window: WindowPlan): { readonly firstUs: number; readonly everyUs: number } | null {
  if (window.kind === "tumbling") return { firstUs: window.offsetUs, everyUs: window.sizeUs };
  if (window.kind === "sliding") return { firstUs: window.offsetUs + window.sizeUs, everyUs: window.everyUs };
  return null;
}
