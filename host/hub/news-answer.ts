import { readHybridTime } from "../../workers/attributes/hybrid-clock.ts";
import { MillraceError } from "../../workers/errors.ts";
import type { IdentityCase } from "../../workers/hub/edge-identity.ts";
import type { EdgeNews, HubAttributeLimits } from "../../workers/hub/edge-news.ts";
import type { HubTime } from "../../workers/store/attribute-operations.ts";

/** A request with this header is told more than what became of its batch. */
export const NEWS_HEADER = "millrace-news";

const CASES: ReadonlySet<unknown> = new Set<IdentityCase>(["replayed", "cloned", "re-imaged", "name-shared"]);

/** What a hub's answer says beside `stored` and `duplicate`. */
export interface HubNews {
  readonly time: HubTime;
  readonly refusedAttributes: number;
  readonly identity: IdentityCase | null;
}

/** The members that the answer has more. Times are ms since the epoch. */
export function newsAnswer(
  { latest, refusedAttributes, identity }: EdgeNews,
  { maxClockAheadMs }: Pick<HubAttributeLimits, "maxClockAheadMs">,
  nowMs: number,
): object {
  return {
    clock: { now: nowMs, maxAhead: maxClockAheadMs, ...latest },
    ...(refusedAttributes === 0 ? {} : { refusedAttributes }),
    ...(identity === null ? {} : { identity }),
  };
}

/** Reads them back; null: it is a hub, or a relay, that says none. */
export function readNews(answer: Readonly<Record<string, unknown>>): HubNews | null {
  const { clock, refusedAttributes = 0, identity = null } = answer;
  if (typeof clock !== "object" || clock === null || typeof refusedAttributes !== "number") return null;
  const { now, maxAhead, ms, counter } = clock as Readonly<Record<string, unknown>>;
  try {
    const nowMs = readHybridTime(now, 0).ms;
    const maxAheadMs = readHybridTime(maxAhead, 0).ms;
    const time = { nowMs, maxAheadMs, latest: readHybridTime(ms, counter) };
    return { time, refusedAttributes, identity: CASES.has(identity) ? (identity as IdentityCase) : null };
  } catch (cause) {
    if (cause instanceof MillraceError) return null;
    throw cause;
  }
}
