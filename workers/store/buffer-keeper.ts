import type { CommitOperation, CommitOutcome } from "../messages.ts";
import { BufferAlert } from "./buffer-alert.ts";
import { type BufferLevel, nextLevel, reaches } from "./buffer-level.ts";
import type {
  BufferReport,
  BufferSettings,
  BufferUse,
  DownsamplingGroup,
  MaintainTask,
} from "./buffer-operations.ts";
import { operationBytes } from "./commit-bytes.ts";
import type { Connection } from "./database.ts";
import { Downsampling } from "./downsampling.ts";
import { type Age, Eviction } from "./eviction.ts";
import { isDiskFull } from "./failure.ts";
import { readLedgers } from "./ledger.ts";
import { LedgerTrim } from "./ledger-trim.ts";
import { type DiskProbe, Space } from "./space.ts";
import type { Statements } from "./statements.ts";
import type { StreamTable } from "./stream-table.ts";
import type { Writer } from "./writer.ts";

/** Commits may write so much before the use is measured again, or half of the room where that is less. */
const UNMEASURED_BYTES = 1024 * 1024;
const UNMEASURED_SHARE = 1 / 100;
/** Of the cap: what idempotency keys may take, at so many bytes each. */
const KEYS_SHARE = 1 / 20;
const KEY_BYTES = 250;
/** Results and alerts have these priorities, as streams have theirs. */
const RESULTS_PRIORITY = 1;
const ALERTS_PRIORITY = 0;
/** Of the cap: what is left free for a checkpoint at most. */
const MOST_CHECKPOINT_SHARE = 1 / 8;
const ANY_AGE = Number.POSITIVE_INFINITY;

export interface KeeperParts {
  readonly db: Connection;
  readonly sql: Statements;
  readonly dir: string;
  readonly streams: StreamTable;
  readonly writer: Writer;
  /** Default: the file system. */
  readonly probe?: DiskProbe;
}

/** Something that may be given up, and how old it is. */
interface Candidate {
  readonly atUs: number;
  readonly drop: () => number;
}

/**
 * Keeps the store within its cap and within what the disk has, log included. What it does at which level:
 *
 * - evict: deletes blocks that the hub has
 * - downsample: asks for the oldest events to be replaced by aggregates of a minute
 * - give-up: deletes the oldest of the lowest priority
 *
 * in transactions of a few milliseconds between commits. A commit that would not fit has room made for it there and
 * then. Blocks after the last checkpoint, which a replay needs, and blocks on their way to the hub are never touched;
 * when nothing else is left, events are refused until there is room again.
 */
export class BufferKeeper {
  readonly downsampling: Downsampling;
  readonly #db: Connection;
  readonly #sql: Statements;
  readonly #streams: StreamTable;
  readonly #writer: Writer;
  readonly #space: Space;
  readonly #eviction: Eviction;
  readonly #alert: BufferAlert;
  readonly #trim: LedgerTrim;
  /** null until the configuration is known: no cap holds before. */
  #settings: BufferSettings | null = null;
  #level: BufferLevel = "normal";
  /** Those since the last report. */
  #levels: BufferLevel[] = [];
  /** Bytes that commits may write before the use is measured again. */
  #unmeasuredBytes = 0;
  #isFull = false;
  /** A checkpoint takes its room beside those that it replaces. */
  #checkpointBytes = 0;
  /** Of the one that is being written. */
  #pieceBytes = 0;
  /** The log's end when a checkpoint was last asked for, so that what it holds back can go; null: none is. */
  #awaitedSeq: number | null = null;

  constructor({ db, sql, dir, streams, writer, probe }: KeeperParts) {
    this.#db = db;
    this.#sql = sql;
    this.#streams = streams;
    this.#writer = writer;
    this.#space = new Space(db, dir, probe);
    this.#eviction = new Eviction(db, sql, streams, (count) => writer.forgetDeadLetters(count));
    this.#alert = new BufferAlert(db, writer.alerts);
    this.#trim = new LedgerTrim(db);
    this.downsampling = new Downsampling(db, sql, streams);
  }

  configure(settings: BufferSettings): void {
    const before = this.#settings;
    this.#settings = settings;
    if (before?.capBytes === settings.capBytes) return;
    this.#space.limitTo(settings.capBytes);
    this.#writer.limitKeys(Math.floor((this.#space.capBytes * KEYS_SHARE) / KEY_BYTES));
    this.#unmeasuredBytes = 0;
  }

