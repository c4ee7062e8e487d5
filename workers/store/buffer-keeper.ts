import type { CommitOperation, CommitOutcome } from "../messages.ts";
import { BufferAlert } from "./buffer-alert.ts";
import { type BufferLevel, nextLevel, reaches } from "./buffer-level.ts";
import type {
  BufferReport,
  BufferSettings,
  BufferUse,
  DownsamplingGroup,
  DownsamplingSwap,
  MaintainTask,
} from "./buffer-operations.ts";
import { BeyondCap, CapGuard, type StepCheck } from "./cap-guard.ts";
import { operationBytes, operationPages } from "./commit-bytes.ts";
import type { Connection } from "./database.ts";
import { splitDerived } from "./derived-parts.ts";
import { Downsampling } from "./downsampling.ts";
import { type Age, Eviction } from "./eviction.ts";
import { isDiskFull } from "./failure.ts";
import { ledgerReader, type StreamLedger } from "./ledger.ts";
import { LedgerTrim } from "./ledger-trim.ts";
import { type DiskProbe, type Pages, Space } from "./space.ts";
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
/** Of what is left to the cap: what commits may write at the most before it is measured again. */
const UNGUARDED_SHARE = 1 / 8;
/** A commit that would pass the cap is tried again with more room so often. */
const TRIES = 4;
/** What empties the log while readers look at an older state waits for them so long, where it must not grow. */
const READERS_MS = 50;
/** Pages of tables and indexes that a commit writes beside its data, as a rule; and of these, new ones. */
const TOUCHED_PAGES = 32;
const SPLIT_PAGES = 8;
/** Pages that the deletion of a block's row writes: its own, those beside it, one of an index. */
const PAGES_OF_A_ROW = 4;
/** Of the log's limit, what counts for each block that goes, or becomes one with others, in a transaction. */
const LOG_BYTES_OF_A_BLOCK = 42 * 1024;
/** A commit may have room made for it for so long: after a cap was lowered, much is to go. */
const MAKING_ROOM_MS = 300;
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

/** What a commit may add: bytes of data, and pages of tables and indexes that it touches besides, at the most. */
interface Addition {
  readonly bytes: number;
  readonly pages: number;
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
  readonly #sql: Statements;
  readonly #streams: StreamTable;
  readonly #writer: Writer;
  readonly #space: Space;
  readonly #guard: CapGuard;
  readonly #eviction: Eviction;
  readonly #alert: BufferAlert;
  readonly #trim: LedgerTrim;
  readonly #readLedgers: () => StreamLedger[];
  /** null until the configuration is known: no cap holds before. */
  #settings: BufferSettings | null = null;
  #level: BufferLevel = "normal";
  /** Those since the last report. */
  #levels: BufferLevel[] = [];
  /** Bytes that commits may write before the use is measured again. */
  #unmeasuredBytes = 0;
  /** The same, counting every page that they could touch. */
  #unguardedBytes = 0;
  /** So near to the cap that a commit's own pages could pass it. */
  #isNear = false;
  #isFull = false;
  /** Readers kept the log from being emptied where it had to be. */
  #isLogHeld = false;
  /** There is so much to give up that a commit did not wait for it. */
  #isComingDown = false;
  /** A checkpoint takes its room beside those that it replaces. */
  #checkpointBytes = 0;
  /** Of the one that is being written. */
  #pieceBytes = 0;
  /** The log's end when a checkpoint was last asked for, so that what it holds back can go; null: none is. */
  #awaitedSeq: number | null = null;

  constructor({ db, sql, dir, streams, writer, probe }: KeeperParts) {
    this.#sql = sql;
    this.#streams = streams;
    this.#writer = writer;
    this.#space = new Space(db, dir, probe);
    this.#guard = new CapGuard(db, this.#space);
    this.#eviction = new Eviction(db, sql, streams, (count) => writer.forgetDeadLetters(count));
    this.#alert = new BufferAlert(db, writer.alerts);
    this.#trim = new LedgerTrim(db);
    this.#readLedgers = ledgerReader(db);
    this.downsampling = new Downsampling(db, sql, streams);
  }

