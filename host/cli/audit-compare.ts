import type { AuditOpen, AuditRow, AuditSum } from "../api/audit-rows.ts";

/** What an edge and its hub say of a stream's hour. */
export interface AuditFinding {
  readonly edge: string;
  readonly stream: string;
  readonly kind: AuditSum["kind"];
  readonly hour: string;
  /** Events: those that the edge has had taken, and those that the hub holds. */
  readonly atEdge: number;
  readonly atHub: number;
  readonly verdict:
    | "missing at the hub"
    | "unknown to the edge"
    | "altered"
    /** It changed while it was looked at, or batches are on their way. */
    | "moving";
}

export interface CountedAlone {
  readonly reason: /** Booked, or taken, by a release that had none or another one. */
    | "the hash is not known"
    /** Edge and hub are of releases that hash in different ways. */
    | "the hashes are of different versions";
  readonly hours: number;
  readonly events: number;
}

export interface AuditReport {
  /** Hours that are the same on both sides, and their events. */
  readonly equalHours: number;
  readonly equalEvents: number;
  /** Of these: events that the hub had, and that went there by retention. */
  readonly expiredEvents: number;
  /** Of these: hours whose hashes could not be compared, so that their events were counted alone. */
  readonly counted: readonly CountedAlone[];
  readonly findings: readonly AuditFinding[];
  /** What the hub holds of the edge from other data directories: it had another disk, or is the name of several. */
  readonly others: readonly { readonly incarnation: string; readonly count: number }[];
}

const HOUR_MS = 3_600_000;
/** Of hashes that do not tell theirs. */
const FIRST_VERSION = 1;

/**
 * Holds what an edge says against what the hub says. The edge was asked before the hub and after it: what it had had taken
 * before, the hub must have; and the hub must have no more than that where nothing changed and nothing is on its way.
 */
export function compareAudits(
  before: readonly AuditRow[],
  hub: readonly AuditSum[],
  after: readonly AuditRow[],
): AuditReport {
  const incarnations = new Set([...before, ...after].map(({ incarnation }) => incarnation));
  const [first, there, last] = [
    byName(before.filter(isSum)),
    byName(hub.filter(({ incarnation }) => incarnations.has(incarnation))),
    byName(after.filter(isSum)),
  ];
  const open = [...before, ...after].filter((row): row is AuditOpen => !isSum(row));
  const findings: AuditFinding[] = [];
  const counted = new Map<CountedAlone["reason"], CountedAlone>();
  let [equalHours, equalEvents, expiredEvents] = [0, 0, 0];
  for (const name of [...new Set([...first.keys(), ...there.keys()])].sort()) {
    const [was, held, is] = [first.get(name), there.get(name), last.get(name)];
    const { edge, stream, kind, hour } = (was ?? held)!;
    if (isSame(was, held) || (held !== undefined && isSame(is, held))) {
      equalHours++;
      equalEvents += held?.count ?? 0;
      expiredEvents += held?.expired ?? 0;
      const reason = whyCounted(isSame(was, held) ? was : is, held);
      if (reason !== null) {
        const { hours, events } = counted.get(reason) ?? { hours: 0, events: 0 };
        counted.set(reason, { reason, hours: hours + 1, events: events + (held?.count ?? 0) });
      }
      continue;
    }
    const [atEdge, atHub] = [was?.count ?? 0, held?.count ?? 0];
    const isStill = isSame(was, is) && !open.some((row) => concerns(row, stream, kind, hour));
    const verdict =
      atHub < atEdge
        ? "missing at the hub"
        : !isStill
          ? "moving"
          : atHub > atEdge
            ? "unknown to the edge"
            : "altered";
    findings.push({ edge, stream, kind, hour, atEdge, atHub, verdict });
  }
  const others = othersOf(hub, incarnations);
  return { equalHours, equalEvents, expiredEvents, counted: [...counted.values()], findings, others };
}

function isSum(row: AuditRow): row is AuditSum {
  return "hour" in row;
}

function byName(sums: readonly AuditSum[]): Map<string, AuditSum> {
  return new Map(sums.map((sum) => [`${sum.stream} ${sum.hour} ${sum.kind} ${sum.incarnation}`, sum]));
}

function isSame(a: AuditSum | undefined, b: AuditSum | undefined): boolean {
  return a?.count === b?.count && (a?.hash === b?.hash || whyCounted(a, b) !== null);
}

/** Null when the hashes of both can be compared. */
function whyCounted(a: AuditSum | undefined, b: AuditSum | undefined): CountedAlone["reason"] | null {
  if (a === undefined || b === undefined) return null;
  if (a.hash === null || b.hash === null) return "the hash is not known";
  const isOneVersion = (a.hashVersion ?? FIRST_VERSION) === (b.hashVersion ?? FIRST_VERSION);
  return isOneVersion ? null : "the hashes are of different versions";
}

function concerns({ stream, kind, from, to }: AuditOpen, of: string, ofKind: string, hour: string): boolean {
  const startMs = Date.parse(hour);
  const overlaps = Date.parse(to) >= startMs && Date.parse(from) < startMs + HOUR_MS;
  return stream === of && kind === ofKind && overlaps;
}

function othersOf(hub: readonly AuditSum[], own: ReadonlySet<string>): AuditReport["others"] {
  const counts = new Map<string, number>();
  for (const { incarnation, count, kind } of hub)
    if (!own.has(incarnation) && kind === "events")
      counts.set(incarnation, (counts.get(incarnation) ?? 0) + count);
  return [...counts].map(([incarnation, count]) => ({ incarnation, count }));
}
