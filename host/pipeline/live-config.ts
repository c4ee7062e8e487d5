import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type { BackfilledState, LogEntry, TableData } from "../../workers/messages.ts";
import type { MasterKeys } from "../../workers/seal/master-key.ts";
import type { Config } from "../config/config.ts";
import { digestOf, emptyTable, fromStored, toStored } from "../config/table/stored.ts";
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

/** What a set takes in a commit, about. */
const SET_BYTES = 4_096;

export interface LiveConfigParts {
  readonly config: Config;
  readonly origin: ConfigOrigin;
  readonly storage: StorageClient;
  /** Of an encrypted store, as they are now. */
  readonly masters: () => MasterKeys | null;
  readonly commits: CommitQueue;
  readonly apply: ApplyLoop;
  readonly lanes: readonly Lane[];
  readonly registry: StreamRegistry;
  readonly logEnd: LogEnd;
  /** The stream's watermark as the window thread has it; null: none yet. */
  readonly watermarkUs: (stream: string) => Promise<number | null>;
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
  /** Tables of the newest entry of the log: their rows are in the store. */
  #stored: ReadonlySet<string>;
  /** What the lanes have of tables, by name. */
  readonly #loaded = new Map<string, TableData>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: LiveConfigParts) {
    this.#parts = parts;
    this.#config = parts.config;
    const { configs } = parts.storage.recovered;
    this.#stored = configs === null ? new Set() : digestsOf(readQuerySet(configs.newest));
    const { storage, commits, log } = parts;
    this.backfills = new Backfills({
      dir: this.#config.dataDir,
      masters: parts.masters,
      storage,
      commits,
      tables: () => parts.registry.tables,
      log,
      durableSeq: () => parts.apply.durableSeq,
      below: (query) => parts.registry.below(query),
      watermarkUs: parts.watermarkUs,
      settled: () => parts.apply.settled(),
      takeOver: (query, finish) => this.#exclusively(() => this.#takeOver(query, finish)),
    });
  }

  get current(): Config {
    return this.#config;
  }

  /** Before the log is replayed: the queries and tables that were in force at the checkpoint. */
  async prepare(): Promise<void> {
    const { storage, registry } = this.#parts;
    const stored = storage.recovered.configs;
    if (stored === null) {
      await Promise.all(this.#loadTables(registry.tables));
      return;
    }
    const set = this.#readSet(stored.atCheckpoint);
    const tables = await this.#tablesOf(set);
    await Promise.all(this.#loadTables(tables));
    registry.replace(set, null, tables);
  }

  /** An entry of the log that is replayed. */
  async replay(entry: LogEntry & { kind: "config" }): Promise<CommittedEntry> {
    const set = this.#readSet(entry);
    const tables = await this.#tablesOf(set);
    await Promise.all(this.#loadTables(tables));
    return this.#switchAt(entry.seq, set, null, tables, async (query, backfill) => {
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

  /** `origin`: left out where it stays as it is. */
  reload(config: Config, origin?: ConfigOrigin): Promise<ReloadOutcome> {
    return this.#exclusively(() => this.#reload(config, origin ?? this.#parts.registry.set.origin));
  }

  /** A set of the log, without queries whose tables are not there any more: no thread can run them. */
  #readSet(entry: { readonly seq: number; readonly body: string }): QuerySet {
    const set = readQuerySet(entry);
    const isOfSet = (table: string): boolean => set.tables?.some(({ name }) => name === table) ?? false;
    const isKnown = (table: string): boolean => isOfSet(table) || (this.#config.tables?.has(table) ?? false);
    return {
      ...set,
      queries: set.queries.filter(({ plan }) => plan.expressions?.tables.every(isKnown) ?? true),
    };
  }

  async #reload(config: Config, origin: ConfigOrigin): Promise<ReloadOutcome> {
    const before = this.#parts.registry.set;
    const next = querySetOf(config, before.version + 1, origin);
    const clockOf = (name: string): KnownClock =>
      this.#parts.registry.stream(name)?.acknowledgedClock ?? { watermarkUs: null, maxEventUs: null };
    const { set, change } = succeed(before, next, config, clockOf);
    const rows = [...(config.tables?.values() ?? [])].filter(({ data }) => !this.#stored.has(digestOf(data)));
    const added = rows.map(({ data }) => toStored(data));
    const bytes = added.reduce((sum, { body }) => sum + body.length, SET_BYTES);
    const outcome = await this.#parts.commits.push(configOperation(set, added), bytes);
    if (outcome.kind !== "committed") throw new MillraceError("E_CONFIG", "the change was not stored");
    // From here on without a pause: what is committed behind the change must find it in force.
    this.#stored = digestsOf(set);
    this.#config = config;
    this.#putInForce(outcome.seq, set);
    await this.#parts.apply.settled();
    await this.#endAlerts();
    // Not before: what the definitions before gave must be stored when a backfill deletes it.
    this.#startBackfills();
    return { version: set.version, ...change };
  }

  /** A query has the events that were stored before it, or nearly: from this place of the log on it is live. */
  async #takeOver(query: RunningQuery, finish: (seq: number) => Promise<BackfilledState>): Promise<void> {
    if (query.isGone) throw new MillraceError("E_BACKFILL_CANCELLED", "the query was changed or removed");
    const set = takenOver(this.#parts.registry.set, query.config.name);
    const outcome = await this.#parts.commits.push(configOperation(set), SET_BYTES);
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
    const tables = [...(this.#config.tables?.values() ?? [])].map(({ data }) => data);
    for (const loaded of this.#loadTables(tables))
      loaded.catch((cause: unknown) => this.#parts.log.error({ err: cause }, "a table was not loaded"));
    this.#parts.apply.push(this.#switchAt(seq, set, this.#config, tables, finish));
    this.#parts.onStreams();
  }

  /** The queries of an entry of the log are in force for what comes behind it. `finish`: for a query that goes live here. */
  #switchAt(
    seq: number,
    set: QuerySet,
    config: Config | null,
    tables: readonly TableData[],
    finish: (query: RunningQuery, backfill: Backfill) => Promise<BackfilledState>,
  ): CommittedEntry {
    const waiting = this.#parts.registry.queries().map((query) => ({ query, backfill: query.backfill }));
    this.#parts.registry.replace(placeIn(set, seq), config, tables);
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

  /** Open episodes of alerts that are no more, or others, end. */
  async #endAlerts(): Promise<void> {
    const { commits, registry } = this.#parts;
    registry.alerts.settle();
    await commits.push({ kind: "alerts-kept", definitions: registry.alerts.definitions }, 128);
  }

  /** The rows that a set has in force. Releases that did not store them used those of the configuration. */
  async #tablesOf({ tables }: QuerySet): Promise<readonly TableData[]> {
    const ofNow = [...(this.#config.tables?.values() ?? [])].map(({ data }) => data);
    if (tables === undefined) return ofNow;
    const known = new Map([...ofNow, ...this.#loaded.values()].map((data) => [digestOf(data), data]));
    const missing = tables.filter(({ digest }) => !known.has(digest)).map(({ digest }) => digest);
    for (const stored of await this.#parts.storage.readTables(missing))
      known.set(stored.digest, fromStored(stored));
    return tables.map(({ name, key, digest }) => {
      const data = known.get(digest);
      if (data !== undefined) return data;
      this.#parts.log.error({ table: name, digest }, "the table's rows are not in the store; it is empty");
      return emptyTable(name, key);
    });
  }

  /** Gives the lanes what they do not have yet, and takes from them what is no more: for the tasks after this. */
  #loadTables(tables: readonly TableData[]): Promise<void>[] {
    const names = new Set(tables.map(({ name }) => name));
    const gone = [...this.#loaded.values()].filter(({ name }) => !names.has(name));
    const wanted = [...tables, ...gone.map(({ name }) => emptyTable(name, ""))];
    const changed = wanted.filter((data) => {
      const before = this.#loaded.get(data.name);
      return before === undefined || digestOf(before) !== digestOf(data);
    });
    for (const data of changed) this.#loaded.set(data.name, data);
    return changed.flatMap((data) => this.#parts.lanes.map((lane) => lane.loadTable(data)));
  }
}

function digestsOf({ tables = [] }: QuerySet): ReadonlySet<string> {
  return new Set(tables.map(({ digest }) => digest));
}
