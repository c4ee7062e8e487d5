import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type { ResultRow, StoredBlock, Tick } from "../../workers/messages.ts";
import type { Downsampled } from "../../workers/query/tasks.ts";
import type { MasterKeys } from "../../workers/seal/master-key.ts";
import type { AlertListener } from "../alert/running-alerts.ts";
import { WebhookSender } from "../alert/webhook-sender.ts";
import type { Config } from "../config/config.ts";
import { isStoreLost } from "../store/open-store.ts";
import type { StorageClient } from "../store/storage-client.ts";
import { ApplyLoop } from "./apply-loop.ts";
import { Checkpointer } from "./checkpointer.ts";
import type { Clock } from "./clock.ts";
import { CommitQueue } from "./commit-queue.ts";
import {
  COPIED_BYTES,
  type Engine,
  type EngineStatus,
  type IngestOutcome,
  type IngestRefusal,
  type IngestRequest,
  type ReloadOutcome,
} from "./engine.ts";
import { FullBuffer } from "./full-buffer.ts";
import { IdleTicker } from "./idle-ticker.ts";
import { Intake } from "./intake.ts";
import { JobCommit } from "./job-commit.ts";
import { Lane } from "./lane.ts";
import { LanePool } from "./lane-pool.ts";
import { LargestKeys } from "./largest-keys.ts";
import { LiveConfig } from "./live-config.ts";
import { LogEnd } from "./log-end.ts";
import type { ConfigOrigin } from "./query-set.ts";
import { queryTrees } from "./query-tree.ts";
import { recover } from "./recovery.ts";
import { Stages } from "./stages.ts";
import { StateGuard } from "./state-guard.ts";
import { type RunningStream, StreamRegistry } from "./stream-registry.ts";
import { windowSetups } from "./window-setups.ts";
import { WindowWorker } from "./window-worker.ts";

/** Partial aggregates that may wait for the window thread before the lanes pause. */
const MAX_PENDING_PARTIAL_BYTES = 64 * 1024 * 1024;
/** From here on senders are said to have patience. */
const LONG_COMMIT_MS = 50;
/** Requests under way at shutdown are waited for; a thread that hangs must not keep the node from stopping. */
const DRAIN_LIMIT_MS = 30_000;
/** While there is always something to apply, a merge of blocks waits so long for its turn. */
const MERGE_WAIT_MS = 50;
/** A checkpoint is skipped when nothing was applied since the last. */
const NOTHING_APPLIED = -1;

export interface EngineParts {
  readonly config: Config;
  /** Default: the node's file. */
  readonly origin?: ConfigOrigin;
  readonly storage: StorageClient;
  /** Of an encrypted store, as they are now. */
  readonly masters?: () => MasterKeys | null;
  readonly clock: Clock;
  readonly log: Logger;
  /** Left out: nobody else counts. */
  readonly stages?: Stages;
  /** Hears once when the pipeline cannot go on. Nothing is taken any more, and a restart recovers. */
  readonly onFatal: (cause: unknown) => void;
}

/**
 * Of a long `groupCommit`, half is spent on waiting for requests to parse into one block, and half on blocks to commit
 * together: small blocks fill pages badly, and compress less.
 */
function gatherMs({ groupCommitMs }: Config): number {
  return groupCommitMs >= LONG_COMMIT_MS ? groupCommitMs / 2 : 0;
}

/** Opens the store, recovers the windows, and starts the pipeline. Resolves when events can be taken. */
export async function startEngine(parts: EngineParts): Promise<Engine> {
  const pipeline = new Pipeline(parts);
  try {
    await pipeline.open();
    return pipeline;
  } catch (cause) {
    await pipeline.abandon();
    throw cause;
  }
}

class Pipeline implements Engine {
  readonly #config: LiveConfig;
  readonly #jobs: JobCommit;
  readonly #logEnd = new LogEnd();
  readonly #storage: StorageClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #stages: Stages;
  readonly #registry: StreamRegistry;
  readonly #lanes: LanePool;
  readonly #windows = new WindowWorker();
  readonly #commits: CommitQueue;
  readonly #checkpointer: Checkpointer;
  readonly #apply: ApplyLoop;
  readonly #intake: Intake;
  readonly #stateGuard: StateGuard;
  readonly #fullBuffer: FullBuffer;
  readonly #largestKeys: LargestKeys;
  readonly #ticker: IdleTicker;
  readonly #webhooks: WebhookSender;
  readonly #startedAtMs = Date.now();
  #checkpointTimer: NodeJS.Timeout | null = null;
  #checkpointSeq = NOTHING_APPLIED;
  #checkpointAtMs: number | null = null;
  #sizes = { databaseBytes: 0, walBytes: 0 };
  #isReady = false;
  #hasFailed = false;

