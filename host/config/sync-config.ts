import { buildRemoteConfig, type RemoteConfigSettings } from "./remote-config.ts";
import type { ConfigFile } from "./schema.ts";
import type { TimeOfDayRange } from "./sync-parts.ts";

/** Where everything a node has is sent, and how. Times in ms, sizes in bytes. */
export interface SyncConfig {
  /** Of the hub. */
  readonly url: string;
  readonly token: string | null;
  /** A batch is sent when it has so many events (or rows) or bytes, or its oldest is so old. */
  readonly batch: { readonly events: number; readonly bytes: number; readonly everyMs: number };
  /** When there is much to catch up with, batches grow up to this. */
  readonly largest: { readonly events: number; readonly bytes: number };
  /** Bytes a second over the wire; null: as fast as it goes. */
  readonly bandwidth: number | null;
  /** Batches under way at once. */
  readonly concurrency: number;
  /** When anything but alerts and losses may be sent, by local time; none: always. */
  readonly windows: readonly TimeOfDayRange[];
  /** Without any progress for so long, an attempt is given up. */
  readonly timeoutMs: number;
  readonly retry: {
    readonly firstMs: number;
    readonly longestMs: number;
    /** After so many failures a batch steps aside, so that others get its place. */
    readonly aside: number;
    /** After so many failures while other batches went through, it is taken apart, and what is bad is parked. */
    readonly attempts: number;
  };
  readonly breaker: { readonly failures: number; readonly openMs: number };
  /** While the breaker is open, how often to look whether the sink is there. */
  readonly probeEveryMs: number;
  /** null: the configuration is the node's own. */
  readonly remote: RemoteConfigSettings | null;
}

const MIB = 1024 ** 2;

const SYNC_DEFAULTS = {
  batch: { events: 1_000, bytes: MIB, everyMs: 30_000 },
  largest: { events: 200_000, bytes: 8 * MIB },
  concurrency: 3,
  timeoutMs: 30_000,
  retry: { firstMs: 1_000, longestMs: 600_000, aside: 3, attempts: 10 },
  breaker: { failures: 5, openMs: 30_000 },
  probeEveryMs: 3_000,
} as const;

export function buildSync(input: NonNullable<ConfigFile["sync"]>): SyncConfig {
  const by = SYNC_DEFAULTS;
  const { batch, largest, retry, breaker } = input;
  const events = batch?.events ?? by.batch.events;
  const bytes = batch?.bytes ?? by.batch.bytes;
  return {
    url: input.url,
    token: input.token ?? null,
    batch: { events, bytes, everyMs: toMs(batch?.every) ?? by.batch.everyMs },
    largest: {
      events: Math.max(events, largest?.events ?? by.largest.events),
      bytes: Math.max(bytes, largest?.bytes ?? by.largest.bytes),
    },
    bandwidth: input.bandwidth ?? null,
    concurrency: input.concurrency ?? by.concurrency,
    windows: input.windows ?? [],
    timeoutMs: toMs(input.timeout) ?? by.timeoutMs,
    retry: {
      firstMs: toMs(retry?.first) ?? by.retry.firstMs,
      longestMs: toMs(retry?.longest) ?? by.retry.longestMs,
      aside: retry?.aside ?? by.retry.aside,
      attempts: retry?.attempts ?? by.retry.attempts,
    },
    breaker: {
      failures: breaker?.failures ?? by.breaker.failures,
      openMs: toMs(breaker?.open) ?? by.breaker.openMs,
    },
    probeEveryMs: toMs(input.probe) ?? by.probeEveryMs,
    remote: buildRemoteConfig(input.config),
  };
}

function toMs(us: number | undefined): number | null {
  return us === undefined ? null : us / 1_000;
}
