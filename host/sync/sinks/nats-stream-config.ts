import type { DiscardPolicy, RetentionPolicy } from "@nats-io/jetstream";
import type { NatsStreamForm } from "../../config/nats-stream.ts";

/** How long keys are known; a server keeps them in memory. */
const DUPLICATE_WINDOW_NS = 3_600e9;
const NS_PER_US = 1_000;

/**
 * For `streams.add`. At `max_bytes` the server refuses what is new, so that edges keep it: what was acknowledged once is not
 * pushed out unread.
 */
export function streamConfig(
  name: string,
  subjects: string,
  { retention, maxBytes, maxAgeUs }: NatsStreamForm,
): {
  readonly name: string;
  readonly subjects: string[];
  readonly retention: RetentionPolicy;
  readonly discard: DiscardPolicy;
  readonly max_bytes: number;
  readonly max_age: number;
  readonly duplicate_window: number;
} {
  const maxAge = maxAgeUs === null ? 0 : maxAgeUs * NS_PER_US;
  return {
    name,
    subjects: [subjects],
    retention: (retention === "limits" ? "limits" : "workqueue") as RetentionPolicy,
    discard: "new" as DiscardPolicy,
    max_bytes: maxBytes,
    max_age: maxAge,
    // A server takes no window longer than the age.
    duplicate_window: maxAge === 0 ? DUPLICATE_WINDOW_NS : Math.min(maxAge, DUPLICATE_WINDOW_NS),
  };
}
