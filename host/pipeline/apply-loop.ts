import { MillraceError } from "../../workers/errors.ts";
import type {
  ApplyEntry,
  ApplyResult,
  FormerQueries,
  PackedRows,
  StoredBlock,
} from "../../workers/messages.ts";
import { release } from "../../workers/move.ts";
import { bytewiseGroups } from "../../workers/packed-rows.ts";
import { ApplyPace } from "./apply-pace.ts";
import type { Checkpointer } from "./checkpointer.ts";
import type { CommitQueue } from "./commit-queue.ts";
import type { Lane } from "./lane.ts";
import type { Stages } from "./stages.ts";
import type { InForce, RunningStream, StreamRegistry } from "./stream-registry.ts";
import type { WindowWorker } from "./window-worker.ts";

/** Log entries given to the window thread at once. */
const APPLY_ENTRIES = 64;
/**
 * The same while a checkpoint is on its way, beside bytes of partials: what these change is saved before it is changed, and
 * waits until the next step hands it out.
 */
const APPLY_ENTRIES_CAPTURING = 16;
const APPLY_BYTES_CAPTURING = 512 * 1024;
/** What a step of an alert takes beside its key and value, about. */
const ALERT_BYTES = 200;

/** Bytes of results that may wait to be written before the windows are asked for more. */
const MAX_UNWRITTEN_BYTES = 8 * 1024 * 1024;

/** A committed log entry on its way to the windows, with its block while that may still be asked for. */
export interface CommittedEntry {
  readonly entry: ApplyEntry;
  readonly block: StoredBlock | null;
  readonly arrivalUs: number;
  /** The queries and tables under which the block was aggregated; left out: there is no block. */
  readonly inForce?: InForce;
  /** What is to be applied instead, once it is there; entries behind it wait. */
  readonly later?: Promise<ApplyEntry>;
}

interface Waiter {
  readonly seq: number;
  readonly resolve: () => void;
  readonly reject: (cause: unknown) => void;
}

/**
 * Commit → apply: takes committed entries in the order of their seq to the window thread, and what comes of
 * them (results, late events) back to the store. Invariant: `durableSeq` is the greatest seq whose results
 * and late events are durable, and so are all before it.
 *
 * When an entry cannot be applied, nothing after it may be: the loop stops for good, and `onFailure` hears of it once.
 * The log has it all, and a restart replays it.
 */
export class ApplyLoop {
  readonly #windows: WindowWorker;
  readonly #commits: CommitQueue;
  readonly #registry: StreamRegistry;
  readonly #lanes: readonly Lane[];
  readonly #checkpointer: Checkpointer;
  readonly #stages: Stages;
  readonly #onFailure: (cause: unknown) => void;
  readonly #waiting: CommittedEntry[] = [];
  #isRunning = false;
  readonly #pace: ApplyPace;
  /** To be run when this turn of the event loop ends. */
  #isDue = false;
  /** Until then what waits is left to wait for more. */
  #gathering: NodeJS.Timeout | null = null;
  #lastStartMs = Number.NEGATIVE_INFINITY;
  #failure: { readonly cause: unknown } | null = null;
  #waiters: Waiter[] = [];
  readonly #idlers = new Set<() => void>();
  #lastResults: Promise<void> = Promise.resolve();
  #unwrittenBytes = 0;
  /** Windows are made anew of blocks that were merged or thinned out meanwhile: what is stored stays as it is. */
  isRebuilding = false;
  /** What is applied may have been applied before: its results are those that are stored. */
  isReplaying = false;
  /** What alerts come to up to this entry of the log was told before: it is not told again. */
  toldSeq = 0;
  pushedSeq = 0;
  durableSeq = 0;
  /** Told when fewer bytes wait, so that requests that wait for that go on. */
  onDrained: (() => void) | null = null;
  /** Bytes of partial aggregates that wait. */
  pendingBytes = 0;

