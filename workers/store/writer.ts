import type {
  CommitOperation,
  CommitOutcome,
  DeadLetter,
  PackedRows,
  ResultRow,
  StoredBlock,
} from "../messages.ts";
import { textOf } from "../packed-rows.ts";
import { groupsOf, type ResultGroup, rowsOf, unpackResults } from "../result-rows.ts";
import { configPlace, deadLetterPlace, latePlace } from "../seal/places.ts";
import { resultKeyName, sealResult, sortByName } from "../seal/result-seal.ts";
import { AlertStore } from "./alert-store.ts";
import { insertBlock } from "./block-row.ts";
import type { StepCheck } from "./cap-guard.ts";
import { CheckpointStore } from "./checkpoint-store.ts";
import { lineBytes, operationBytes, resultBytes } from "./commit-bytes.ts";
import type { Connection } from "./database.ts";
import { coversRows } from "./late-rows.ts";
import { recordLoss } from "./ledger.ts";
import { Outbox } from "./outbox.ts";
import { RebuiltResults } from "./rebuilt-results.ts";
import { GROUPED_PER_INSERT, RESULTS_PER_INSERT, type Statements } from "./statements.ts";
import type { StreamEntry, StreamTable } from "./stream-table.ts";
import { TableStore } from "./table-store.ts";

/** What the store keeps of what would grow without end. */
export interface StoreLimits {
  /** The oldest beyond them are given up, with a row in the loss ledger. */
  readonly deadLetters: number;
  /** Dead letters given up at once, so that the ledger grows by a row for many, not for each. */
  readonly deadLetterSlack: number;
  /** How long a producer may resend under the same key. */
  readonly idempotencyRetentionUs: number;
  /** Keys at most, about 120 bytes each: the oldest beyond them are forgotten before their time. */
  readonly idempotencyKeys: number;
  /** New keys between two looks for old ones: a look with every commit would take a seventh of its time. */
  readonly idempotencySlack: number;
}

export const DEFAULT_LIMITS: StoreLimits = {
  deadLetters: 100_000,
  deadLetterSlack: 1_000,
  idempotencyRetentionUs: 7 * 86_400 * 1_000_000,
  idempotencyKeys: 2_000_000,
  idempotencySlack: 64,
};

/** Old keys forgotten for each new one at most: the number shrinks back to its limit, and no commit is long. */
const KEYS_DROPPED_FOR_A_NEW_ONE = 2;

interface Counters {
  nextSeq: number;
  deadLetters: number;
  idempotencyKeys: number;
}

type Operation<Kind extends CommitOperation["kind"]> = CommitOperation & { readonly kind: Kind };
type LateReason = "late" | "clock-skew";

/** The one writer: every change of the log and of what follows from it goes through `commit`. */
export class Writer {
  readonly #db: Connection;
  readonly #sql: Statements;
  readonly #streams: StreamTable;
  readonly #limits: StoreLimits;
  readonly alerts: AlertStore;
  readonly tables: TableStore;
  readonly checkpoints: CheckpointStore;
  readonly rebuilt: RebuiltResults;
  /** What sinks are to get of it. */
  readonly outbox: Outbox;
  /** Longest window stored of each query, in µs: it bounds where a read by time must start. */
  readonly #spans = new Map<string, number>();
  #counters: Counters;
  /** Since the opening: what writing took of what follows from events, ms. */
  emitMs = 0;
  /** By something that is no block, in this commit. */
  #isSeqTaken = false;
  #mostKeys: number;
  /** Of the transaction that runs; asked in the middle of an operation of many rows. */
  #check: StepCheck | undefined;
  /** Keys taken since old ones were last looked for. Only says when to look, so a rollback need not undo it. */
  #newKeys = 0;

  constructor(db: Connection, sql: Statements, streams: StreamTable, limits: StoreLimits = DEFAULT_LIMITS) {
    this.#db = db;
    this.#sql = sql;
    this.#streams = streams;
    this.#limits = limits;
    this.#mostKeys = limits.idempotencyKeys;
    this.outbox = new Outbox(db, sql.seal);
    this.alerts = new AlertStore(db, sql.seal, this.outbox);
    this.tables = new TableStore(db, sql.seal);
    this.checkpoints = new CheckpointStore(db, sql.seal);
    this.rebuilt = new RebuiltResults(db, sql.seal);
    this.#counters = sql.readCounters.get() as Counters;
    this.#loadSpans();
  }