  /**
   * As `Writer.commit`, within the cap. Blocks that find no room, though all was given up that may be, are refused; what
   * follows from blocks that were taken is written as long as the disk takes it, for it exists nowhere else.
   * @throws SqliteError when nothing was written
   */
  commit(operations: readonly CommitOperation[], nowUs: number): CommitOutcome[] {
    const bytes = operations.reduce((sum, operation) => sum + operationBytes(operation), 0);
    const hasBlocks = operations.some(isBlock);
    for (const operation of operations) this.#countCheckpoint(operation);
    if (!this.#makeRoom(bytes, hasBlocks, nowUs) && hasBlocks) return this.#refuseBlocks(operations, nowUs);
    try {
      return this.#writer.commit(operations, nowUs);
    } catch (cause) {
      if (!isDiskFull(cause)) throw cause;
    }
    // The log met the end of the disk, and was rolled back.
    this.#relieve(bytes, nowUs);
    try {
      return this.#writer.commit(operations, nowUs);
    } catch (cause) {
      if (!isDiskFull(cause) || !hasBlocks) throw cause;
      return this.#refuseBlocks(operations, nowUs);
    }
  }

  /** Looks, and works off what is to be done, for about `budgetMs`. */
  maintain({ settings, nowUs, budgetMs }: MaintainTask): BufferReport {
    this.configure(settings);
    const endMs = performance.now() + budgetMs;
    let use = this.#measure(nowUs);
    let hasMore = false;
    try {
      this.#space.keepReserve(use);
      this.#trim.run();
      hasMore = true;
      while (performance.now() < endMs && hasMore) {
        hasMore = this.#workOff(use, nowUs);
        use = this.#measure(nowUs);
      }
    } catch (cause) {
      if (!isDiskFull(cause)) throw cause;
      this.#relieve(0, nowUs);
      use = this.#measure(nowUs);
    }
    if (this.#room(use, true) > 0) this.#isFull = false;
    const wantsDownsampling =
      reaches(this.#level, "downsample") && this.downsampling.hasCandidates(this.#floor());
    const levels = this.#levels;
    this.#levels = [];
    const { rows: losses, lastId: lastLoss } = this.#trim.look();
    return {
      ...use,
      level: this.#level,
      levels,
      isFull: this.#isFull,
      ledgers: readLedgers(this.#db),
      removed: this.#streams.removed(),
      losses,
      lastLoss,
      hasMore,
      wantsDownsampling,
      wantsCheckpoint: this.#wantsCheckpoint(wantsDownsampling),
    };
  }

  nextDownsampling(): DownsamplingGroup | null {
    return this.downsampling.list(this.#floor());
  }

  /** One small piece of work. @returns whether there was any */
  #workOff(use: BufferUse, nowUs: number): boolean {
    if (use.walBytes > 1.5 * this.#space.walLimitBytes && this.#space.emptyLog()) return true;
    const level = this.#level;
    const any: Age = { before: ANY_AGE, reason: "given-up", nowUs };
    if (reaches(level, "evict") && this.#eviction.evictSynced(this.#allStreams(), this.#floor(), any) > 0)
      return true;
    if (this.#expire(nowUs)) return true;
    if (level === "give-up" && this.#giveUp(nowUs)) return true;
    return this.#space.shrink(use);
  }

  #measure(nowUs: number): BufferUse {
    const use = this.#space.measure();
    this.#setLevel(nextLevel(this.#level, this.#share(use)), use, nowUs);
    return use;
  }

  /** The room of a commit counts as used: the level of giving up begins before there is none. */
  #share(use: BufferUse): number {
    return Math.max(0, (use.usedBytes + this.#headroomBytes()) / Math.max(1, use.capacityBytes));
  }

  /** What commits of senders leave for what follows from their events: results, and the next checkpoint. */
  #headroomBytes(): number {
    const most = this.#space.capBytes * MOST_CHECKPOINT_SHARE;
    return this.#space.headroomBytes + Math.min(this.#checkpointBytes, most);
  }

  #countCheckpoint(operation: CommitOperation): void {
    if (operation.kind === "checkpoint-piece") this.#pieceBytes += operation.bytes.length;
    if (operation.kind !== "checkpoint") return;
    this.#checkpointBytes = operation.state.length + this.#pieceBytes;
    this.#pieceBytes = 0;
  }

  #setLevel(level: BufferLevel, use: BufferUse, nowUs: number): void {
    if (level === this.#level) return;
    this.#level = level;
    this.#levels.push(level);
    try {
      this.#alert.tell(level, use, nowUs);
    } catch (cause) {
      if (!isDiskFull(cause)) throw cause;
      // The log and the metrics tell of it all the same.
    }
  }

  #room(use: BufferUse, isForSenders: boolean): number {
    return use.capacityBytes - use.usedBytes - (isForSenders ? this.#headroomBytes() : 0);
  }

  /** Whether so many bytes may be written. Deletes what may go until they may. */
  #makeRoom(bytes: number, isForSenders: boolean, nowUs: number): boolean {
    if (this.#settings === null) return true;
    this.#unmeasuredBytes -= bytes;
    if (this.#unmeasuredBytes >= 0) return true;
    while (true) {
      const use = this.#measure(nowUs);
      // The commit stands in the log as a whole before the log is moved, and then in the database too.
      const beyondLimit = Math.max(0, use.walBytes + bytes - this.#space.walLimitBytes);
      const room = this.#room(use, isForSenders) - bytes - beyondLimit;
      if (room >= 0) {
        if (isForSenders) this.#isFull = false;
        this.#unmeasuredBytes = Math.min(UNMEASURED_BYTES, this.#space.capBytes * UNMEASURED_SHARE, room / 2);
        this.#keepFilesSmall(use, bytes);
        return true;
      }
      if (!this.#freeSome(nowUs)) break;
    }
    this.#unmeasuredBytes = 0;
    if (isForSenders) this.#isFull = true;
    return false;
  }

  /** There is room in the file, but the files could be larger than the cap while it is used: the log is emptied first. */
  #keepFilesSmall(before: BufferUse, bytes: number): void {
    let use = before;
    while (this.#space.excess(use, bytes) > 0) {
      this.#unmeasuredBytes = 0;
      if (use.walBytes === 0 || !this.#space.emptyLog()) {
        if (use.walBytes > 0 || !this.#space.shrink(use)) return;
      }
      use = this.#space.measure();
    }
  }

  #freeSome(nowUs: number): boolean {
    const any: Age = { before: ANY_AGE, reason: "given-up", nowUs };
    try {
      if (this.#eviction.evictSynced(this.#allStreams(), this.#floor(), any) > 0) return true;
      this.#setLevel("give-up", this.#space.measure(), nowUs);
      return this.#giveUp(nowUs);
    } catch (cause) {
      if (isDiskFull(cause)) return false;
      throw cause;
    }
  }

  /** Deletes some of what is oldest among the lowest priority. @returns whether there was anything that may go */
  #giveUp(nowUs: number): boolean {
    const age: Age = { before: ANY_AGE, reason: "given-up", nowUs };
    const upToSeq = this.#floor();
    for (const [priority, streamIds] of this.#classes()) {
      const candidates = this.#candidates(priority, streamIds, upToSeq, age);
      const [oldest] = candidates.toSorted((a, b) => a.atUs - b.atUs);
      if (oldest !== undefined) return oldest.drop() > 0;
      // Newer data of little worth is all that a checkpoint holds back: older data of more worth is not for it to pay.
      if (!this.#isHeldBack(streamIds, upToSeq)) continue;
      const hasCome = this.#awaitedSeq !== null && upToSeq >= this.#awaitedSeq;
      if (this.#awaitedSeq === null || hasCome) this.#awaitedSeq = this.#writer.lastSeq;
      if (!hasCome) return false;
    }
    return false;
  }

  #candidates(
    priority: number,
    streamIds: readonly number[],
    upToSeq: number,
    age: Age,
  ): readonly Candidate[] {
    const eviction = this.#eviction;
    const found: Candidate[] = [];
    const add = (atUs: number | null, drop: () => number): void => {
      if (atUs !== null) found.push({ atUs, drop });
    };
    add(eviction.oldestPendingUs(streamIds, upToSeq), () => eviction.dropPending(streamIds, upToSeq, age));
    for (const id of streamIds) add(eviction.oldestLateUs(id), () => eviction.dropLate(id, age));
    // What could not be read has no priority of its own: it goes by its age with whatever goes first.
    add(eviction.oldestDeadLetterUs(), () => eviction.dropDeadLetters(age));
    const result = priority === RESULTS_PRIORITY ? eviction.oldestResult() : null;
    if (result !== null) add(result.startUs, () => eviction.dropResults(result.query, age));
    if (priority === ALERTS_PRIORITY) add(eviction.oldestAlertUs(), () => eviction.dropAlerts(age));
    return found;
  }

  /** Deletes what is older than the retention: what the hub has, or everything, as the settings say. */
  #expire(nowUs: number): boolean {
    const settings = this.#settings;
    if (settings === null) return false;
    const age: Age = { before: nowUs - settings.retentionUs, reason: "expired", nowUs };
    const streamIds = this.#allStreams();
    const { seq: upToSeq } = this.#sql.oldestCheckpoint.get() as { seq: number };
    const eviction = this.#eviction;
    if (eviction.evictSynced(streamIds, upToSeq, age) > 0) return true;
    if (!settings.expiresUnsynced) return false;
    return (
      eviction.dropPending(streamIds, upToSeq, age) > 0 ||
      streamIds.some((id) => eviction.dropLate(id, age) > 0) ||
      eviction.dropDeadLetters(age) > 0 ||
      eviction.queries().some((query) => eviction.dropResults(query, age) > 0) ||
      eviction.dropAlerts(age) > 0
    );
  }

  /**
   * The disk is full though the cap is not reached. Deleting and moving the log write before they free anything: the
   * reserve gives them their room.
   */
  #relieve(bytes: number, nowUs: number): void {
    try {
      this.#space.reserve.release();
      this.#space.emptyLog();
      this.#unmeasuredBytes = 0;
      for (let use = this.#measure(nowUs); this.#room(use, true) < bytes; use = this.#measure(nowUs)) {
        if (!this.#freeSome(nowUs)) break;
        this.#space.emptyLog();
      }
      for (let use = this.#space.measure(); this.#space.shrink(use); ) {
        this.#space.emptyLog();
        use = this.#space.measure();
      }
    } catch (cause) {
      // Not even that: the next look tries again.
      if (!isDiskFull(cause)) throw cause;
    }
  }

  #refuseBlocks(operations: readonly CommitOperation[], nowUs: number): CommitOutcome[] {
    this.#isFull = true;
    const others = operations.filter((operation) => !isBlock(operation));
    const outcomes = others.length === 0 ? [] : this.#writer.commit(others, nowUs);
    const detail =
      "the buffer is full and holds nothing that may be given up; raise buffer.cap, free space on the disk, or restore the connection to the hub";
    let next = 0;
    return operations.map((operation) =>
      isBlock(operation) ? { kind: "refused", detail } : outcomes[next++]!,
    );
  }

  /** Streams by priority, those first that are given up first; results and alerts have their place among them. */
  #classes(): readonly (readonly [number, readonly number[]])[] {
    const { priorities, defaultPriority } = this.#settings ?? { priorities: [], defaultPriority: 5 };
    const byName = new Map(priorities);
    const classes = new Map<number, number[]>([
      [RESULTS_PRIORITY, []],
      [ALERTS_PRIORITY, []],
    ]);
    for (const { id, name } of this.#streams.entries()) {
      const priority = byName.get(name) ?? defaultPriority;
      classes.set(priority, [...(classes.get(priority) ?? []), id]);
    }
    return [...classes].sort(([a], [b]) => b - a);
  }

  #allStreams(): readonly number[] {
    return [...this.#streams.entries()].map(({ id }) => id);
  }

  /** Blocks up to this seq may go. The older of the checkpoints kept counts too, while there is a choice. */
  #floor(): number {
    const statement = this.#level === "give-up" ? this.#sql.newestCheckpoint : this.#sql.oldestCheckpoint;
    return (statement.get() as { seq: number }).seq;
  }

  #isHeldBack(streamIds: readonly number[], afterSeq: number): boolean {
    return streamIds.some((id) => this.#sql.heldBack.get(id, afterSeq) !== undefined);
  }

  #wantsCheckpoint(canDownsample: boolean): boolean {
    if (!reaches(this.#level, "downsample")) {
      this.#awaitedSeq = null;
      return false;
    }
    const { seq: newest } = this.#sql.newestCheckpoint.get() as { seq: number };
    if (this.#awaitedSeq !== null && newest < this.#awaitedSeq) return true;
    const floor = this.#floor();
    if (canDownsample || newest >= this.#writer.lastSeq || this.downsampling.hasEvents(floor)) return false;
    return this.#isHeldBack(this.#allStreams(), floor);
  }
}

function isBlock(operation: CommitOperation): boolean {
  return operation.kind === "block";
}
