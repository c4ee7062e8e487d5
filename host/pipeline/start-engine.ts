import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type {
  BackfilledState,
  CommitOutcome,
  IngestResult,
  ResultRow,
  ResultsSetup,
  Tick,
  WindowSetup,
} from "../../workers/messages.ts";
import type { AlertListener } from "../alert/running-alerts.ts";
import { WebhookSender } from "../alert/webhook-sender.ts";
import type { Config } from "../config/config.ts";
import { resultsSetup } from "../config/plans.ts";
import type { StorageClient } from "../store/storage-client.ts";
import { ApplyLoop, type CommittedEntry } from "./apply-loop.ts";
import { Backfills } from "./backfills.ts";
import { Checkpointer } from "./checkpointer.ts";
import type { Clock } from "./clock.ts";
import { CommitQueue } from "./commit-queue.ts";
import type {
  Engine,
  EngineStatus,
  IngestOutcome,
  IngestRefusal,
  IngestRequest,
  ReloadOutcome,
} from "./engine.ts";
import { IdleTicker } from "./idle-ticker.ts";
import { Intake, type ParsedJob } from "./intake.ts";
import { Lane } from "./lane.ts";
import {
  type Backfill,
  type ConfigOrigin,
  configOperation,
  isSameSet,
  type KnownClock,
  placeIn,
  type QuerySet,
  querySetOf,
  readQuerySet,
  succeed,
  takenOver,
} from "./query-set.ts";
import { recover } from "./recovery.ts";
import { StateGuard } from "./state-guard.ts";
import { type RunningQuery, type RunningStream, StreamRegistry } from "./stream-registry.ts";
import { WindowWorker } from "./window-worker.ts";

/** Partial aggregates that may wait for the window thread before the lanes pause. */
const MAX_PENDING_PARTIAL_BYTES = 64 * 1024 * 1024;
const ERRORS_IN_ANSWER = 10;
/** Requests under way at shutdown are waited for; a thread that hangs must not keep the node from stopping. */
const DRAIN_LIMIT_MS = 30_000;
/** A checkpoint is skipped when nothing was applied since the last. */
const NOTHING_APPLIED = -1;

export interface EngineParts {
  readonly config: Config;
  /** Default: the node's file. */
  readonly origin?: ConfigOrigin;
  readonly storage: StorageClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Hears once when the pipeline cannot go on. Nothing is taken any more, and a restart recovers. */
  readonly onFatal: (cause: unknown) => void;
}

/** Opens the store, recovers the windows, and starts the pipeline. Resolves when events can be taken. */
export async function startEngine(parts: EngineParts): Promise<Engine> {
  const pipeline = new Pipeline(parts);
  await pipeline.open();
  return pipeline;
}

class Pipeline implements Engine {
  #config: Config;
  readonly #origin: ConfigOrigin;
  readonly #backfills: Backfills;
  #configTurn: Promise<unknown> = Promise.resolve();
  readonly #storage: StorageClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #registry: StreamRegistry;
  readonly #lanes: readonly Lane[];
  readonly #windows = new WindowWorker();
  readonly #commits: CommitQueue;
  readonly #checkpointer: Checkpointer;
  readonly #apply: ApplyLoop;
  readonly #intake: Intake;
  readonly #stateGuard: StateGuard;
  readonly #ticker: IdleTicker;
  readonly #webhooks: WebhookSender;
  readonly #startedAtMs = Date.now();
  readonly #stageNs = { parse: 0, aggregate: 0, encode: 0, compress: 0 };
  #checkpointTimer: NodeJS.Timeout | null = null;
  #checkpointSeq = NOTHING_APPLIED;
  #checkpointAtMs: number | null = null;
  #sizes = { databaseBytes: 0, walBytes: 0 };
  #isReady = false;
  #hasFailed = false;
  #lastSeq = 0;