  /** Dead letters that were deleted elsewhere. */
  forgetDeadLetters(count: number): void {
    this.#counters.deadLetters -= count;
  }

  /** Fewer idempotency keys than the limit, where the cap has no room for so many. */
  limitKeys(most: number): void {
    this.#mostKeys = Math.min(this.#limits.idempotencyKeys, most);
  }

  /** The greatest seq given out, 0 at first. Never given out again, not after a restart and whatever was deleted. */
  get lastSeq(): number {
    return this.#counters.nextSeq - 1;
  }

  /**
   * Writes the operations in one transaction with one fsync, and answers each in its place. An operation under a
   * known idempotency key of its stream writes nothing, though the key came earlier in the same list.
   * @param check asked before each of them and before the end
   * @throws SqliteError when the transaction failed, or what `check` throws: then none of them was written
   */
  commit(operations: readonly CommitOperation[], nowUs: number, check?: StepCheck): CommitOutcome[] {
    const before = { ...this.#counters };
    this.#check = check;
    this.#isSeqTaken = false;
    this.#sql.seal.prepare();
    this.#sql.begin.run();
    try {
      const outcomes = operations.map((operation) => {
        if (!isOfResults(operation)) check?.(operationBytes(operation));
        if (!isEmitted(operation)) return this.#write(operation, nowUs);
        const startedMs = performance.now();
        const outcome = this.#write(operation, nowUs);
        this.emitMs += performance.now() - startedMs;
        return outcome;
      });
      this.#dropOldKeys(nowUs);
      this.#writeCounters(before);
      check?.("end");
      this.#sql.commit.run();
      return outcomes;
    } catch (cause) {
      // Some failures, such as a full disk, have SQLite roll back by itself.
      if (this.#db.inTransaction) this.#sql.rollback.run();
      this.#counters = before;
      this.#streams.reload();
      this.#loadSpans();
      throw cause;
    }
  }

  #write(operation: CommitOperation, nowUs: number): CommitOutcome {
    switch (operation.kind) {
      case "block":
        return this.#writeBlock(operation, nowUs);
      case "watermark":
        return this.#writeWatermark(operation);
      case "tick":
        return this.#writeTick(operation);
      case "config": {
        const seq = this.#takeSeq();
        this.#sql.insertConfig.run(seq, this.#sql.seal.text(configPlace(seq), operation.body));
        if (operation.tables !== undefined) this.tables.write(seq, operation.tables);
        return { kind: "committed", seq };
      }
      case "clear-results": {
        const { query, fromUs, limit } = operation;
        this.outbox.addCleared(query, fromUs, nowUs);
        return { kind: "cleared", rows: this.#sql.clearResults.run(query, fromUs, limit).changes };
      }
      case "results":
        this.outbox.addResults(operation.rows, nowUs);
        return this.#writeResults(operation.rows);
      case "packed-results":
        if (operation.onlyNew) return this.#writeNewResults(unpackResults(textOf(operation.packed)), nowUs);
        if (operation.isLive && this.rebuilt.isAny)
          return this.#writeFurtherResults(unpackResults(textOf(operation.packed)), nowUs);
        this.outbox.addPacked(operation.packed, nowUs);
        return this.#writePacked(operation.packed);
      case "late": {
        const { stream, sourceSeq, block, atUs, rows = null } = operation;
        return this.#writeLate(this.#streams.entry(stream), sourceSeq, "late", block, atUs, rows);
      }
      case "correction":
        for (const id of operation.lateIds) this.#sql.markApplied.run(operation.atUs, id);
        this.outbox.addResults(operation.rows, nowUs);
        return this.#writeResults(operation.rows);
      case "alerts":
        this.alerts.write(operation.rows, operation.webhooks, nowUs);
        return { kind: "committed", seq: this.lastSeq };
      case "alerts-kept":
        this.alerts.keepOnly(operation.definitions, nowUs, this.lastSeq);
        return { kind: "committed", seq: this.lastSeq };
      case "webhook-outcome":
        this.alerts.settle(operation.id, operation.outcome);
        return { kind: "committed", seq: this.lastSeq };
      case "checkpoint-piece":
      case "checkpoint-sweep":
        return this.checkpoints.write(operation, nowUs);
      case "checkpoint":
        return this.#writeCheckpoint(operation, nowUs);
    }
  }

  #writeBlock(operation: Operation<"block">, nowUs: number): CommitOutcome {
    const { idempotencyKey, accepted, deadLetters, unkeptDeadLetters, block, skewed, arrivalUs } = operation;
    const deadLettered = deadLetters.length + unkeptDeadLetters;
    const stream = this.#streams.entry(operation.stream);
    if (idempotencyKey !== null) {
      const key = this.#sql.seal.name("idempotency", idempotencyKey);
      const written = this.#sql.insertKey.run(stream.id, key, nowUs, accepted, deadLettered);
      if (written.changes === 0) {
        const first = this.#sql.readKey.get(stream.id, key) as {
          accepted: number;
          deadLettered: number;
        };
        return { kind: "duplicate", accepted: first.accepted, deadLettered: first.deadLettered };
      }
      this.#newKeys++;
      this.#counters.idempotencyKeys++;
    }
    const seq = this.#counters.nextSeq++;
    if (block !== null) {
      insertBlock(this.#sql, { seq, streamId: stream.id, arrivalUs }, block);
      this.#streams.widen(stream, block.schema, seq);
      this.#streams.learnTimes(stream, operation.timeSources ?? []);
    }
    for (const letter of deadLetters) this.#writeDeadLetter(stream.id, arrivalUs, letter);
    if (unkeptDeadLetters > 0) {
      const range = {
        streamId: stream.id,
        fromUs: arrivalUs,
        toUs: arrivalUs,
        count: unkeptDeadLetters,
        bytes: 0,
      };
      recordLoss(this.#sql, { ...range, reason: "given-up", kind: "dead-letters", atUs: nowUs });
    }
    this.#counters.deadLetters += deadLetters.length;
    const { deadLetters: most, deadLetterSlack: slack } = this.#limits;
    if (this.#counters.deadLetters > most + slack) this.#giveUpDeadLetters(nowUs);
    if (skewed !== null) this.#writeLate(stream, seq, "clock-skew", skewed, arrivalUs, null);
    this.#sql.countBlock.run(accepted, deadLettered, block?.count ?? 0, seq, stream.id);
    return { kind: "committed", seq };
  }

  /** Sealed, all its texts are in one value. */
  #writeDeadLetter(streamId: number, atUs: number, letter: DeadLetter): void {
    const { line, path, code, message, text } = letter;
    const { seal, insertDeadLetter } = this.#sql;
    if (!seal.isOn) insertDeadLetter.run(streamId, atUs, line, path, code, message, text);
    else {
      const place = deadLetterPlace(streamId, atUs, line, code);
      const sealed = seal.text(place, JSON.stringify([path, message, text]));
      insertDeadLetter.run(streamId, atUs, line, "", code, "", sealed);
    }
  }

  /** Of what is no block. */
  #takeSeq(): number {
    this.#isSeqTaken = true;
    return this.#counters.nextSeq++;
  }

  #writeWatermark({ stream, timeUs }: Operation<"watermark">): CommitOutcome {
    const seq = this.#takeSeq();
    this.#sql.insertWatermark.run(seq, this.#streams.entry(stream).id, timeUs === "end" ? null : timeUs);
    return { kind: "committed", seq };
  }