  constructor({
    config,
    origin = { kind: "file" },
    storage,
    masters = () => null,
    clock,
    log,
    stages = new Stages(),
    onFatal,
  }: EngineParts) {
    this.#stages = stages;
    this.#storage = storage;
    this.#clock = clock;
    this.#log = log;
    this.#registry = new StreamRegistry(config);
    // Only a hub is held against this node's books.
    const isSummed = (config.sync?.url ?? null) !== null;
    this.#lanes = new LanePool({
      least: config.ingestWorkers,
      most: config.maxIngestWorkers,
      make: () => new Lane({ isSummed }),
      clock,
      log,
    });
    this.#commits = new CommitQueue(storage, config.groupCommitMs - gatherMs(config), (cause) => {
      if (isStoreLost(cause)) {
        this.#hasFailed = true;
        log.fatal(
          { err: cause },
          "the store is lost to this process; a restart repairs it and replays the log",
        );
        return onFatal(cause);
      }
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
      this.#lanes.running,
      this.#checkpointer,
      stages,
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
    this.#fullBuffer = new FullBuffer(clock);
    this.#jobs = new JobCommit({
      commits: this.#commits,
      apply: this.#apply,
      lanes: this.#lanes.running,
      stateGuard: this.#stateGuard,
      clock,
      logEnd: this.#logEnd,
      fullBuffer: this.#fullBuffer,
      maxBodyBytes: config.limits.maxBodyBytes,
      stages,
    });
    this.#largestKeys = new LargestKeys({
      windows: this.#windows,
      use: () => {
        const { bytes, maxBytes, largest } = this.#stateGuard.use();
        const query = this.#registry.query(largest[0]?.query ?? "");
        return {
          share: bytes / maxBytes,
          query: query === undefined ? null : { id: query.plan.id, name: query.config.name },
        };
      },
      onRefusal: (detail) => log.warn({ detail }, "events are refused: window state is over limits.maxState"),
      onFailure: (cause) => log.warn({ err: cause }, "the largest keys of window state are not known"),
    });
    this.#stateGuard.namedKeys = () => this.#largestKeys.named;
    this.#stateGuard.onRefusal = (detail) => this.#largestKeys.refused(detail);
    this.#intake = new Intake(
      this.#lanes.running,
      config.limits,
      clock,
      {
        stages,
        deliver: (job) => this.#jobs.commit(job),
        mayDispatch: () => this.#apply.pendingBytes < MAX_PENDING_PARTIAL_BYTES,
        explainLost: (stream, cause) => this.#explainLost(stream, cause),
        onTask: () => this.#lanes.note(),
      },
      gatherMs(config),
    );
    const dispatch = (): void => this.#intake.dispatch();
    this.#lanes.waiting = () => this.#intake.waitingTasks;
    this.#lanes.onFree = dispatch;
    this.#apply.onDrained = dispatch;
    this.#config = new LiveConfig({
      config,
      origin,
      masters,
      storage,
      commits: this.#commits,
      apply: this.#apply,
      lanes: this.#lanes.running,
      registry: this.#registry,
      logEnd: this.#logEnd,
      watermarkUs: async (name) =>
        (await this.#windows.describe()).watermarks.find(({ stream }) => stream === name)?.watermarkUs ??
        null,
      log,
      onStreams: () => this.#watchStreams(),
      onTakenOver: () => void this.#checkpoint(),
    });
    this.#ticker = new IdleTicker({
      windows: this.#windows,
      nowUs: () => clock.nowUs(),
      tick: (stream, atUs) => this.#tick({ stream, atUs, isResume: false }),
      onFailure: (cause) => log.warn({ err: cause }, "idle sources were not told; tried again soon"),
    });
  }

  async open(): Promise<void> {
    await this.#config.prepare();
    const recovered = await recover({
      storage: this.#storage,
      registry: this.#registry,
      windows: this.#windows,
      lanes: this.#lanes.running,
      apply: this.#apply,
      configure: (stream) => this.#configure(stream),
      switchAt: (entry) => this.#config.replay(entry),
      log: this.#log,
    });
    this.#logEnd.seq = recovered.lastSeq;
    this.#checkpointSeq = recovered.checkpointSeq;
    await this.#config.start();
    await this.#resumeSources();
    // Not before: what a tick follows in the log must have been applied.
    for (const { config } of this.#registry.streams()) this.#ticker.watch(config);
    this.#largestKeys.start();
    this.#checkpointTimer = setInterval(() => {
      if (!this.#checkpointer.isBusy) void this.#checkpoint();
    }, this.#config.current.checkpointEveryMs);
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
    return this.#fullBuffer.refusal ?? this.#intake.admits(bytes);
  }

  ingest(request: IngestRequest): Promise<IngestOutcome> {
    return new Promise((settle, fail) => this.offer(request, settle, fail));
  }

  offer(
    request: IngestRequest,
    settle: (outcome: IngestOutcome) => void,
    fail: (cause: unknown) => void,
  ): void {
    const admitted = this.#registry.admit(request.stream);
    if (admitted === null) settle({ kind: "unknown-stream", detail: this.#explainUnknown(request.stream) });
    else if (!admitted.isNew) this.#intake.push(admitted.stream, request, settle);
    else {
      const { stream } = admitted;
      const { body } = request;
      const kept = body.byteLength <= COPIED_BYTES ? { ...request, body: new Uint8Array(body) } : request;
      this.#configure(stream)
        .then(() => this.#intake.push(stream, kept, settle))
        .catch(fail);
    }
  }

  /** What the sender of a batch is told that could not be stored. */
  #explainLost(stream: string, cause: unknown): IngestOutcome {
    this.#log.error({ err: cause, stream }, "a batch was not made durable");
    if (cause instanceof MillraceError && cause.code === "E_DISK_FULL")
      return this.#fullBuffer.refuse(cause.message);
    return {
      kind: "overloaded",
      status: 503,
      retryAfterSeconds: 2,
      detail: `the batch was not stored: ${cause instanceof Error ? cause.message : String(cause)}`,
    };
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
      this.#logEnd.seq = outcome.seq;
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
    this.#logEnd.seq = outcome.seq;
    const entry = { kind: "tick", seq: outcome.seq, ...tick } as const;
    this.#apply.push({ entry, block: null, arrivalUs: tick.atUs });
  }

  config(): Config {
    return this.#config.current;
  }

  knowsQuery(name: string): boolean {
    return this.#registry.query(name) !== undefined || this.#registry.set.retired.includes(name);
  }

  async reload(config: Config, origin?: ConfigOrigin): Promise<ReloadOutcome> {
    return this.#config.reload(config, origin);
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
      ingestWorkers: this.#lanes.running.length,
      addedIngestWorkers: this.#lanes.added,
      lastSeq: this.#logEnd.seq,
      checkpointSeq: Math.max(0, this.#checkpointSeq),
      checkpoint: this.#checkpointer.figures,
      checkpointAgeMs: this.#checkpointAtMs === null ? null : Date.now() - this.#checkpointAtMs,
      ...this.#sizes,
      commits: this.#commits.commits,
      rejectedRequests: this.#intake.rejected,
      configVersion: this.#registry.set.version,
      backfills: this.#config.backfills.active,
      state: this.#stateGuard.use(),
      ...this.#stageTotals(),
    };
  }

  /** The storage thread's own are counted where its calls are made. */
  #stageTotals(): Pick<EngineStatus, "stageNs" | "stageEvents"> {
    const { ns, events } = this.#stages.read();
    const { commitMs, emitMs } = this.#storage;
    const stageNs = { ...ns, commit: commitMs * 1e6, emit: ns.emit + emitMs * 1e6 };
    return { stageNs, stageEvents: events };
  }

  queryTrees(name: string): ReturnType<Engine["queryTrees"]> {
    const stream = this.#registry.stream(name);
    return stream === undefined ? [] : queryTrees(stream);
  }

  tables(): ReturnType<Engine["tables"]> {
    return this.#registry.tables;
  }

  closings(asked: Parameters<Engine["closings"]>[0]): ReturnType<Engine["closings"]> {
    return this.#windows.closings(asked);
  }

  async mergeBlocks(stream: string, blocks: readonly StoredBlock[]): Promise<StoredBlock> {
    const keyFields = this.#registry.stream(stream)?.config.key.fields ?? [];
    await this.#apply.idle(MERGE_WAIT_MS);
    return this.#windows.merge({ blocks, stream, keyFields });
  }

  async downsampleBlocks(
    stream: string,
    blocks: readonly StoredBlock[],
    resolutionUs: number,
  ): Promise<Downsampled> {
    const keyFields = this.#registry.stream(stream)?.config.key.fields ?? [];
    return this.#windows.downsample(blocks, { stream, keyFields, resolutionUs }, () =>
      this.#apply.idle(MERGE_WAIT_MS),
    );
  }

  async correct(stream: string, rows: readonly ResultRow[], lateIds: readonly number[]): Promise<void> {
    const atUs = this.#clock.nowUs();
    const bytes = rows.reduce((sum, { key, values }) => sum + key.length + values.length, 0);
    await this.#commits.push({ kind: "correction", stream, rows, lateIds, atUs }, bytes);
    const byQuery = [...Map.groupBy(rows, ({ query }) => query)];
    for (const [name, own] of byQuery) this.#registry.query(name)?.publish(own);
    const counts = byQuery.map(([query, own]) => ({ query, count: own.length }));
    this.#registry.alerts.remember(await this.#windows.ignoreRevisions(counts));
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

  forgetBlocks(removed: Parameters<Engine["forgetBlocks"]>[0]): void {
    for (const { stream, ...counts } of removed) {
      const known = this.#registry.stream(stream);
      if (known !== undefined) known.removed = counts;
    }
  }

  checkpoint(): Promise<void> {
    return this.#checkpoint();
  }

  settle(): Promise<void> {
    return this.#apply.settled();
  }

  async close(): Promise<void> {
    this.#intake.isClosed = true;
    if (this.#checkpointTimer !== null) clearInterval(this.#checkpointTimer);
    await this.#drain(() => this.#intake.heldRequests === 0);
    if (this.#intake.heldRequests > 0) {
      const message = `${this.#intake.heldRequests} requests were not answered within ${DRAIN_LIMIT_MS / 1_000} s; their senders will send again`;
      throw new MillraceError("E_DRAIN", message);
    }
    await this.#ticker.close();
    await this.#largestKeys.close();
    await this.#webhooks.close();
    await this.#config.backfills.close();
    await this.#apply.settled();
    await this.#checkpoint();
    // Pieces of checkpoints that nobody needs any more may still be on their way out: what is left of them goes later.
    await this.#drain(() => this.#commits.isIdle);
    await Promise.all([this.#lanes.close(), this.#windows.close()]);
    await this.#storage.close();
  }

  async #drain(isEmpty: () => boolean): Promise<void> {
    const giveUpMs = this.#clock.monotonicMs() + DRAIN_LIMIT_MS;
    while (!isEmpty() && this.#clock.monotonicMs() < giveUpMs) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Ends the threads of a pipeline that did not start, and lets the data directory go. */
  async abandon(): Promise<void> {
    if (this.#checkpointTimer !== null) clearInterval(this.#checkpointTimer);
    await Promise.all([this.#lanes.close(), this.#windows.close()]);
    await this.#storage.close();
  }

  #watchStreams(): void {
    if (!this.#isReady) return;
    for (const { config } of this.#registry.streams()) this.#ticker.watch(config);
  }

  #configure(stream: RunningStream): Promise<void> {
    if (this.#isReady) this.#ticker.watch(stream.config);
    return this.#windows.configure(windowSetups(stream, this.#config.current.limits.maxSources));
  }

  #explainUnknown(name: string): string {
    const { acceptsAnyStream, limits } = this.#config.current;
    if (!acceptsAnyStream)
      return `stream ${name} is not declared; add it under streams: in the configuration`;
    return `there are already limits.maxStreams (${limits.maxStreams}) streams; declare streams or raise the limit`;
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
