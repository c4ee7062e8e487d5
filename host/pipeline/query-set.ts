import type { CommitOperation, QueryPlan } from "../../workers/messages.ts";
import type { StoredTable } from "../../workers/store/table-store.ts";
import type { SetAlert } from "../config/alert.ts";
import type { Config, QueryConfig, StreamConfig } from "../config/config.ts";
import { queryPlan, resultStream } from "../config/plans.ts";
import { digestOf } from "../config/table/stored.ts";

/** Where a configuration came from. One that was put names the file's text it was put over, by its digest. */
export type ConfigOrigin =
  | { readonly kind: "file" }
  | {
      readonly kind: "put";
      readonly document: string;
      readonly fileDigest: string;
      /** Where a hub gave it: then it holds whatever the file says. */
      readonly remote?: RemoteVersion;
    };

/** Names a configuration of a hub, and its text. */
export interface RemoteVersion {
  /** `edge:NAME` or `group:NAME`. */
  readonly scope: string;
  readonly version: number;
  readonly etag: string;
}

/** Which stored events a query is to be given before it goes on live. */
export interface Backfill {
  /** Windows from this event time on; null: all. */
  readonly fromUs: number | null;
  /** Events before this entry of the log are read in the order of event time, those after it in the log's. */
  readonly untilSeq: number;
  /** The stream's watermark then: what it closed is fired in the first part. null: nothing. */
  readonly watermarkUs: number | null;
}

export interface SetQuery {
  readonly plan: Omit<QueryPlan, "id">;
  /** The query whose results are its events; null: it is from a stream. */
  readonly from: string | null;
  /** Its results as a stream, where another query is from it. */
  readonly results: StreamConfig | null;
  /** Not live yet; null: live. */
  readonly backfill: Backfill | null;
}

/** A reference table, whose rows are stored under their digest. */
export interface SetTable {
  readonly name: string;
  /** null: its rows were put. */
  readonly file: string | null;
  readonly key: string;
  readonly on: string | null;
  readonly digest: string;
}

/** What an entry `config` of the log says: the streams and queries in force from its place on. */
export interface QuerySet {
  /** One more with each change by an operator. */
  readonly version: number;
  readonly origin: ConfigOrigin;
  readonly acceptsAnyStream: boolean;
  readonly streams: readonly StreamConfig[];
  readonly queries: readonly SetQuery[];
  /** Left out by releases that did not store them: then those of the configuration hold. */
  readonly tables?: readonly SetTable[];
  /** As `tables`. */
  readonly alerts?: readonly SetAlert[];
  /** Queries that were removed; their results stay readable. */
  readonly retired: readonly string[];
}

/** In an entry that begins a backfill: up to that entry, whose seq is known only once it is committed. */
const THIS_ENTRY = 0;

export function signatureOf(plan: Omit<QueryPlan, "id">): string {
  const { id: _id, ...definition } = plan as QueryPlan;
  return JSON.stringify(definition);
}

/** The set that a configuration asks for, with no regard to what is there. */
export function querySetOf(config: Config, version: number, origin: ConfigOrigin): QuerySet {
  return {
    version,
    origin,
    acceptsAnyStream: config.acceptsAnyStream,
    streams: [...config.streams.values()],
    queries: setQueriesOf(config),
    tables: setTablesOf(config),
    alerts: setAlertsOf(config),
    retired: [],
  };
}

export function setTablesOf({ tables }: Config): SetTable[] {
  return [...(tables?.values() ?? [])].map(({ name, file, key, on, data }) => ({
    name,
    file,
    key,
    on,
    digest: digestOf(data),
  }));
}

export function setAlertsOf({ alerts }: Config): SetAlert[] {
  return [...alerts.values()].map(({ name, severity, from, programs, for: patience, definition }) => ({
    name,
    severity,
    from,
    programs,
    for: patience,
    definition,
  }));
}

/** Queries that others are from stand in front of those. */
function setQueriesOf(config: Config): SetQuery[] {
  const sources = new Map<string, StreamConfig>();
  const used = new Set(
    [...config.queries.values()].flatMap(({ isOnQuery, from }) => (isOnQuery ? [from] : [])),
  );
  const queries: SetQuery[] = [];
  const add = (query: QueryConfig): void => {
    if (queries.some(({ plan }) => plan.name === query.name)) return;
    const below = query.isOnQuery ? config.queries.get(query.from) : undefined;
    if (below !== undefined) add(below);
    const stream = below === undefined ? config.streams.get(query.from) : sources.get(below.name);
    if (stream === undefined) return;
    const { id: _id, ...plan } = queryPlan(query, stream, 0, config.limits.maxKeyClocks);
    const results = used.has(query.name) ? resultStream(query, stream) : null;
    if (results !== null) sources.set(query.name, results);
    queries.push({ plan, from: below?.name ?? null, results, backfill: null });
  };
  for (const query of config.queries.values()) add(query);
  return queries;
}

/** What changes from one set to the next, by names of queries. */
export interface SetChange {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  /** Of those added and changed. */
  readonly backfilling: readonly string[];
  /** Left out when none changes. */
  readonly alerts?: NamedChange;
  readonly tables?: NamedChange;
}

