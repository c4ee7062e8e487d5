import { formatDuration } from "../config/durations.ts";
import type { NatsStreamForm } from "../config/nats-stream.ts";
import type { SinkConfig, SinkTarget } from "../config/sink-config.ts";
import { formatSize } from "../config/sizes.ts";
import type { DeliveryConfig } from "../config/sync-config.ts";
import { formatBandwidth, formatTimeOfDayRange } from "../config/sync-parts.ts";

/** `sync.sinks`, in the form of the configuration's file. Secrets are still in it. */
export function describeSinks(sinks: readonly SinkConfig[]): object {
  return Object.fromEntries(
    sinks.map(({ name, target, selection: { streams, queries, kinds }, delivery }) => [
      name,
      {
        ...describeTarget(target),
        ...(streams === null ? {} : { streams }),
        ...(queries === null ? {} : { queries }),
        ...(kinds === null ? {} : { send: kinds }),
        ...describeDelivery(delivery),
      },
    ]),
  );
}

/** What `sync` and each of its sinks say of how they are sent to. */
export function describeDelivery(delivery: DeliveryConfig): object {
  const { batch, largest, bandwidth, concurrency, windows, timeoutMs, retry, breaker } = delivery;
  const time = (ms: number): string => formatDuration(ms * 1_000);
  return {
    batch: { events: batch.events, bytes: formatSize(batch.bytes), every: time(batch.everyMs) },
    largest: { events: largest.events, bytes: formatSize(largest.bytes) },
    ...(bandwidth === null ? {} : { bandwidth: formatBandwidth(bandwidth) }),
    concurrency,
    ...(windows.length === 0 ? {} : { windows: windows.map(formatTimeOfDayRange) }),
    timeout: time(timeoutMs),
    retry: {
      first: time(retry.firstMs),
      longest: time(retry.longestMs),
      aside: retry.aside,
      attempts: retry.attempts,
    },
    breaker: { failures: breaker.failures, open: time(breaker.openMs) },
    probe: time(delivery.probeEveryMs),
  };
}

function describeTarget(target: SinkTarget): object {
  switch (target.kind) {
    case "file": {
      const { dir, format, isCompressed } = target;
      return { file: { dir, format, ...(format === "ndjson" && !isCompressed ? { compress: "none" } : {}) } };
    }
    case "nats": {
      const { kind: _kind, creates: create, form, ...nats } = target;
      return { nats: { ...given(nats), create, ...describeStream(form) } };
    }
    case "postgres":
      return { postgres: { url: target.url, schema: target.schema, create: target.creates } };
    case "s3": {
      const { kind: _kind, ...s3 } = target;
      return { s3: given(s3) };
    }
    case "kafka": {
      const { kind: _kind, isTls: tls, ...kafka } = target;
      return { kafka: { ...given(kafka), tls } };
    }
  }
}

/** Without what is not set. */
function given(settings: object): object {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null));
}

function describeStream({ retention, maxBytes, maxAgeUs }: NatsStreamForm): object {
  const age = maxAgeUs === null ? {} : { maxAge: formatDuration(maxAgeUs) };
  return { retention, maxBytes: formatSize(maxBytes), ...age };
}
