import type {
  AggregatedBlock,
  AlertPlan,
  BlockSchema,
  QueryPlan,
  ResultRow,
  SchemaField,
  SkewedDevice,
  SourceCounts,
  StreamSetup,
  TableData,
  WindowStats,
} from "../../workers/messages.ts";
import { bytewiseGroups, packedOf } from "../../workers/packed-rows.ts";
import { packResults } from "../../workers/result-rows.ts";
import { fieldsOf, mergeSchemas } from "../../workers/schema.ts";
import { RunningAlerts } from "../alert/running-alerts.ts";
import { alertPlan, type SetAlert } from "../config/alert.ts";
import type { Config, Limits, QueryConfig, StreamConfig } from "../config/config.ts";
import { automaticQuery, automaticStream, queryPlan, resultsSetup, streamPlan } from "../config/plans.ts";
import type { QueryBelow } from "./backfills.ts";
import type { BackfillProgress, QueryState, ResultListener, StreamState } from "./engine.ts";
import { type Backfill, type QuerySet, querySetOf, type SetQuery, signatureOf } from "./query-set.ts";
import { RateMeter } from "./rate.ts";

/** A query and what is known of it on the main thread. */
export class RunningQuery {
  config: QueryConfig;
  readonly plan: QueryPlan;
  readonly stream: RunningStream;
  stats: WindowStats | null = null;
  results = 0;
  revisions = 0;
  /** Stored events are read before the query is live; null: it is. */
  backfill: Backfill | null = null;
  progress: BackfillProgress | null = null;
  /** It was changed or removed. */
  isGone = false;
  readonly listeners = new Set<ResultListener>();
  /** Its final results as a stream, once another query is from it. */
  asStream: RunningStream | null = null;

  constructor(config: QueryConfig, stream: RunningStream, plan: QueryPlan) {
    this.config = config;
    this.stream = stream;
    this.plan = plan;
  }

  /** Counts rows that came of late events, and tells who listens. */
  publish(rows: readonly ResultRow[]): void {
    this.results += rows.length;
    for (const row of rows) if (row.revision > 0) this.revisions++;
    if (this.listeners.size === 0) return;
    const groups = bytewiseGroups(packedOf(packResults(rows)));
    for (const listener of this.listeners) listener(groups);
  }

  state(): QueryState {
    return {
      config: this.config,
      watermarkUs: this.stream.watermarkUs,
      openGroups: this.stats?.groups ?? 0,
      keys: this.stats?.keys ?? 0,
      idleKeys: this.stats?.idleKeys ?? 0,
      stateBytes: this.stats?.bytes ?? 0,
      results: this.results,
      revisions: this.revisions,
      backfill: this.progress,
    };
  }
}

/** Counts that the store keeps durably; here they are what has been committed so far. */
export interface StreamCounts {
  accepted: number;
  deadLettered: number;
  late: number;
  clockSkewed: number;
  blocks: number;
  storedBytes: number;
}

/** The queries and reference tables under which a block counts: another object after each change. */
export interface InForce {
  readonly queries: readonly RunningQuery[];
  readonly tables: readonly TableData[];
}

/** A stream and what is known of it on the main thread. */
export class RunningStream {
  config: StreamConfig;
  /** Those that are live. */
  queries: RunningQuery[] = [];
  /** What holds for its events now. */
  inForce: InForce = { queries: this.queries, tables: [] };
  /** Over its events and over the results of its queries. */
  alerts: AlertPlan[] = [];
  /** Grows whenever its settings or queries change; a lane that knows older ones is set up anew. */
  planVersion = 0;
  readonly counts: StreamCounts = {
    accepted: 0,
    deadLettered: 0,
    late: 0,
    clockSkewed: 0,
    blocks: 0,
    storedBytes: 0,
  };
  /** Of the blocks counted, those that are gone again. */
  removed: Pick<StreamCounts, "blocks" | "storedBytes"> = { blocks: 0, storedBytes: 0 };
  readonly rate = new RateMeter();
  /** False for a stream that is stored but no longer configured: readable, not writable. */
  isWritable: boolean;
  schema: readonly SchemaField[] = [];
  /** The fields taken in last. */
  #learned: BlockSchema = [];
  /** Grows with every change of the schema; a lane that knows an older one is set up anew. */
  schemaVersion = 0;
  watermarkUs: number | null = null;
  maxEventUs: number | null = null;
  /** Of what was acknowledged, as `maxEventUs` will be once the window thread has it. */
  #acknowledgedUs: number | null = null;
  sources: SourceCounts = { known: 0, active: 0, untrackedEvents: 0 };
  skewedDevices: readonly SkewedDevice[] = [];
  duplicates = 0;
  /** The fields that gave events their times, and null where their arrival did. */
  timeSources: readonly (string | null)[] = [];

  constructor(config: StreamConfig, isWritable: boolean) {
    this.config = config;
    this.isWritable = isWritable;
  }

