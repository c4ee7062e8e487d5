/** What a hub keeps of remote configuration, as JSON in its records. */

/** One put of a document. Times are µs since the epoch. */
export interface VersionNote {
  readonly version: number;
  /** SHA-256, hexadecimal. */
  readonly digest: string;
  /** Ed25519 in Base64; null: not signed. */
  readonly signature: string | null;
  readonly atUs: number;
  /** Who put it, as they said. */
  readonly by: string | null;
  /** Where the request came from. */
  readonly address: string | null;
}

/** An edge's own configuration, or a group's; its record is named by the scope. */
export interface ScopeRecord {
  /** Oldest first; the numbers grow. */
  readonly versions: readonly VersionNote[];
  /** In force where no rollout says otherwise; null: none. */
  readonly current: number | null;
  readonly rollout: Rollout | null;
}

export interface RolloutStep {
  /** Of the group's edges, above 0 and up to 100. */
  readonly percent: number;
  /** Before the next one begins, at least. */
  readonly waitMs: number;
}

export interface Rollout {
  readonly version: number;
  /** What was in force before. */
  readonly previous: number | null;
  readonly steps: readonly RolloutStep[];
  /** More edges that refuse it or go back halt it. */
  readonly maxFailures: number;
  readonly state: "running" | "halted" | "done" | "aborted";
  readonly step: number;
  readonly stepSinceUs: number;
  /** Why it was halted. */
  readonly reason: string | null;
  /** Edges that are to have the version; of one that was aborted, those that stay with it. */
  readonly offered: readonly string[];
  /** How many of them had it before this step. */
  readonly offeredBefore: number;
  /** Failures that somebody has looked at. */
  readonly excused: readonly string[];
}

/** What an edge says of a version. */
export interface ConfigReport {
  readonly scope: string;
  readonly version: number;
  readonly etag: string;
  readonly state: ConfigReportState;
  readonly reason: string | null;
  readonly atUs: number;
}

export const CONFIG_REPORT_STATES = ["trying", "applied", "refused", "rolled-back"] as const;
export type ConfigReportState = (typeof CONFIG_REPORT_STATES)[number];

/** Its record is named by the edge. */
export interface EdgeRecord {
  readonly group: string | null;
  /** The last. */
  readonly report: ConfigReport | null;
}

export const EMPTY_SCOPE: ScopeRecord = { versions: [], current: null, rollout: null };
export const EMPTY_EDGE: EdgeRecord = { group: null, report: null };

/** Every record of remote configuration by its kind. */
export const KINDS = { scope: "config-scope", edge: "config-edge", document: "config-document" } as const;

export function documentName(scope: string, version: number): string {
  return `${scope}@${version}`;
}

/** Names a version and its text: another text is another version to an edge. */
export function etagOf(scope: string, { version, digest }: Pick<VersionNote, "version" | "digest">): string {
  return `"${scope}@${version}-${digest.slice(0, 16)}"`;
}