  #writeTick({ stream, atUs, isResume }: Operation<"tick">): CommitOutcome {
    const seq = this.#takeSeq();
    this.#sql.insertTick.run(seq, this.#streams.entry(stream).id, atUs, Number(isResume));
    return { kind: "committed", seq };
  }

  /** As `#writeResults`. Rows of one window mostly share all but key and values, and come in order. */
  #writePacked(packed: PackedRows): CommitOutcome {
    const text = textOf(packed);
    if (this.#sql.seal.isOn) return this.#writeResults(unpackResults(text));
    const others: ResultRow[] = [];
    for (const group of groupsOf(text)) {
      const lines = group.lines.split("\n").sort();
      const whole = lines.length - (lines.length % GROUPED_PER_INSERT);
      for (let from = 0; from < whole; from += GROUPED_PER_INSERT)
        this.#writeLines(group, lines.slice(from, from + GROUPED_PER_INSERT));
      if (whole < lines.length)
        for (const row of rowsOf({ ...group, lines: lines.slice(whole).join("\n") })) others.push(row);
    }
    return this.#writeResults(others);
  }

  /** So many rows of a group as one statement takes. */
  #writeLines(
    { query, startUs, endUs, revision, kind, retracted }: ResultGroup,
    lines: readonly string[],
  ): void {
    this.#check?.(lines.reduce((sum, line) => sum + lineBytes(line), 0));
    this.#learnSpan(query, endUs - startUs);
    const values: unknown[] = [query, startUs, endUs, revision, kind, retracted ? 1 : 0];
    for (const line of lines) {
      const tab = line.indexOf("\t");
      values.push(line.slice(0, tab), line.slice(tab + 1));
    }
    this.#sql.upsertGroup.run(values);
  }

  /**
   * A row of the same window, key and revision is written over: a replay writes the same again. CPU time of 10,000
   * rows: 23 ms one by one, 27 ms by twenties, 17.5 ms by twenties and sorted.
   */
  #writeResults(unsorted: readonly ResultRow[]): CommitOutcome {
    const { seal } = this.#sql;
    const rows = seal.isOn ? sortByName(seal, unsorted) : [...unsorted].sort(compareByPrimaryKey);
    const whole = rows.length - (rows.length % RESULTS_PER_INSERT);
    for (let from = 0; from < whole; from += RESULTS_PER_INSERT) {
      this.#check?.(sumOfBytes(rows, from, from + RESULTS_PER_INSERT));
      const values: unknown[] = [];
      for (let at = from; at < from + RESULTS_PER_INSERT; at++) this.#pushResult(values, rows[at]!);
      this.#sql.upsertResults.run(values);
    }
    this.#check?.(sumOfBytes(rows, whole, rows.length));
    for (const row of rows.slice(whole)) {
      const values: unknown[] = [];
      this.#pushResult(values, row);
      this.#sql.upsertResult.run(values);
    }
    return { kind: "committed", seq: this.lastSeq };
  }

  #writeNewResults(all: readonly ResultRow[], nowUs: number): CommitOutcome {
    const { seal, hasResult } = this.#sql;
    const rows = all.filter(
      ({ query, startUs, endUs, key, revision }) =>
        hasResult.get(query, startUs, resultKeyName(seal, query, key), endUs, revision) === undefined,
    );
    if (rows.length > 0) this.outbox.addResults(rows, nowUs);
    return this.#writeResults(rows);
  }

  /** Of windows that were made anew, whose results may have had more revisions before. */
  #writeFurtherResults(all: readonly ResultRow[], nowUs: number): CommitOutcome {
    const rows = this.rebuilt.behindStored(all);
    this.outbox.addResults(rows, nowUs);
    return this.#writeResults(rows);
  }

  #pushResult(values: unknown[], row: ResultRow): void {
    const { query, startUs, endUs, key, revision, kind, values: value, retracted } = row;
    this.#learnSpan(query, endUs - startUs);
    if (!this.#sql.seal.isOn)
      values.push(query, startUs, endUs, key, revision, kind, value, retracted ? 1 : 0);
    else values.push(...sealResult(this.#sql.seal, row));
  }

  #learnSpan(query: string, spanUs: number): void {
    if (spanUs <= (this.#spans.get(query) ?? 0)) return;
    this.#spans.set(query, spanUs);
    this.#sql.writeQuerySpan.run(query, spanUs);
  }

  /** Writing the same events of a source again, as a replay does, changes and counts nothing. `rows`: null for all there are. */
  #writeLate(
    stream: StreamEntry,
    sourceSeq: number,
    reason: LateReason,
    block: StoredBlock,
    atUs: number,
    rows: Uint8Array | null,
  ): CommitOutcome {
    const { count, minUs, maxUs, codec, encodedBytes, data } = block;
    if (this.#isSetAside(sourceSeq, reason, rows))
      return { kind: "duplicate", accepted: count, deadLettered: 0 };
    this.#sql.insertLate.run(
      sourceSeq,
      reason,
      stream.id,
      atUs,
      count,
      minUs,
      maxUs,
      codec,
      encodedBytes,
      this.#sql.seal.bytes(latePlace(stream.id, sourceSeq, reason), data),
      rows,
    );
    const counting = reason === "late" ? this.#sql.countLate : this.#sql.countSkewed;
    counting.run(count, stream.id);
    return { kind: "committed", seq: sourceSeq };
  }

  #isSetAside(sourceSeq: number, reason: LateReason, rows: Uint8Array | null): boolean {
    const before = this.#sql.lateRows.all(sourceSeq, reason) as { rows: Uint8Array | null }[];
    if (before.length === 0) return false;
    const known = before.map((row) => row.rows).filter((one) => one !== null);
    // Of what an earlier release wrote it is not known which rows they were.
    return rows === null || known.length < before.length || coversRows(known, rows);
  }

  #writeCheckpoint(operation: Operation<"checkpoint">, nowUs: number): CommitOutcome {
    const outcome = this.checkpoints.write(operation, nowUs);
    this.#sql.dropWatermarks.run();
    this.#sql.dropTicks.run();
    this.#sql.dropConfigs.run();
    this.tables.drop();
    return outcome;
  }

  #giveUpDeadLetters(nowUs: number): void {
    const excess = this.#counters.deadLetters - this.#limits.deadLetters;
    type Sum = { streamId: number; fromUs: number; toUs: number; count: number; bytes: number };
    for (const sum of this.#sql.sumDeadLetters.all(excess) as Sum[]) {
      recordLoss(this.#sql, { ...sum, reason: "given-up", kind: "dead-letters", atUs: nowUs });
    }
    this.#sql.dropDeadLetters.run(excess);
    this.#counters.deadLetters -= excess;
  }

  /** Forgets keys that are too old, then those over the limit: a few for each new one. */
  #dropOldKeys(nowUs: number): void {
    const { idempotencyRetentionUs, idempotencySlack } = this.#limits;
    if (this.#newKeys < idempotencySlack) return;
    const most = this.#newKeys * KEYS_DROPPED_FOR_A_NEW_ONE;
    this.#newKeys = 0;
    const expired = this.#sql.dropKeys.run(nowUs - idempotencyRetentionUs, most).changes;
    this.#counters.idempotencyKeys -= expired;
    const excess = Math.min(this.#counters.idempotencyKeys - this.#mostKeys, most - expired);
    if (excess > 0) {
      this.#counters.idempotencyKeys -= this.#sql.dropKeys.run(Number.POSITIVE_INFINITY, excess).changes;
    }
  }

  #writeCounters(before: Counters): void {
    const { nextSeq, deadLetters, idempotencyKeys } = this.#counters;
    // A page less in most commits: seqs of blocks stand in their streams' rows.
    const isSame = deadLetters === before.deadLetters && idempotencyKeys === before.idempotencyKeys;
    if (isSame && !this.#isSeqTaken) return;
    this.#sql.writeCounters.run(nextSeq, deadLetters, idempotencyKeys);
  }

  #loadSpans(): void {
    this.#spans.clear();
    for (const { query, longestUs } of this.#sql.querySpans.all() as { query: string; longestUs: number }[]) {
      this.#spans.set(query, longestUs);
    }
  }
}

/** Such an operation may hold thousands of rows: it is checked as it is written. */
function isEmitted(operation: CommitOperation): boolean {
  return isOfResults(operation) || operation.kind === "late" || operation.kind === "alerts";
}

function isOfResults({ kind }: CommitOperation): boolean {
  return kind === "results" || kind === "packed-results" || kind === "correction";
}

function sumOfBytes(rows: readonly ResultRow[], from: number, to: number): number {
  let bytes = 0;
  for (let at = from; at < to; at++) bytes += resultBytes(rows[at]!);
  return bytes;
}

function compareByPrimaryKey(a: ResultRow, b: ResultRow): number {
  if (a.query !== b.query) return a.query < b.query ? -1 : 1;
  if (a.startUs !== b.startUs) return a.startUs - b.startUs;
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}
