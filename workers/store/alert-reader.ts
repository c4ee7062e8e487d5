import type { AlertRow } from "../messages.ts";

/** Where a page of alerts ended. */
export interface AlertCursor {
  readonly sinceUs: number;
  readonly alert: string;
  readonly key: string;
  readonly id: string;
  readonly revision: number;
}

export interface AlertFilter {
  readonly alert: string | null;
  readonly state: string | null;
  /** Alerts that went on at or after this. */
  readonly fromUs: number | null;
  /** Alerts that began before this. */
  readonly toUs: number | null;
  /** The whole key as JSON text, or the text of one of its values. */
  readonly key: string | null;
  readonly revisions: "latest" | "all";
  readonly limit: number;
  readonly after: AlertCursor | null;
}

export type StoredAlert = Omit<AlertRow, "definition" | "isTold">;

const COLUMNS =
  "alert, severity, key, state, since_us AS sinceUs, at_us AS atUs, value, id, revision, retracted AS isRetracted";
/** What is open goes on; what is resolved went on until then. */
export const GOES_ON = "(r.state <> 'resolved' OR r.at_us >= @from)";

/** The statement of a filter; `keyMatches` compares the key with `@key`. */
export function alertsSql(
  { alert, state, fromUs, key, revisions, after }: AlertFilter,
  keyMatches: string,
): string {
  const conditions = ["r.since_us < @to"];
  if (alert !== null) conditions.push("r.alert = @alert");
  if (state !== null) conditions.push("r.state = @state");
  if (fromUs !== null) conditions.push(GOES_ON);
  if (key !== null) conditions.push(keyMatches);
  if (revisions === "latest") conditions.push("r.is_latest = 1 AND r.retracted = 0");
  if (after !== null)
    conditions.push(
      "(r.since_us, r.alert, r.key, r.id, r.revision) > (@afterSince, @afterAlert, @afterKey, @afterId, @afterRevision)",
    );
  // What is open has a small index of its own.
  if (revisions === "latest" && state !== null && state !== "resolved")
    conditions.push("r.state <> 'resolved'");
  return (
    `SELECT ${COLUMNS} FROM alerts r WHERE ${conditions.join(" AND ")}` +
    " ORDER BY since_us, alert, key, id, revision LIMIT @limit"
  );
}

export function alertParameters(filter: AlertFilter): Record<string, unknown> {
  const { alert, state, fromUs, toUs, key, limit, after } = filter;
  return {
    alert,
    state,
    key,
    limit,
    from: fromUs ?? Number.NEGATIVE_INFINITY,
    to: toUs ?? Number.POSITIVE_INFINITY,
    afterSince: after?.sinceUs,
    afterAlert: after?.alert,
    afterKey: after?.key,
    afterId: after?.id,
    afterRevision: after?.revision,
  };
}