export interface NamedChange {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

/** The clock of a stream as it is known when a query with `backfill` comes. */
export interface KnownClock {
  readonly watermarkUs: number | null;
  readonly maxEventUs: number | null;
}

/** `next` in the place of `before`: backfills under way go on, those of new and changed queries begin. */
export function succeed(
  before: QuerySet,
  next: QuerySet,
  config: Config,
  clockOf: (stream: string) => KnownClock,
): { readonly set: QuerySet; readonly change: SetChange } {
  const known = new Map(before.queries.map((query) => [query.plan.name, query]));
  const added: string[] = [];
  const changed: string[] = [];
  const backfilling: string[] = [];
  const restarting = new Set<string>();
  const queries = next.queries.map((query): SetQuery => {
    const { plan, from } = query;
    const { name } = plan;
    const old = known.get(name);
    // A query on a query begins anew with it; those stand in front.
    const isSame = old?.from === from && signatureOf(old.plan) === signatureOf(plan);
    if (old !== undefined && isSame && !(from !== null && restarting.has(from)))
      return { ...query, backfill: old.backfill };
    restarting.add(name);
    (old === undefined ? added : changed).push(name);
    const backfill = beginBackfill(config.queries.get(name)?.backfillUs, clockOf(eventsOf(next, query)));
    if (backfill !== null) backfilling.push(name);
    return { ...query, backfill };
  });
  const names = new Set(queries.map(({ plan }) => plan.name));
  const removed = [...known.keys()].filter((name) => !names.has(name));
  const retired = [...new Set([...before.retired, ...removed])].filter((name) => !names.has(name));
  return {
    set: { ...next, queries, retired },
    change: { added, changed, removed, backfilling, ...changesBeside(before, next) },
  };
}

/** Of alerts and tables. */
function changesBeside(before: QuerySet, next: QuerySet): Pick<SetChange, "alerts" | "tables"> {
  const alerts = compare(before.alerts ?? [], next.alerts ?? []);
  const tables = compare(before.tables ?? [], next.tables ?? []);
  return { ...(alerts === null ? {} : { alerts }), ...(tables === null ? {} : { tables }) };
}

function compare<T extends { readonly name: string }>(
  before: readonly T[],
  next: readonly T[],
): NamedChange | null {
  const known = new Map(before.map((each) => [each.name, JSON.stringify(each)]));
  const names = new Set(next.map(({ name }) => name));
  const added = next.flatMap(({ name }) => (known.has(name) ? [] : [name]));
  const changed = next.flatMap((each) => {
    const old = known.get(each.name);
    return old === undefined || old === JSON.stringify(each) ? [] : [each.name];
  });
  const removed = [...known.keys()].filter((name) => !names.has(name));
  return added.length + changed.length + removed.length === 0 ? null : { added, changed, removed };
}

/** The stream whose events a query goes back to, over however many queries. */
function eventsOf(set: QuerySet, { plan, from }: SetQuery): string {
  const below = set.queries.find((query) => query.plan.name === from);
  return below === undefined ? plan.stream : eventsOf(set, below);
}

/** null: none is asked for. Before the first event it reads what is on its way by then. */
function beginBackfill(
  backfillUs: number | "all" | undefined,
  { watermarkUs, maxEventUs }: KnownClock,
): Backfill | null {
  if (backfillUs === undefined) return null;
  const fromUs = backfillUs === "all" || maxEventUs === null ? null : maxEventUs - backfillUs;
  return { fromUs, untilSeq: THIS_ENTRY, watermarkUs };
}

/** The same set once backfills of these queries are done. */
export function takenOver(set: QuerySet, name: string): QuerySet {
  return {
    ...set,
    queries: set.queries.map((query) => (query.plan.name === name ? { ...query, backfill: null } : query)),
  };
}

/** Whether what the window engine and the parser must know is the same. */
export function isSameSet(a: QuerySet, b: QuerySet): boolean {
  const content = ({ acceptsAnyStream, streams, queries, tables, alerts }: QuerySet): string => {
    const ofQueries = queries.map(({ plan, results }) => [plan, results]);
    return JSON.stringify([acceptsAnyStream, streams, ofQueries, tables, alerts]);
  };
  return content(a) === content(b);
}

export function readQuerySet({ seq, body }: { readonly seq: number; readonly body: string }): QuerySet {
  return placeIn(JSON.parse(body) as QuerySet, seq);
}

/** The set of the entry with that seq. */
export function placeIn(set: QuerySet, seq: number): QuerySet {
  const placed = set.queries.map((query) =>
    query.backfill?.untilSeq === THIS_ENTRY
      ? { ...query, backfill: { ...query.backfill, untilSeq: seq } }
      : query,
  );
  return { ...set, queries: placed };
}

/** `added`: rows of tables that the set before did not have. */
export function configOperation(set: QuerySet, added: readonly StoredTable[] = []): CommitOperation {
  const digests = (set.tables ?? []).map(({ digest }) => digest);
  return { kind: "config", body: JSON.stringify(set), tables: { digests, added } };
}
