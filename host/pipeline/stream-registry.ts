import type {
  AggregatedBlock,
  AlertPlan,
  QueryPlan,
  ResultRow,
  SchemaField,
  SkewedDevice,
  SourceCounts,
  StreamSetup,
  WindowStats,
} from "../../workers/messages.ts";
import { mergeSchemas } from "../../workers/schema.ts";
import { RunningAlerts } from "../alert/running-alerts.ts";
import { alertPlan } from "../config/alert.ts";
import type { Config, QueryConfig, StreamConfig } from "../config/config.ts";
import { automaticQuery, automaticStream, queryPlan, resultStream, streamPlan } from "../config/plans.ts";
import type { QueryState, StreamState } from "./engine.ts";
import { RateMeter } from "./rate.ts";

/** A query and what is known of it on the main thread. */
export class RunningQuery {
  readonly config: QueryConfig;
  readonly plan: QueryPlan;
  readonly stream: RunningStream;
  stats: WindowStats | null = null;
  results = 0;
  revisions = 0;
  readonly listeners = new Set<(rows: readonly ResultRow[]) => void>();
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
    for (const listener of this.listeners) listener(rows);
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

/** A stream and what is known of it on the main thread. */
export class RunningStream {
  readonly config: StreamConfig;
  readonly queries: RunningQuery[] = [];
  /** Over its events and over the results of its queries. */
  readonly alerts: AlertPlan[] = [];
  readonly counts: StreamCounts = {
    accepted: 0,
    deadLettered: 0,
    late: 0,
    clockSkewed: 0,
    blocks: 0,
    storedBytes: 0,
  };
  readonly rate = new RateMeter();
  /** False for a stream that is stored but no longer configured: readable, not writable. */
  readonly isWritable: boolean;
  schema: readonly SchemaField[] = [];
  /** Grows with every change of the schema; a lane that knows an older one is set up anew. */
  schemaVersion = 0;
  watermarkUs: number | null = null;
  maxEventUs: number | null = null;
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
  learn(fields: readonly SchemaField[]): boolean {
    const merged = mergeSchemas(this.schema, fields);
    if (merged === this.schema) return false;
    this.schema = merged;
    this.schemaVersion++;
    return true;
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
      duplicates: this.duplicates,
      rate: this.rate.perSecond(nowMs),
    };
  }
}

/** Every stream and query, declared or come into being. */
export class StreamRegistry {
  readonly #config: Config;
  readonly #streams = new Map<string, RunningStream>();
  readonly #queries = new Map<string, RunningQuery>();
  readonly #queriesById: RunningQuery[] = [];
  /** Queries' results as streams: nobody can send to them, and they store nothing. */
  readonly #resultStreams = new Map<string, RunningStream>();
  readonly alerts: RunningAlerts;

  constructor(config: Config) {
    this.#config = config;
    this.alerts = new RunningAlerts(config.alerts);
    for (const stream of config.streams.values()) this.#add(new RunningStream(stream, true));
    for (const query of config.queries.values()) this.#addQuery(query);
    [...config.alerts.values()].forEach((alert, id) => {
      const { kind, name } = alert.from;
      const stream = kind === "stream" ? this.#streams.get(name) : this.#queries.get(name)?.stream;
      stream?.alerts.push(alertPlan(alert, stream.config, id));
    });
  }

  /** The stream of that name; made when any name is accepted, or null when it is unknown or there are too many. */
  admit(name: string): { readonly stream: RunningStream; readonly isNew: boolean } | null {
    const known = this.#streams.get(name);
    if (known !== undefined) return known.isWritable ? { stream: known, isNew: false } : null;
    if (!this.#config.acceptsAnyStream || this.#streams.size >= this.#config.limits.maxStreams) return null;
    return { stream: this.#create(name), isNew: true };
  }

  /** A stream that the store holds: as configured, automatic, or only readable. */
  recall(name: string): RunningStream {
    const known = this.#streams.get(name);
    if (known !== undefined) return known;
    if (this.#config.acceptsAnyStream) return this.#create(name);
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
    return this.#queriesById[id];
  }

  streams(): IterableIterator<RunningStream> {
    return this.#streams.values();
  }

  queries(): readonly RunningQuery[] {
    return this.#queriesById;
  }

  #create(name: string): RunningStream {
    const stream = new RunningStream(automaticStream(name), true);
    this.#add(stream);
    this.#addQuery(automaticQuery(name));
    return stream;
  }

  #add(stream: RunningStream): void {
    this.#streams.set(stream.config.name, stream);
  }

  #addQuery(config: QueryConfig): void {
    if (this.#queries.has(config.name)) return;
    const stream = config.isOnQuery ? this.#resultsOf(config.from) : this.#streams.get(config.from);
    if (stream === undefined) return;
    const id = this.#queriesById.length;
    const plan = queryPlan(config, stream.config, id, this.#config.limits.maxKeyClocks);
    const query = new RunningQuery(config, stream, plan);
    this.#queriesById.push(query);
    this.#queries.set(config.name, query);
    stream.queries.push(query);
  }

  /** The results of a query as a stream; the query is added first when it stands further down. */
  #resultsOf(name: string): RunningStream | undefined {
    const config = this.#config.queries.get(name);
    if (config !== undefined) this.#addQuery(config);
    const query = this.#queries.get(name);
    if (query === undefined) return undefined;
    query.asStream ??= new RunningStream(resultStream(query.config, query.stream.config), false);
    this.#resultStreams.set(query.asStream.config.name, query.asStream);
    return query.asStream;
  }
}