  /** Takes in the fields of a block. @returns whether the schema changed. */
  learn(fields: BlockSchema): boolean {
    if (fields === this.#learned) return false;
    this.#learned = fields;
    const merged = mergeSchemas(this.schema, fieldsOf(fields));
    if (merged === this.schema) return false;
    this.schema = merged;
    this.schemaVersion++;
    return true;
  }

  /** A block is durable; `maxEventUs`: its greatest event time without clock skew. */
  acknowledge(maxEventUs: number | null): void {
    if (maxEventUs === null) return;
    this.#acknowledgedUs = Math.max(this.#acknowledgedUs ?? maxEventUs, maxEventUs);
  }

  /** The clock as it is once all that was acknowledged is applied; but for a stream's first events. */
  get acknowledgedClock(): { readonly watermarkUs: number | null; readonly maxEventUs: number | null } {
    const { watermarkUs, maxEventUs } = this;
    if (maxEventUs === null || this.#acknowledgedUs === null) return { watermarkUs, maxEventUs };
    return { watermarkUs, maxEventUs: Math.max(maxEventUs, this.#acknowledgedUs) };
  }

  learnTimes(sources: readonly (string | null)[]): void {
    if (sources.every((source) => this.timeSources.includes(source))) return;
    this.timeSources = [...new Set([...this.timeSources, ...sources])];
  }

  setup(): StreamSetup {
    return {
      plan: streamPlan(this.config),
      queries: this.queries.map((query) => query.plan),
      isPerSource: this.config.watermark.per === "source",
      alerts: this.alerts.filter(({ from }) => from.kind === "stream"),
      schema: this.schema,
    };
  }

  count(
    accepted: number,
    deadLettered: number,
    block: AggregatedBlock,
    storedBytes: number,
    nowMs: number,
  ): void {
    this.counts.accepted += accepted;
    this.counts.deadLettered += deadLettered;
    this.counts.clockSkewed += block.skewedCount;
    this.rate.add(accepted, nowMs);
    if (storedBytes === 0) return;
    this.counts.blocks++;
    this.counts.storedBytes += storedBytes;
  }

  state(nowMs: number): StreamState {
    return {
      config: this.config,
      schema: this.schema,
      schemaVersion: this.schemaVersion,
      watermarkUs: this.watermarkUs,
      maxEventTimeUs: this.maxEventUs,
      sources: this.sources,
      skewedDevices: this.skewedDevices,
      timeSources: this.timeSources,
      ...this.counts,
      blocks: Math.max(0, this.counts.blocks - this.removed.blocks),
      storedBytes: Math.max(0, this.counts.storedBytes - this.removed.storedBytes),
      duplicates: this.duplicates,
      rate: this.rate.perSecond(nowMs),
    };
  }
}

/** Every stream and query, declared or come into being. */
export class StreamRegistry {
  readonly #limits: Limits;
  readonly #streams = new Map<string, RunningStream>();
  readonly #queries = new Map<string, RunningQuery>();
  readonly #queriesById = new Map<number, RunningQuery>();
  #acceptsAnyStream = false;
  #nextId = 0;
  #set: QuerySet;

  /** Queries' results as streams: nobody can send to them, and they store nothing. */
  readonly #resultStreams = new Map<string, RunningStream>();
  readonly alerts: RunningAlerts;
  /** Where a set says nothing of alerts. */
  readonly #alertsOfStart: readonly SetAlert[];
  #tables: readonly TableData[] = [];

  constructor(config: Config) {
    this.alerts = new RunningAlerts(config.alerts);
    this.#alertsOfStart = [...config.alerts.values()];
    this.#tables = [...(config.tables?.values() ?? [])].map(({ data }) => data);
    this.#limits = config.limits;
    this.#set = querySetOf(config, 0, { kind: "file" });
    this.replace(this.#set, config);
  }

  /** What is in force. */
  get set(): QuerySet {
    return this.#set;
  }

  /** The rows of reference tables that are in force. */
  get tables(): readonly TableData[] {
    return this.#tables;
  }

  /**
   * Puts a set in the place of the one before. Streams and unchanged queries go on; a stream that is declared no more stays
   * readable. `config`: what the set was made of; null while older sets are replayed, which nobody looks at. `tables`: rows of
   * its tables; left out: as before.
   */
  replace(set: QuerySet, config: Config | null, tables = this.#tables): void {
    this.#set = set;
    this.#tables = tables;
    if (config !== null) this.alerts.replace(config.alerts);
    this.#acceptsAnyStream = set.acceptsAnyStream;
    const declared = new Map(set.streams.map((stream) => [stream.name, stream]));
    for (const stream of declared.values()) {
      if (!this.#streams.has(stream.name)) this.#add(new RunningStream(stream, true));
    }
    for (const stream of this.#streams.values()) {
      const next = declared.get(stream.config.name);
      stream.isWritable = next !== undefined || set.acceptsAnyStream;
      stream.config = next ?? (set.acceptsAnyStream ? automaticStream(stream.config.name) : stream.config);
      stream.queries = [];
      stream.inForce = { queries: stream.queries, tables };
      stream.alerts = [];
      stream.planVersion++;
    }
    const before = new Map(this.#queries);
    this.#queries.clear();
    for (const stream of this.#resultStreams.values()) {
      stream.queries = [];
      stream.alerts = [];
    }
    this.#resultStreams.clear();
    for (const query of set.queries) {
      this.#adopt(before, config?.queries.get(query.plan.name) ?? configOf(query.plan), query);
    }
    if (set.acceptsAnyStream)
      for (const {
        config: { name },
      } of this.#streams.values())
        this.#addAutomatic(before, name);
    for (const query of before.values()) {
      query.isGone = true;
      this.#queriesById.delete(query.plan.id);
    }
    (set.alerts ?? this.#alertsOfStart).forEach((alert, id) => {
      const { kind, name } = alert.from;
      const stream = kind === "stream" ? this.#streams.get(name) : this.#queries.get(name)?.stream;
      stream?.alerts.push(alertPlan(alert, stream.config, id));
    });
  }

  /** The stream of that name; made when any name is accepted, or null when it is unknown or there are too many. */
  admit(name: string): { readonly stream: RunningStream; readonly isNew: boolean } | null {
    const known = this.#streams.get(name);
    if (known !== undefined) return known.isWritable ? { stream: known, isNew: false } : null;
    if (!this.#acceptsAnyStream || this.#streams.size >= this.#limits.maxStreams) return null;
    return { stream: this.#create(name), isNew: true };
  }

  /** A stream that the store holds: as configured, automatic, or only readable. */
  recall(name: string): RunningStream {
    const known = this.#streams.get(name);
    if (known !== undefined) return known;
    if (this.#acceptsAnyStream) return this.#create(name);
    const orphan = new RunningStream(automaticStream(name), false);
    this.#add(orphan);
    return orphan;
  }

  stream(name: string): RunningStream | undefined {
    return this.#streams.get(name);
  }

  /** A stream that has a watermark: of events or of results. */
  clocked(name: string): RunningStream | undefined {
    return this.#streams.get(name) ?? this.#resultStreams.get(name);
  }

  query(name: string): RunningQuery | undefined {
    return this.#queries.get(name);
  }

  queryById(id: number): RunningQuery | undefined {
    return this.#queriesById.get(id);
  }

  /** What a query's events are results of, down to a stream; null: it is from a stream. */
  below(query: RunningQuery): QueryBelow | null {
    const below = this.queries().find(({ asStream }) => asStream === query.stream);
    if (below === undefined) return null;
    const results = resultsSetup(below.plan);
    const next = this.below(below);
    const behindUs = below.plan.latenessUs + (next?.behindUs ?? 0);
    return { query: below, results, stream: next?.stream ?? below.plan.stream, behindUs };
  }

  streams(): IterableIterator<RunningStream> {
    return this.#streams.values();
  }

  queries(): readonly RunningQuery[] {
    return [...this.#queries.values()];
  }

  #create(name: string): RunningStream {
    const stream = new RunningStream(automaticStream(name), true);
    this.#add(stream);
    this.#addAutomatic(new Map(), name);
    return stream;
  }

  #add(stream: RunningStream): void {
    this.#streams.set(stream.config.name, stream);
  }

  #addAutomatic(before: Map<string, RunningQuery>, name: string): void {
    const config = automaticQuery(name);
    const { id: _id, ...plan } = queryPlan(config, automaticStream(name), 0, this.#limits.maxKeyClocks);
    this.#adopt(before, config, { plan, from: null, results: null, backfill: null });
  }

  /** The query as it was where its definition is the same; its windows go by its id. */
  #adopt(
    before: Map<string, RunningQuery>,
    config: QueryConfig,
    { plan, from, results, backfill }: SetQuery,
  ): void {
    const below = from === null ? null : this.#queries.get(from);
    const stream = below == null ? this.#streams.get(plan.stream) : (below.asStream ?? undefined);
    if (stream === undefined) return;
    let query = before.get(plan.name);
    // A query on a query begins anew with it.
    if (query?.stream === stream && signatureOf(query.plan) === signatureOf(plan)) {
      before.delete(plan.name);
      query.config = config;
    } else {
      const listeners = query?.listeners;
      query = new RunningQuery(config, stream, { id: this.#nextId++, ...plan });
      // Live feeds are of a name: they go on with what has it now.
      for (const listener of listeners ?? []) query.listeners.add(listener);
    }
    query.backfill = backfill;
    this.#queries.set(plan.name, query);
    this.#queriesById.set(query.plan.id, query);
    if (results === null) query.asStream = null;
    else {
      query.asStream ??= new RunningStream(results, false);
      this.#resultStreams.set(results.name, query.asStream);
    }
    if (backfill === null) stream.queries.push(query);
  }
}

/** As far as a plan tells; nobody looks at it but the log. */
function configOf({ name, stream, window, latenessUs }: Omit<QueryPlan, "id">): QueryConfig {
  return { name, from: stream, window, latenessUs, by: null, select: [] };
}
