import { formatTime } from "../../workers/time-format.ts";
import type { NewsReport } from "../sync/news-desk.ts";
import type { SinkReport } from "../sync/sync.ts";
import type { StatusAnswer } from "./schemas.ts";

const time = (us: number | null): string | null => (us === null ? null : formatTime(us));

/** The sync part of `GET /v1/status`. */
export function describeSync(
  reports: readonly SinkReport[],
  news: NewsReport | null,
): NonNullable<StatusAnswer["sync"]> {
  return {
    ...(news === null ? {} : { hub: news }),
    sinks: reports.map(({ backlog, lastErrorUs, lastSuccessUs, ...status }) => ({
      ...status,
      backlog: {
        ...backlog.rows,
        bytes: backlog.bytes,
        oldest: time(backlog.oldestUs),
        parked: backlog.parked,
      },
      lastErrorAt: time(lastErrorUs),
      lastSuccess: time(lastSuccessUs),
    })),
  };
}
