import { formatTime } from "../../workers/time-format.ts";
import type { RelayStatus } from "../relay/relay.ts";
import type { RemoteConfigStatus } from "../remote/remote-config.ts";

const time = (us: number | null): string | null => (us === null ? null : formatTime(us));

/** The relay's part of `GET /v1/status`. */
export function describeRelay({ edges, lastErrorUs, lastSuccessUs, ...status }: RelayStatus) {
  return {
    ...status,
    lastErrorAt: time(lastErrorUs),
    lastSuccess: time(lastSuccessUs),
    edges: edges.map(({ oldestUs, ...edge }) => ({ ...edge, oldest: time(oldestUs) })),
  };
}

/** What of `GET /v1/status` is of the hub's configuration. */
export function describeRemoteConfig({ inForce, report, lastPollUs, ...status }: RemoteConfigStatus) {
  return {
    inForce: inForce === null ? null : { of: inForce.scope, version: inForce.version },
    ...status,
    lastPoll: time(lastPollUs),
    report:
      report === null
        ? null
        : {
            of: report.scope,
            version: report.version,
            state: report.state,
            reason: report.reason,
            at: formatTime(report.atUs),
          },
  };
}