  constructor({ config, origin = { kind: "file" }, storage, clock, log, onFatal }: EngineParts) {
    this.#config = config;
    this.#origin = origin;
    this.#storage = storage;
    this.#clock = clock;
    this.#log = log;
    this.#registry = new StreamRegistry(config);
    this.#lanes = Array.from({ length: config.ingestWorkers }, () => new Lane());
    this.#commits = new CommitQueue(storage, config.groupCommitMs, (cause) => {
      log.error(
        { err: cause },
        "a commit failed; its senders are told to send again, results are tried again",
      );
    });
    this.#checkpointer = new Checkpointer(this.#windows, this.#commits, storage.recovered.lastSegment);
    this.#apply = new ApplyLoop(
      this.#windows,
      this.#commits,
      this.#registry,
      this.#lanes,
      this.#checkpointer,
      (cause) => {
        this.#hasFailed = true;
        log.fatal({ err: cause }, "windows could not be brought up to date; a restart replays the log");
        onFatal(cause);
      },
    );
    this.#webhooks = new WebhookSender({
      due: (task) => storage.dueWebhooks(task),
      settle: (id, outcome) => this.#commits.push({ kind: "webhook-outcome", id, outcome }, 128),
      clock,
      log,
      perSecond: config.limits.maxWebhooksPerSecond,
      maxWaiting: config.limits.maxQueuedWebhooks,
    });
    this.#stateGuard = new StateGuard(
      this.#registry,
      config.limits.maxStateBytes,
      () => this.#apply.pendingBytes,
    );
    this.#intake = new Intake(
      this.#lanes,
      config.limits,
      clock,
      (job) => this.#commit(job),
      () => this.#apply.pendingBytes < MAX_PENDING_PARTIAL_BYTES,
    );
    const dispatch = (): void => this.#intake.dispatch();
    for (const lane of this.#lanes) lane.onFree = dispatch;
    this.#apply.onDrained = dispatch;
    this.#backfills = new Backfills({
      dir: config.dataDir,
      storage,
      commits: this.#commits,
      tables: () => [...(this.#config.tables?.values() ?? [])].map(({ data }) => data),
      log,
      lastSeq: () => this.#lastSeq,
      takeOver: (query, finish) => this.#exclusively(() => this.#takeOver(query, finish)),
    });
    this.#ticker = new IdleTicker({
      windows: this.#windows,
      nowUs: () => clock.nowUs(),
      tick: (stream, atUs) => this.#tick({ stream, atUs, isResume: false }),
      onFailure: (cause) => log.warn({ err: cause }, "idle sources were not told; tried again soon"),
    });
  }

  async open(): Promise<void> {
    for (const { data } of this.#config.tables?.values() ?? [])
      await Promise.all(this.#lanes.map((lane) => lane.loadTable(data)));
    const stored = this.#storage.recovered.configs;
    if (stored !== null) this.#registry.replace(this.#readSet(stored.atCheckpoint), null);
    const recovered = await recover({
      storage: this.#storage,
      registry: this.#registry,
      windows: this.#windows,
      lanes: this.#lanes,
      apply: this.#apply,
      configure: (stream) => this.#configure(stream),
      switchAt: (entry) =>
        this.#switchAt(entry.seq, this.#readSet(entry), null, async (query, backfill) => {
          await this.#apply.settled();
          return this.#backfills.complete(query, backfill, entry.seq);
        }),
      log: this.#log,
    });
    this.#lastSeq = recovered.lastSeq;
    this.#checkpointSeq = recovered.checkpointSeq;
    await this.#startConfig();
    await this.#resumeSources();
    // Not before: what a tick follows in the log must have been applied.
    for (const { config } of this.#registry.streams()) this.#ticker.watch(config);
    this.#checkpointTimer = setInterval(() => {
      if (!this.#checkpointer.isBusy) void this.#checkpoint();
    }, this.#config.checkpointEveryMs);
    await this.#refreshSizes();
    await this.#commits.push({ kind: "alerts-kept", definitions: this.#registry.alerts.definitions }, 128);
    this.#registry.alerts.subscribe(() => this.#webhooks.wake());
    this.#webhooks.wake();
    this.#isReady = true;
  }

  admits(bytes: number): IngestRefusal | null {
    if (this.#hasFailed) {
      const detail = "the windows could not be brought up to date; the node must be started again";
      return { kind: "overloaded", status: 503, retryAfterSeconds: 5, detail };
    }
    if (!this.#isReady || this.#commits.isStalled) {
      const detail = this.#isReady ? "the last commit failed; see the log" : "the node is still recovering";
      return { kind: "overloaded", status: 503, retryAfterSeconds: 2, detail };
    }
    return this.#intake.admits(bytes);
  }

  async ingest(request: IngestRequest): Promise<IngestOutcome> {
    const admitted = this.#registry.admit(request.stream);
    if (admitted === null) return { kind: "unknown-stream", detail: this.#explainUnknown(request.stream) };
    if (admitted.isNew) await this.#configure(admitted.stream);
    try {
      return await this.#intake.push(admitted.stream, request);
    } catch (cause) {
      this.#log.error({ err: cause, stream: request.stream }, "a batch was not made durable");
      return {
        kind: "overloaded",
        status: 503,
        retryAfterSeconds: 2,
        detail: `the batch was not stored: ${cause instanceof Error ? cause.message : String(cause)}`,
      };
    }
  }

  async advanceWatermark(
    name: string,
    time: number | "end",
  ): Promise<{ readonly watermarkUs: number | null } | null> {
    const admitted = this.#registry.admit(name);
    if (admitted === null) return null;
    if (admitted.isNew) await this.#configure(admitted.stream);
    const outcome = await this.#commits.push({ kind: "watermark", stream: name, timeUs: time }, 32);
    if (outcome.kind === "committed") {
      const entry = { kind: "watermark", seq: outcome.seq, stream: name, timeUs: time } as const;
      this.#lastSeq = outcome.seq;
      this.#apply.push({ entry, block: null, arrivalUs: this.#clock.nowUs() });
    }
    await this.#apply.settled();
    return { watermarkUs: admitted.stream.watermarkUs };
  }

  /** Nobody could reach the node while it was away: active sources get their time anew. */
  async #resumeSources(): Promise<void> {
    const waiting = [...this.#registry.streams()].filter(
      ({ config, sources }) => config.watermark.per === "source" && sources.active > 0,
    );
    const atUs = this.#clock.nowUs();
    try {
      await Promise.all(
        waiting.map(({ config }) => this.#tick({ stream: config.name, atUs, isResume: true })),
      );
    } catch (cause) {
      // A full disk, say, must not keep the node from serving what it has.
      this.#log.warn({ err: cause }, "sources that were active may become idle before their time");
    }
    await this.#apply.settled();
  }

  async #tick(tick: Tick): Promise<void> {
    const outcome = await this.#commits.push({ kind: "tick", ...tick }, 32);
    if (outcome.kind !== "committed") return;
    this.#lastSeq = outcome.seq;
    const entry = { kind: "tick", seq: outcome.seq, ...tick } as const;
    this.#apply.push({ entry, block: null, arrivalUs: tick.atUs });
  }

  config(): Config {
    return this.#config;
  }

  knowsQuery(name: string): boolean {
    return this.#registry.query(name) !== undefined || this.#registry.set.retired.includes(name);
  }

  async reload(config: Config, origin: ConfigOrigin): Promise<ReloadOutcome> {
    return this.#exclusively(() => this.#reload(config, origin));
  }

  /** A set of the log, without queries whose tables are not there any more: no thread can run them. */
  #readSet(entry: { readonly seq: number; readonly body: string }): QuerySet {
    const set = readQuerySet(entry);
    const isKnown = (table: string): boolean => this.#config.tables?.has(table) ?? false;
    return {
      ...set,
      queries: set.queries.filter(({ plan }) => plan.expressions?.tables.every(isKnown) ?? true),
    };
  }

  /** The log was replayed with the queries of its time; from here on those of the configuration hold. */
  async #startConfig(): Promise<void> {
    const before = this.#registry.set;
    const wanted = querySetOf(this.#config, before.version, this.#origin);
    if (this.#storage.recovered.configs === null || !isSameSet(before, wanted)) {
      const outcome = await this.#reload(this.#config, this.#origin);
      if (before.version > 0) this.#log.info(outcome, "the configuration is another than before the start");
      return;
    }
    this.#registry.replace({ ...before, origin: this.#origin }, this.#config);
    this.#startBackfills();
  }

  async #reload(config: Config, origin: ConfigOrigin): Promise<ReloadOutcome> {
    const before = this.#registry.set;
    const next = querySetOf(config, before.version + 1, origin);
    const clockOf = (name: string): KnownClock =>
      this.#registry.stream(name) ?? { watermarkUs: null, maxEventUs: null };
    const { set, change } = succeed(before, next, config, clockOf);
    const outcome = await this.#commits.push(configOperation(set), 4_096);
    if (outcome.kind !== "committed") throw new MillraceError("E_CONFIG", "the change was not stored");
    // From here on without a pause: what is committed behind the change must find it in force.
    this.#config = config;
    this.#putInForce(outcome.seq, set);
    await this.#apply.settled();
    // Not before: what the definitions before gave must be stored when a backfill deletes it.
    this.#startBackfills();
    return { version: set.version, ...change };
  }

  /** A query has the events that were stored before it, or nearly: from this place of the log on it is live. */
  async #takeOver(query: RunningQuery, finish: (seq: number) => Promise<BackfilledState>): Promise<void> {
    if (query.isGone) throw new MillraceError("E_BACKFILL_CANCELLED", "the query was changed or removed");
    const set = takenOver(this.#registry.set, query.config.name);
    const outcome = await this.#commits.push(configOperation(set), 4_096);
    if (outcome.kind !== "committed") throw new MillraceError("E_CONFIG", "the change was not stored");
    this.#putInForce(outcome.seq, set, () => finish(outcome.seq));
    await this.#apply.settled();
    // So that a start need not read it all again.
    void this.#checkpoint();
  }

  #putInForce(
    seq: number,
    set: QuerySet,
    finish: () => Promise<BackfilledState> = () =>
      Promise.reject(new MillraceError("E_BACKFILL", "not begun")),
  ): void {
    this.#lastSeq = seq;
    for (const { data } of this.#config.tables?.values() ?? []) {
      for (const lane of this.#lanes) {
        lane
          .loadTable(data)
          .catch((cause: unknown) => this.#log.error({ err: cause }, "a table was not loaded"));
      }
    }
    this.#apply.push(this.#switchAt(seq, set, this.#config, finish));
    for (const { config } of this.#registry.streams()) if (this.#isReady) this.#ticker.watch(config);
  }

  /** The queries of an entry of the log are in force for what comes behind it. `finish`: for a query that goes live here. */
  #switchAt(
    seq: number,
    set: QuerySet,
    config: Config | null,
    finish: (query: RunningQuery, backfill: Backfill) => Promise<BackfilledState>,
  ): CommittedEntry {
    const waiting = this.#registry.queries().map((query) => ({ query, backfill: query.backfill }));
    this.#registry.replace(placeIn(set, seq), config);
    const takingOver = waiting.flatMap(({ query, backfill }) =>
      backfill !== null && !query.isGone && query.backfill === null
        ? [finish(query, backfill).catch((cause: unknown) => this.#startEmpty(query, cause))]
        : [],
    );
    const setups = [...this.#registry.streams()].flatMap((stream) => this.#setupsOf(stream));
    const entry = { kind: "config", seq, setups, takeovers: [] } as const;
    if (takingOver.length === 0) return { entry, block: null, arrivalUs: 0 };
    const later = Promise.all(takingOver).then((states) => ({
      ...entry,
      takeovers: states.filter((state) => state !== null),
    }));
    return { entry, block: null, arrivalUs: 0, later };
  }

  /** A query whose stored events cannot be read at all gives results from here on: better than a node that stands. */
  #startEmpty(query: RunningQuery, cause: unknown): null {
    this.#log.error({ err: cause, query: query.config.name }, "a backfill failed; the query begins here");
    return null;
  }

  #startBackfills(): void {
    for (const query of this.#registry.queries()) {
      if (query.backfill !== null && query.progress === null) this.#backfills.start(query, query.backfill);
    }
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#configTurn.then(work);
    this.#configTurn = result.catch(() => undefined);
    return result;
  }

  streams(): ReturnType<Engine["streams"]> {
    const nowMs = this.#clock.monotonicMs();
    return [...this.#registry.streams()].map((stream) => stream.state(nowMs));
  }

  stream(name: string): ReturnType<Engine["stream"]> {
    return this.#registry.stream(name)?.state(this.#clock.monotonicMs()) ?? null;
  }

  clocks(name: string, limit: number): ReturnType<Engine["clocks"]> {
    return this.#windows.clocks(name, limit);
  }

  queries(): ReturnType<Engine["queries"]> {
    return this.#registry.queries().map((query) => query.state());
  }

  query(name: string): ReturnType<Engine["query"]> {
    return this.#registry.query(name)?.state() ?? null;
  }

  status(): EngineStatus {
    return {
      startedAtMs: this.#startedAtMs,
      isReady: this.#isReady && !this.#commits.isStalled && !this.#hasFailed,
      queuedBytes: this.#intake.heldBytes,
      queuedRequests: this.#intake.heldRequests,
      lastSeq: this.#lastSeq,
      checkpointSeq: Math.max(0, this.#checkpointSeq),
      checkpoint: this.#checkpointer.figures,
      checkpointAgeMs: this.#checkpointAtMs === null ? null : Date.now() - this.#checkpointAtMs,
      ...this.#sizes,
      commits: this.#commits.commits,
      rejectedRequests: this.#intake.rejected,
      configVersion: this.#registry.set.version,
      backfills: this.#backfills.active,
      state: this.#stateGuard.use(),
      stageNs: { ...this.#stageNs, commit: this.#commits.commitNs, merge: this.#apply.mergeNs },
    };
  }

  plans(name: string): ReturnType<Engine["plans"]> {
    return this.#registry.stream(name)?.queries.map(({ plan }) => plan) ?? [];
  }

  async correct(stream: string, rows: readonly ResultRow[], lateIds: readonly number[]): Promise<void> {
    const atUs = this.#clock.nowUs();
    const bytes = rows.reduce((sum, { key, values }) => sum + key.length + values.length, 0);
    await this.#commits.push({ kind: "correction", stream, rows, lateIds, atUs }, bytes);
    for (const [name, own] of Map.groupBy(rows, ({ query }) => query))
      this.#registry.query(name)?.publish(own);
  }

  subscribe(name: string, listener: Parameters<Engine["subscribe"]>[1]): () => void {
    const listeners = this.#registry.query(name)?.listeners;
    listeners?.add(listener);
    return () => listeners?.delete(listener);
  }

  alerts(): ReturnType<Engine["alerts"]> {
    const { alerts } = this.#registry;
    return { alerts: alerts.counts(), steps: alerts.steps, webhooks: this.#webhooks.status() };
  }

  subscribeAlerts(listener: AlertListener): () => void {
    return this.#registry.alerts.subscribe(listener);
  }

  settle(): Promise<void> {
    return this.#apply.settled();
  }

  async close(): Promise<void> {
    this.#intake.isClosed = true;
    if (this.#checkpointTimer !== null) clearInterval(this.#checkpointTimer);
    const giveUpMs = this.#clock.monotonicMs() + DRAIN_LIMIT_MS;
    while (this.#intake.heldRequests > 0 && this.#clock.monotonicMs() < giveUpMs) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    if (this.#intake.heldRequests > 0) {
      const message = `${this.#intake.heldRequests} requests were not answered within ${DRAIN_LIMIT_MS / 1_000} s; their senders will send again`;
      throw new MillraceError("E_DRAIN", message);
    }
    await this.#ticker.close();
    await this.#webhooks.close();
    await this.#backfills.close();
    await this.#apply.settled();
    await this.#checkpoint();
    await Promise.all([...this.#lanes.map((lane) => lane.close()), this.#windows.close()]);
    await this.#storage.close();
  }

  #configure(stream: RunningStream): Promise<void> {
    if (this.#isReady) this.#ticker.watch(stream.config);
    return this.#windows.configure(this.#setupsOf(stream));
  }

  /** The stream's, and then those of its queries' results, which other queries are from. */
  #setupsOf(stream: RunningStream, results?: ResultsSetup): WindowSetup[] {
    const { name, key, watermark } = stream.config;
    const { boundUs, idleUs, per } = watermark;
    const { maxSources } = this.#config.limits;
    const queries = stream.queries.map((query) => query.plan);
    const setup = {
      stream: name,
      boundUs,
      idleUs,
      per,
      key: key.fields,
      maxSources,
      queries,
      alerts: stream.alerts,
    };
    const above = stream.queries.flatMap(({ plan: below, asStream }) =>
      asStream === null ? [] : this.#setupsOf(asStream, resultsSetup(below)),
    );
    return [results === undefined ? setup : { ...setup, results }, ...above];
  }

  #explainUnknown(name: string): string {
    if (!this.#config.acceptsAnyStream)
      return `stream ${name} is not declared; add it under streams: in the configuration`;
    return `there are already limits.maxStreams (${this.#config.limits.maxStreams}) streams; declare streams or raise the limit`;
  }

  /** Makes a parsed job durable, answers its senders, and hands its partials on in the order of their seq. */
  async #commit(job: ParsedJob): Promise<void> {
    const { stream, requests, arrivalUs, result } = job;
    this.#countStages(result);
    const parsed = result.outcomes.filter((outcome) => outcome.kind === "parsed");
    const accepted = parsed.reduce((sum, outcome) => sum + outcome.accepted, 0);
    const deadLetters = parsed.flatMap((outcome) => outcome.errors);
    const bad = parsed.reduce((sum, outcome) => sum + outcome.bad, 0);
    const idempotencyKey = requests[0]?.request.idempotencyKey ?? null;
    const { block, skewed } = result;
    if (block === null && deadLetters.length === 0) return this.#answer(job, null);
    const refusal = block === null ? null : this.#stateGuard.refusal(stream, result, requests.length);
    if (refusal !== null) return this.#refuse(job, refusal);
    const operation = {
      kind: "block",
      stream: stream.config.name,
      arrivalUs,
      block,
      idempotencyKey: parsed.length === 0 ? null : idempotencyKey,
      accepted,
      deadLetters,
      unkeptDeadLetters: bad - deadLetters.length,
      skewed,
      timeSources: result.timeSources,
    } as const;
    const outcome = await this.#commits.push(operation, block?.data.length ?? 256);
    if (outcome.kind !== "committed") {
      if (outcome.kind === "cleared")
        throw new MillraceError("E_STORE", "a block was answered as something else");
      stream.duplicates++;
      job.lane.forget(stream);
      return this.#answer(job, outcome);
    }
    this.#lastSeq = outcome.seq;
    stream.count(accepted, bad, result, block?.data.length ?? 0, this.#clock.monotonicMs());
    if (block !== null) {
      stream.learn(block.schema);
      stream.learnTimes(result.timeSources);
      const { partials, maxEventUs, sources } = result;
      const entry = {
        kind: "block",
        seq: outcome.seq,
        stream: stream.config.name,
        arrivalUs,
        partials,
        maxEventUs,
        sources,
      } as const;
      if (job.planVersion === stream.planVersion) this.#apply.push({ entry, block, arrivalUs });
      else {
        // Parsed before a change of the queries and committed after it: its partials are those of the queries before.
        const lane = this.#lanes.reduce((least, next) => (next.busy < least.busy ? next : least));
        const later = lane
          .replay(stream, block, arrivalUs)
          .then((aggregated) => ({ ...entry, ...aggregated }));
        this.#apply.push({ entry, block, arrivalUs, later });
      }
    }
    this.#answer(job, null);
  }

  #answer(job: ParsedJob, duplicate: (CommitOutcome & { kind: "duplicate" }) | null): void {
    job.requests.forEach(({ settle }, index) => {
      const outcome = job.result.outcomes[index]!;
      if (duplicate !== null) {
        const { accepted, deadLettered } = duplicate;
        settle({ kind: "accepted", accepted, deadLettered, isDuplicate: true, errors: [] });
      } else if (outcome.kind === "parsed") {
        const { accepted, bad, errors } = outcome;
        const first = errors.slice(0, ERRORS_IN_ANSWER);
        settle({ kind: "accepted", accepted, deadLettered: bad, isDuplicate: false, errors: first });
      } else if (outcome.kind === "too-large") {
        settle({ kind: "too-large", limitBytes: this.#config.limits.maxBodyBytes });
      } else {
        settle(outcome);
      }
    });
  }

  #refuse(job: ParsedJob, refusal: IngestRefusal): void {
    job.requests.forEach(({ settle }) => {
      settle(refusal);
    });
  }

  #countStages({ stages }: IngestResult): void {
    this.#stageNs.parse += stages.parseNs;
    this.#stageNs.aggregate += stages.aggregateNs;
    this.#stageNs.encode += stages.encodeNs;
    this.#stageNs.compress += stages.compressNs;
  }

  async #checkpoint(): Promise<void> {
    try {
      if (this.#apply.durableSeq > this.#checkpointSeq) this.#checkpointSeq = await this.#apply.checkpoint();
      this.#checkpointAtMs = Date.now();
      await this.#refreshSizes();
    } catch (cause) {
      this.#log.error({ err: cause }, "no checkpoint was written; the next start replays more of the log");
    }
  }

  async #refreshSizes(): Promise<void> {
    this.#sizes = await this.#storage.sizes();
  }
}
