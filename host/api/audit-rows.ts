import { HASH_VERSION } from "../../workers/core/event-sums.ts";
import type { HubSum } from "../../workers/hub/audit.ts";
import type { EdgeAudit } from "../../workers/sync/audit-reader.ts";
import { formatTime } from "../../workers/time-format.ts";

interface OfStream {
  readonly edge: string;
  /** Names the edge's data directory. */
  readonly incarnation: string;
  readonly stream: string;
  readonly kind: "events" | "aggregates";
}

/** Events of one hour of event time: those that the hub holds, or by the edge's books should hold. */
export interface AuditSum extends OfStream {
  readonly hour: string;
  readonly count: number;
  /** The sum of the events' hashes, 32 hexadecimal digits; null: not known, as that of some was booked by another release. */
  readonly hash: string | null;
  /** Of the function that it was made by: hashes of different versions are not to be compared. The first did not say so. */
  readonly hashVersion?: number;
  /** At a hub: so many of them went by retention. */
  readonly expired?: number;
}

/** At an edge: events that are on their way, or still to be sent: the hub may have them already. */
export interface AuditOpen extends OfStream {
  readonly open: number;
  /** The times of the earliest and the latest of them. */
  readonly from: string;
  readonly to: string;
}

/** A row of `GET /v1/audit`. */
export type AuditRow = AuditSum | AuditOpen;

export function edgeAuditRows({
  edge,
  incarnation,
  sums,
  open,
}: EdgeAudit & { readonly edge: string }): AuditRow[] {
  return [
    ...hubAuditRows(sums.map((sum) => ({ ...sum, edge, incarnation }))),
    ...open.map(({ stream, resolutionUs, minUs, maxUs, count }): AuditOpen => {
      const [from, to] = [formatTime(minUs), formatTime(maxUs)];
      return { edge, incarnation, stream, kind: kindOf(resolutionUs), open: count, from, to };
    }),
  ];
}

export function hubAuditRows(sums: readonly HubSum[]): AuditSum[] {
  return sums.map(({ edge, incarnation, stream, resolutionUs, hourUs, count, hash, expired }) => {
    const row = {
      edge,
      incarnation,
      stream,
      kind: kindOf(resolutionUs),
      hour: formatTime(hourUs),
      count,
      hash,
      hashVersion: HASH_VERSION,
    };
    return expired === undefined ? row : { ...row, expired };
  });
}

export function ndjsonOf(rows: readonly AuditRow[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
}

function kindOf(resolutionUs: number): OfStream["kind"] {
  return resolutionUs === 0 ? "events" : "aggregates";
}