  configure(settings: BufferSettings): void {
    const before = this.#settings;
    this.#settings = settings;
    if (before?.capBytes === settings.capBytes) return;
    this.#space.limitTo(settings.capBytes);
    this.downsampling.limitTo(this.mostAtOnce, this.#space.walLimitBytes);
    this.#eviction.limitTo(this.mostAtOnce);
    this.#writer.limitKeys(Math.floor((this.#space.capBytes * KEYS_SHARE) / KEY_BYTES));
    this.#unmeasuredBytes = 0;
  }

  /**
   * As `Writer.commit`, within the cap. Blocks that find no room, though all was given up that may be, are refused; what
   * follows from blocks that were taken is written as long as the disk takes it, for it exists nowhere else.
   * @throws SqliteError when nothing was written
   */
  commit(operations: readonly CommitOperation[], nowUs: number): CommitOutcome[] {
    for (const operation of operations) this.#countCheckpoint(operation);
    return this.#commit(operations, nowUs);
  }

  #commit(operations: readonly CommitOperation[], nowUs: number): CommitOutcome[] {
    const addition = operations.reduce(
      ({ bytes, pages }, operation) => ({
        bytes: bytes + operationBytes(operation),
        pages: pages + operationPages(operation),
      }),
      { bytes: 0, pages: 0 },
    );
    const hasBlocks = operations.some(isBlock);
    if (!this.#makeRoom(addition, hasBlocks, nowUs) && hasBlocks)
      return this.#refuseBlocks(operations, nowUs);
    try {
      return this.#writeWithin(operations, addition, nowUs);
    } catch (cause) {
      if (!isDiskFull(cause)) throw cause;
    }
    // The log met the end of the disk, and was rolled back.
    this.#relieve(addition.bytes, nowUs);
    try {
      return this.#writeWithin(operations, addition, nowUs);
    } catch (cause) {
      if (!isDiskFull(cause) || !hasBlocks) throw cause;
      return this.#refuseBlocks(operations, nowUs);
    }
  }

  /**
   * For a transaction that is no commit, deletes rows of blocks and puts fewer bytes in their place: empties the log where it
   * could pass the cap. @returns whether it cannot any more
   */
  keepWithin(rows = this.#eviction.mostBlocks, bytes = 0): boolean {
    if (this.#settings === null) return true;
    this.#unmeasuredBytes = 0;
    const written = this.#space.pagesOf(bytes) + rows * PAGES_OF_A_ROW + TOUCHED_PAGES;
    return this.#keepFilesSmall(this.#space.measure(), { written, taken: SPLIT_PAGES });
  }

  /**
   * Puts a block of so many bytes in the place of others, in a transaction that is measured as commits are: what could pass the
   * cap is rolled back, and tried once more with an empty log. @returns what `swap` says, and false where there is no room
   * @param onBeyond told when there was none by measure
   */
  swapWithin(
    rows: number,
    bytes: number,
    swap: (check: StepCheck) => boolean,
    onBeyond: () => void = () => undefined,
  ): boolean {
    for (let tries = 0; tries < 2; tries++) {
      if (!this.keepWithin(rows, bytes)) return false;
      if (this.#settings === null || !this.#space.canShrink) return swap(() => undefined);
      try {
        return this.#guard.run(swap);
      } catch (cause) {
        if (!(cause instanceof BeyondCap)) throw cause;
        this.#space.emptyLog(READERS_MS);
      }
    }
    onBeyond();
    return false;
  }

  /** False, with nothing done, also where there is no room for it: then another group's turn comes. */
  swapDownsampled(swap: DownsamplingSwap): boolean {
    return this.swapWithin(
      swap.seqs.length,
      swap.into?.data.length ?? 0,
      (check) => this.downsampling.swap(swap, check),
      () => this.downsampling.passOver(swap),
    );
  }

  /** Blocks that go, or become one, in one transaction at most: it stands in the log as a whole. */
  get mostAtOnce(): number {
    return Math.floor(this.#space.walLimitBytes / LOG_BYTES_OF_A_BLOCK);
  }

  /** As for a commit of senders: whether there is room for so many bytes, after all was given up that may be. */
  makeRoomFor(bytes: number, nowUs: number): boolean {
    return this.#makeRoom({ bytes, pages: TOUCHED_PAGES }, true, nowUs);
  }

  /** Looks, and works off what is to be done, for about `budgetMs`. */
  maintain({ settings, nowUs, budgetMs }: MaintainTask): BufferReport {
    this.configure(settings);
    const endMs = performance.now() + budgetMs;
    let use = this.#measure(nowUs);
    let hasMore = false;
    try {
      this.#space.keepReserve(use);
      this.keepWithin();
      this.#trim.run();
      hasMore = true;
      while (performance.now() < endMs && hasMore) {
        this.keepWithin();
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
      ledgers: this.#readLedgers(),
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

  /** Whether so much may be written. Deletes what may go until it may. */
  #makeRoom(addition: Addition, isForSenders: boolean, nowUs: number): boolean {
    if (this.#settings === null) return true;
    const { bytes } = addition;
    this.#unmeasuredBytes -= bytes;
    this.#unguardedBytes -= bytes + addition.pages * this.#space.frameBytes;
    if (this.#unmeasuredBytes >= 0 && this.#unguardedBytes >= 0) return true;
    const dataPages = this.#space.pagesOf(bytes);
    const pages = { written: dataPages + TOUCHED_PAGES, taken: dataPages + SPLIT_PAGES };
    const endMs = performance.now() + MAKING_ROOM_MS;
    this.#isLogHeld = false;
    this.#isComingDown = false;
    while (true) {
      const use = this.#measure(nowUs);
      // The commit stands in the log as a whole before the log is moved, and then in the database too.
      const beyondLimit = Math.max(0, use.walBytes + bytes - this.#space.walLimitBytes);
      const room = this.#room(use, isForSenders) - bytes - beyondLimit;
      if (room >= 0 && this.#keepFilesSmall(use, pages)) {
        if (isForSenders) this.#isFull = false;
        this.#look(use, addition, room);
        return true;
      }
      if (this.#isLogHeld || this.#isComingDown || !this.#freeSome(nowUs)) break;
      this.#isComingDown = performance.now() > endMs;
    }
    this.#unmeasuredBytes = 0;
    this.#isNear = true;
    if (isForSenders) this.#isFull = true;
    // What follows from events is written all the same.
    else this.#keepFilesSmall(this.#space.measure(), pages);
    return false;
  }

  /** Far from the cap, commits are made for a while without a look; near it, each is measured and guarded. */
  #look(use: BufferUse, { bytes, pages }: Addition, room: number): void {
    const { capBytes, walLimitBytes } = this.#space;
    const most = this.#space.pagesOf(bytes) + pages;
    this.#isNear = this.#space.canShrink && this.#space.excess(use, { written: most, taken: most }) > 0;
    const left = capBytes - use.databaseBytes - use.fixedBytes - use.walBytes - walLimitBytes;
    this.#unguardedBytes = this.#isNear ? 0 : Math.max(0, left * UNGUARDED_SHARE);
    this.#unmeasuredBytes = Math.min(UNMEASURED_BYTES, capBytes * UNMEASURED_SHARE, room / 2);
  }

  /**
   * Writes within the cap: what would pass it is rolled back and has more room made for it. Blocks that find none are refused.
   * What follows from events is written in smaller transactions, in its order, and all the same in the end: were it
   * interrupted between two, a replay writes it again.
   */
  #writeWithin(operations: readonly CommitOperation[], addition: Addition, nowUs: number): CommitOutcome[] {
    if (this.#settings === null || !this.#isNear) return this.#writer.commit(operations, nowUs);
    const hasBlocks = operations.some(isBlock);
    let { bytes } = addition;
    for (let tries = 0; tries < TRIES; tries++) {
      try {
        return this.#guard.run((check) => this.#writer.commit(operations, nowUs, check));
      } catch (cause) {
        if (!(cause instanceof BeyondCap)) throw cause;
        bytes += cause.missingBytes;
      }
      this.#unmeasuredBytes = 0;
      this.#space.emptyLog(READERS_MS);
      // What was measured is more than what was counted: then room by that count is not enough.
      if (!this.#makeRoom({ ...addition, bytes }, hasBlocks, nowUs)) break;
      if (tries > 0 && !this.#freeSome(nowUs)) break;
      this.#isNear = true;
    }
    if (hasBlocks) return this.#refuseBlocks(operations, nowUs);
    const parts = splitDerived(operations);
    if (parts === null) return this.#writer.commit(operations, nowUs);
    const outcomes = parts.map((part) => this.#commit(part, nowUs));
    return operations.length > 1 ? outcomes.flat() : outcomes.at(-1)!;
  }

  /**
   * There is room in the file, but the files could be larger than the cap while it is used: the log is emptied first, and
   * free pages go back to the disk. @returns whether they cannot be any more
   */
  #keepFilesSmall(before: BufferUse, pages: Pages): boolean {
    // A file that cannot become smaller only has its free pages used again.
    if (!this.#space.canShrink) return true;
    const endMs = performance.now() + MAKING_ROOM_MS;
    let use = before;
    for (let excess = this.#space.excess(use, pages); excess > 0; excess = this.#space.excess(use, pages)) {
      if (use.walBytes === 0 || !this.#space.emptyLog(READERS_MS)) {
        this.#isLogHeld = use.walBytes > 0;
        if (this.#isLogHeld || !this.#space.shrink(use, excess)) return false;
      }
      this.#isComingDown = performance.now() > endMs;
      if (this.#isComingDown) return false;
      use = this.#space.measure();
    }
    return true;
  }

  #freeSome(nowUs: number): boolean {
    const any: Age = { before: ANY_AGE, reason: "given-up", nowUs };
    if (!this.keepWithin()) return false;
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
    const outcomes = others.length === 0 ? [] : this.#commit(others, nowUs);
    const detail = this.#whyFull();
    let next = 0;
    return operations.map((operation) =>
      isBlock(operation) ? { kind: "refused", detail } : outcomes[next++]!,
    );
  }

  /** What senders are told: what is in the way, and what to do. */
  #whyFull(): string {
    if (this.#isLogHeld)
      return "the buffer is full, and a program that reads the database keeps its log from being emptied; send again when that has ended, such as a backup, or free space on the disk";
    if (this.#isComingDown)
      return "the buffer holds more than buffer.cap, which was lowered; the oldest data is being given up, send again in a moment";
    if (this.#isCheckpointAwaited())
      return "the buffer is full until the next checkpoint is written, which is under way: what it holds is needed by a restart until then; send again in a moment; if this lasts, free space on the disk or raise buffer.cap";
    return "the buffer is full and holds nothing that may be given up; raise buffer.cap, free space on the disk, or restore the connection to the hub";
  }

  #isCheckpointAwaited(): boolean {
    const { seq: newest } = this.#sql.newestCheckpoint.get() as { seq: number };
    return this.#awaitedSeq !== null && newest < this.#awaitedSeq;
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
