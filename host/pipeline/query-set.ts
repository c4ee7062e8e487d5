import type { CommitOperation, QueryPlan } from "../../workers/messages.ts";
import type { Config, QueryConfig, StreamConfig } from "../config/config.ts";
import { queryPlan, resultStream } from "../config/plans.ts";

/** Where a configuration came from. One that was put names the file's text it was put over, by its digest. */
export type ConfigOrigin =
  | { readonly kind: "file" }
  | { readonly kind: "put"; readonly document: string; readonly fileDigest: string };

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

/** What an entry `config` of the log says: the streams and queries in force from its place on. */
export interface QuerySet {
  /** One more with each change by an operator. */
  readonly version: number;
  readonly origin: ConfigOrigin;
  readonly acceptsAnyStream: boolean;
  readonly streams: readonly StreamConfig[];
  readonly queries: readonly SetQuery[];
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
    retired: [],
  };
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
  const queries = next.queries.map((query): SetQuery => {
    const { plan } = query;
    const { name } = plan;
    const old = known.get(name);
    if (old !== undefined && signatureOf(old.plan) === signatureOf(plan))
      return { ...query, backfill: old.backfill };
    (old === undefined ? added : changed).push(name);
    const backfill = beginBackfill(config.queries.get(name)?.backfillUs, clockOf(plan.stream));
    if (backfill !== null) backfilling.push(name);
    return { ...query, backfill };
  });
  const names = new Set(queries.map(({ plan }) => plan.name));
  const removed = [...known.keys()].filter((name) => !names.has(name));
  const retired = [...new Set([...before.retired, ...removed])].filter((name) => !names.has(name));
  return { set: { ...next, queries, retired }, change: { added, changed, removed, backfilling } };
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
  const content = ({ acceptsAnyStream, streams, queries }: QuerySet): string =>
    JSON.stringify([acceptsAnyStream, streams, queries.map(({ plan, results }) => [plan, results])]);
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

export function configOperation(set: QuerySet): CommitOperation {
  return { kind: "config", body: JSON.stringify(set) };
}
