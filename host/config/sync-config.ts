import { buildRemoteConfig, type RemoteConfigSettings } from "./remote-config.ts";
import type { ConfigFile } from "./schema.ts";
import { buildSink, type SinkConfig } from "./sink-config.ts";
import type { TimeOfDayRange } from "./sync-parts.ts";

/** Where everything a node has is sent, and how: the hub's settings, and the sinks beside it. */
export interface SyncConfig extends DeliveryConfig {
  /** Of the hub; null: there is none. */
  readonly url: string | null;
  readonly token: string | null;
  readonly sinks: readonly SinkConfig[];
  /** null: the configuration is the node's own. */
  readonly remote: RemoteConfigSettings | null;
}

/** How one sink is sent to. Times in ms, sizes in bytes. */
export interface DeliveryConfig {
  /** A batch is sent when it has so many events (or rows) or bytes, or its oldest is so old. */
  readonly batch: { readonly events: number; readonly bytes: number; readonly everyMs: number };
  /** When there is much to catch up with, batches grow up to this. */
  readonly largest: { readonly events: number; readonly bytes: number };
  /** Bytes a second over the wire; null: as fast as it goes. */
  readonly bandwidth: number | null;
  /** Batches under way at once. */
  readonly concurrency: number;
  /** When results and events may be sent, by local time; none: always. All else is urgent. */
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

type SyncFile = NonNullable<ConfigFile["sync"]>;
type Options = Omit<SyncFile, "url" | "token" | "sinks" | "config">;

/** What `sync` says of deliveries holds for each sink that says nothing of it, but for the line's share. */
export function buildSync(input: SyncFile): SyncConfig {
  const { url = null, token = null, sinks, config, bandwidth: _bandwidth, ...shared } = input;
  const named = Object.entries(sinks ?? {});
  return {
    url,
    token,
    remote: url === null ? null : buildRemoteConfig(config),
    ...buildDelivery(input),
    sinks: named.map(([name, sink]) => {
      const { batch, largest, retry, breaker, ...own } = sink;
      return buildSink(
        name,
        sink,
        buildDelivery({
          ...shared,
          ...own,
          batch: { ...shared.batch, ...batch },
          largest: { ...shared.largest, ...largest },
          retry: { ...shared.retry, ...retry },
          breaker: { ...shared.breaker, ...breaker },
        }),
      );
    }),
  };
}

function buildDelivery(input: Options): DeliveryConfig {
  const by = SYNC_DEFAULTS;
  const { batch, largest, retry, breaker } = input;
  const events = batch?.events ?? by.batch.events;
  const bytes = batch?.bytes ?? by.batch.bytes;
  return {
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
  };
}

function toMs(us: number | undefined): number | null {
  return us === undefined ? null : us / 1_000;
}