  constructor(
    windows: WindowWorker,
    commits: CommitQueue,
    registry: StreamRegistry,
    lanes: readonly Lane[],
    checkpointer: Checkpointer,
    stages: Stages,
    onFailure: (cause: unknown) => void,
  ) {
    this.#windows = windows;
    this.#commits = commits;
    this.#registry = registry;
    this.#pace = new ApplyPace(registry);
    this.#lanes = lanes;
    this.#checkpointer = checkpointer;
    this.#stages = stages;
    checkpointer.onWork = () => {
      if (!this.#isRunning) void this.#run();
    };
    this.#onFailure = onFailure;
    windows.onLost((cause) => this.#fail(cause));
  }

  /** After a restore: everything up to the checkpoint is applied and durable. */
  startFrom(seq: number): void {
    this.pushedSeq = seq;
    this.durableSeq = seq;
  }

  push(committed: CommittedEntry): void {
    // Heard of when its turn comes.
    committed.later?.catch(() => undefined);
    this.#waiting.push(committed);
    this.pushedSeq = committed.entry.seq;
    this.pendingBytes += sizeOf(committed.entry);
    if (this.#isRunning || this.#isDue) return;
    const nowMs = performance.now();
    const waiting = { entries: this.#waiting.length, bytes: this.pendingBytes };
    const waitMs = this.#pace.waitMs(committed, waiting, this.#lastStartMs, nowMs);
    if (waitMs === 0) this.#runSoon();
    else this.#gathering ??= setTimeout(() => this.#hurry(), waitMs);
  }

  /** What waits for more waits no longer. */
  #hurry(): void {
    if (this.#gathering !== null && !this.#isRunning && !this.#isDue) this.#runSoon();
  }

  #runSoon(): void {
    this.#endGathering();
    this.#isDue = true;
    // At the end of the turn: then all entries of a commit are here, and those who sent them are answered.
    setImmediate(() => {
      this.#isDue = false;
      if (!this.#isRunning) void this.#run();
    });
  }

  /**
   * Resolves once everything pushed so far is applied and what came of it is durable.
   * @throws E_WINDOWS_FAILED once something could not be applied
   */
  settled(): Promise<void> {
    const seq = this.pushedSeq;
    if (this.#failure !== null) return Promise.reject(failed(this.#failure.cause));
    if (this.durableSeq >= seq) return Promise.resolve();
    this.#hurry();
    return new Promise((resolve, reject) => this.#waiters.push({ seq, resolve, reject }));
  }

  /** Resolves when the window thread has nothing to do, though something may wait for more, or after `mostMs` all the same. */
  idle(mostMs: number): Promise<void> {
    if (!this.#isRunning && !this.#isDue) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#idlers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, mostMs);
      this.#idlers.add(wake);
    });
  }

  /** Writes a checkpoint of the windows, after the results of all that it covers. @returns its seq. */
  async checkpoint(): Promise<number> {
    if (this.#failure !== null) throw failed(this.#failure.cause);
    return this.#checkpointer.request();
  }

  #endGathering(): void {
    if (this.#gathering !== null) clearTimeout(this.#gathering);
    this.#gathering = null;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    this.#endGathering();
    const checkpointer = this.#checkpointer;
    while (this.#failure === null && (this.#waiting.length > 0 || checkpointer.hasWork)) {
      if (checkpointer.hasWork) await checkpointer.step(this.#waiting.length > 0 ? "skip" : "wait");
      const group = this.#waiting.splice(0, this.#groupSize());
      if (group.length === 0) continue;
      // Windows that a change of the queries takes away are in the checkpoint too.
      if (group.some(({ entry }) => entry.kind === "config")) await checkpointer.finishCapture();
      try {
        await this.#apply(group);
      } catch (cause) {
        this.#fail(cause);
      }
    }
    this.#isRunning = false;
    for (const wake of this.#idlers) wake();
  }

  /** A change of the queries may wait for what came of all before it: it begins a group. */
  #groupSize(): number {
    const change = this.#waiting.findIndex(
      ({ entry, later }) => entry.kind === "config" && later !== undefined,
    );
    const most = this.#checkpointer.isCapturing ? this.#smallGroup() : APPLY_ENTRIES;
    return change <= 0 ? most : Math.min(change, most);
  }

  #smallGroup(): number {
    let bytes = 0;
    let entries = 0;
    for (const { entry } of this.#waiting.slice(0, APPLY_ENTRIES_CAPTURING)) {
      bytes += sizeOf(entry);
      if (entries > 0 && bytes > APPLY_BYTES_CAPTURING) break;
      entries++;
    }
    return entries;
  }

  #fail(cause: unknown): void {
    if (this.#failure !== null) return;
    this.#failure = { cause };
    for (const { reject } of this.#waiters.splice(0)) reject(failed(cause));
    this.#checkpointer.fail(failed(cause));
    this.#onFailure(cause);
  }

  async #apply(group: readonly CommittedEntry[]): Promise<void> {
    const bytes = group.reduce((sum, { entry }) => sum + sizeOf(entry), 0);
    const entries = await Promise.all(group.map(({ entry, later }) => later ?? entry));
    const writes: Promise<unknown>[] = [];
    this.#lastStartMs = performance.now();
    let result = await this.#windows.apply(entries);
    for (;;) {
      this.#stages.add("merge", result.mergeNs, 0);
      const rows = result.fired.reduce((sum, each) => sum + each.rows, 0);
      this.#stages.add("emit", result.emitNs, rows);
      this.remember(result);
      for (const late of result.late) writes.push(...(await this.#keepLate(group, late)));
      this.#count(result);
      this.#writeAlerts(result.alerts);
      this.#write(result);
      if (!result.hasMore) break;
      if (this.#unwrittenBytes > MAX_UNWRITTEN_BYTES) await this.#lastResults;
      result = await this.#windows.resume();
    }
    this.pendingBytes -= bytes;
    this.onDrained?.();
    for (const { block } of group) {
      if (block === null) continue;
      this.#stages.add("merge", 0, block.count);
      release(block.data.buffer);
    }
    const seq = group[group.length - 1]!.entry.seq;
    this.#lastResults = Promise.all([this.#lastResults, ...writes]).then(() => this.#advance(seq));
    this.#lastResults.catch((cause: unknown) => this.#fail(cause));
    if (this.#unwrittenBytes > MAX_UNWRITTEN_BYTES) await this.#lastResults;
  }

  #write({ rows, fired }: ApplyResult): void {
    if (rows.length === 0) return;
    const startedMs = performance.now();
    for (const packed of rows) {
      const { length } = packed.bytes;
      const own = this.isRebuilding
        ? ({ onlyNew: true } as const)
        : this.isReplaying
          ? {}
          : ({ isLive: true } as const);
      const written = this.#commits.push({ kind: "packed-results", packed, ...own }, length);
      const previous = this.#lastResults;
      this.#unwrittenBytes += length;
      this.#lastResults = Promise.all([previous, written]).then(() => {
        this.#unwrittenBytes -= length;
        this.#publish(fired, packed);
        release(packed.bytes.buffer);
      });
    }
    this.#stages.addOnMain("emit", startedMs);
    this.#lastResults.catch((cause: unknown) => this.#fail(cause));
  }

  /** In front of all results that wait to be written: who is alerted does not wait for ten thousand rows. */
  #writeAlerts(all: ApplyResult["alerts"]): void {
    const rows = all.filter(({ seq = Number.POSITIVE_INFINITY }) => seq > this.toldSeq);
    if (rows.length === 0) return;
    const { alerts } = this.#registry;
    const bytes = rows.reduce((sum, { key, value }) => sum + key.length + value.length + ALERT_BYTES, 0);
    const written = this.#commits
      .push({ kind: "alerts", rows, webhooks: alerts.webhooks }, bytes)
      .then(() => alerts.publish(rows));
    this.#lastResults = Promise.all([this.#lastResults, written]).then(() => undefined);
  }

  async #keepLate(
    group: readonly CommittedEntry[],
    late: ApplyResult["late"][number],
  ): Promise<Promise<unknown>[]> {
    const source = group.find(({ entry }) => entry.seq === late.seq);
    const stream = this.#registry.stream(late.stream);
    const lane = this.#lanes.reduce((least, next) => (next.busy < least.busy ? next : least));
    if (source?.block == null || stream === undefined) return [];
    const found = await lane.extractLate(stream, source.block, late.groups, formerOf(stream, source, late));
    if (found === null) return [];
    const { block, rows } = found;
    const atUs = source.arrivalUs;
    const operation = { kind: "late", stream: late.stream, sourceSeq: late.seq, block, rows, atUs } as const;
    const written = this.#commits.push(operation, block.data.length).then((outcome) => {
      if (outcome.kind === "committed") stream.counts.late += block.count;
    });
    return [written];
  }

  /** Takes in the clocks and sizes that the window thread reports. */
  remember(result: Pick<ApplyResult, "watermarks" | "stats" | "alertStats">): void {
    this.#registry.alerts.remember(result.alertStats);
    for (const { stream: name, watermarkUs, maxEventUs, sources, skewedDevices } of result.watermarks) {
      const stream = this.#registry.clocked(name);
      if (stream === undefined) continue;
      stream.watermarkUs = watermarkUs;
      stream.maxEventUs = maxEventUs;
      stream.sources = sources;
      if (skewedDevices !== null) stream.skewedDevices = skewedDevices;
    }
    for (const stats of result.stats) {
      const query = this.#registry.queryById(stats.queryId);
      if (query !== undefined) query.stats = stats;
    }
  }

  #count(result: ApplyResult): void {
    for (const { queryId, rows, revisions } of result.fired) {
      const query = this.#registry.queryById(queryId);
      if (query === undefined) continue;
      query.results += rows;
      query.revisions += revisions;
    }
  }

  /** Rows, durable now, for those who listen; they are only unpacked when somebody does. */
  #publish(fired: ApplyResult["fired"], packed: PackedRows): void {
    const isHeard = fired.some(({ queryId }) => this.#registry.queryById(queryId)?.listeners.size);
    if (!isHeard) return;
    const startedMs = performance.now();
    const byQuery = Map.groupBy(bytewiseGroups(packed), ({ query }) => query);
    for (const [name, groups] of byQuery) {
      for (const listener of this.#registry.query(name)?.listeners ?? []) listener(groups);
    }
    this.#stages.addOnMain("emit", startedMs);
  }

  #advance(seq: number): void {
    this.durableSeq = seq;
    const due = this.#waiters.filter((waiter) => waiter.seq <= seq);
    this.#waiters = this.#waiters.filter((waiter) => waiter.seq > seq);
    for (const { resolve } of due) resolve();
  }
}

/** What held for the block where something else holds by now; null: the same. */
function formerOf(
  stream: RunningStream,
  { inForce }: CommittedEntry,
  { groups }: ApplyResult["late"][number],
): FormerQueries | null {
  if (inForce === undefined || inForce === stream.inForce) return null;
  const plans = inForce.queries.map(({ plan }) => plan);
  const queries = plans.filter(({ id }) => groups.some(({ queryId }) => queryId === id));
  const names = queries.flatMap(({ expressions }) => expressions?.tables ?? []);
  return { queries, tables: inForce.tables.filter(({ name }) => names.includes(name)) };
}

function failed(cause: unknown): MillraceError {
  const detail = cause instanceof Error ? cause.message : String(cause);
  const message = `the windows could not be brought up to date (${detail}); start the node again: it replays its log`;
  return new MillraceError("E_WINDOWS_FAILED", message, { cause });
}

function sizeOf(entry: ApplyEntry): number {
  return entry.kind === "block"
    ? entry.partials.reduce(
        (sum, partial) => sum + partial.bytes.byteLength,
        64 + (entry.sources?.byteLength ?? 0),
      )
    : 64;
}
