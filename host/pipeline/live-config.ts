import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type { BackfilledState, LogEntry, TableData } from "../../workers/messages.ts";
import type { Config } from "../config/config.ts";
import type { StorageClient } from "../store/storage-client.ts";
import type { ApplyLoop, CommittedEntry } from "./apply-loop.ts";
import { Backfills } from "./backfills.ts";
import type { CommitQueue } from "./commit-queue.ts";
import type { ReloadOutcome } from "./engine.ts";
import type { Lane } from "./lane.ts";
import type { LogEnd } from "./log-end.ts";
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
import type { RunningQuery, StreamRegistry } from "./stream-registry.ts";
import { windowSetups } from "./window-setups.ts";

export interface LiveConfigParts {
  readonly config: Config;
  readonly origin: ConfigOrigin;
  readonly storage: StorageClient;
  readonly commits: CommitQueue;
  readonly apply: ApplyLoop;
  readonly lanes: readonly Lane[];
  readonly registry: StreamRegistry;
  readonly logEnd: LogEnd;
  readonly log: Logger;
  /** Streams may be new, or their clocks be others. */
  readonly onStreams: () => void;
  /** A checkpoint is worth its while: a start need not do again what was done. */
  readonly onTakenOver: () => void;
}

/**
 * The configuration in force, and how it changes: each change is an entry of the log, in force for what is committed behind
 * it, now and in every replay.
 */
export class LiveConfig {
  readonly #parts: LiveConfigParts;
  readonly backfills: Backfills;
  #config: Config;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: LiveConfigParts) {
    this.#parts = parts;
    this.#config = parts.config;
    const { storage, commits, log, logEnd } = parts;
    this.backfills = new Backfills({
      dir: this.#config.dataDir,
      storage,
      commits,
      tables: () => this.#tables(),
      log,
      lastSeq: () => logEnd.seq,
      takeOver: (query, finish) => this.#exclusively(() => this.#takeOver(query, finish)),
    });
  }

  get current(): Config {
    return this.#config;
  }

  /** Before the log is replayed: tables, and the queries that were in force at the checkpoint. */
  async prepare(): Promise<void> {
    const { lanes, storage, registry } = this.#parts;
    for (const data of this.#tables()) await Promise.all(lanes.map((lane) => lane.loadTable(data)));
    const stored = storage.recovered.configs;
    if (stored !== null) registry.replace(this.#readSet(stored.atCheckpoint), null);
  }

  /** An entry of the log that is replayed. */
  replay(entry: LogEntry & { kind: "config" }): CommittedEntry {
    return this.#switchAt(entry.seq, this.#readSet(entry), null, async (query, backfill) => {
      await this.#parts.apply.settled();
      return this.backfills.complete(query, backfill, entry.seq);
    });
  }

  /** The log was replayed with the queries of its time; from here on those of the configuration hold. */
  async start(): Promise<void> {
    const { registry, storage, origin, log } = this.#parts;
    const before = registry.set;
    const wanted = querySetOf(this.#config, before.version, origin);
    if (storage.recovered.configs === null || !isSameSet(before, wanted)) {
      const outcome = await this.#reload(this.#config, origin);
      if (before.version > 0) log.info(outcome, "the configuration is another than before the start");
      return;
    }
    registry.replace({ ...before, origin }, this.#config);
    this.#startBackfills();
  }

  reload(config: Config, origin: ConfigOrigin): Promise<ReloadOutcome> {
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

  async #reload(config: Config, origin: ConfigOrigin): Promise<ReloadOutcome> {
    const before = this.#parts.registry.set;
    const next = querySetOf(config, before.version + 1, origin);
    const clockOf = (name: string): KnownClock =>
      this.#parts.registry.stream(name) ?? { watermarkUs: null, maxEventUs: null };
    const { set, change } = succeed(before, next, config, clockOf);
    const outcome = await this.#parts.commits.push(configOperation(set), 4_096);
    if (outcome.kind !== "committed") throw new MillraceError("E_CONFIG", "the change was not stored");
    // From here on without a pause: what is committed behind the change must find it in force.
    this.#config = config;
    this.#putInForce(outcome.seq, set);
    await this.#parts.apply.settled();
    // Not before: what the definitions before gave must be stored when a backfill deletes it.
    this.#startBackfills();
    return { version: set.version, ...change };
  }

  /** A query has the events that were stored before it, or nearly: from this place of the log on it is live. */
  async #takeOver(query: RunningQuery, finish: (seq: number) => Promise<BackfilledState>): Promise<void> {
    if (query.isGone) throw new MillraceError("E_BACKFILL_CANCELLED", "the query was changed or removed");
    const set = takenOver(this.#parts.registry.set, query.config.name);
    const outcome = await this.#parts.commits.push(configOperation(set), 4_096);
    if (outcome.kind !== "committed") throw new MillraceError("E_CONFIG", "the change was not stored");
    this.#putInForce(outcome.seq, set, () => finish(outcome.seq));
    await this.#parts.apply.settled();
    // So that a start need not read it all again.
    this.#parts.onTakenOver();
  }

  #putInForce(
    seq: number,
    set: QuerySet,
    finish: () => Promise<BackfilledState> = () =>
      Promise.reject(new MillraceError("E_BACKFILL", "not begun")),
  ): void {
    this.#parts.logEnd.seq = seq;
    for (const data of this.#tables()) {
      for (const lane of this.#parts.lanes) {
        lane
          .loadTable(data)
          .catch((cause: unknown) => this.#parts.log.error({ err: cause }, "a table was not loaded"));
      }
    }
    this.#parts.apply.push(this.#switchAt(seq, set, this.#config, finish));
    this.#parts.onStreams();
  }

  /** The queries of an entry of the log are in force for what comes behind it. `finish`: for a query that goes live here. */
  #switchAt(
    seq: number,
    set: QuerySet,
    config: Config | null,
    finish: (query: RunningQuery, backfill: Backfill) => Promise<BackfilledState>,
  ): CommittedEntry {
    const waiting = this.#parts.registry.queries().map((query) => ({ query, backfill: query.backfill }));
    this.#parts.registry.replace(placeIn(set, seq), config);
    const takingOver = waiting.flatMap(({ query, backfill }) =>
      backfill !== null && !query.isGone && query.backfill === null
        ? [finish(query, backfill).catch((cause: unknown) => this.#startEmpty(query, cause))]
        : [],
    );
    const { maxSources } = this.#config.limits;
    const setups = [...this.#parts.registry.streams()].flatMap((stream) => windowSetups(stream, maxSources));
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
    this.#parts.log.error(
      { err: cause, query: query.config.name },
      "a backfill failed; the query begins here",
    );
    return null;
  }

  #startBackfills(): void {
    for (const query of this.#parts.registry.queries()) {
      if (query.backfill !== null && query.progress === null) this.backfills.start(query, query.backfill);
    }
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #tables(): readonly TableData[] {
    return [...(this.#config.tables?.values() ?? [])].map(({ data }) => data);
  }
}
