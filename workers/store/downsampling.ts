import type { StoredBlock } from "../messages.ts";
import { blockPlace } from "../seal/places.ts";
import { type BlockRow, insertBlock, storedBlock } from "./block-row.ts";
import type { DownsamplingGroup, DownsamplingSwap } from "./buffer-operations.ts";
import type { StepCheck } from "./cap-guard.ts";
import type { Connection } from "./database.ts";
import { recordLoss } from "./ledger.ts";
import { type OldBlock, OldestBlocks } from "./oldest-blocks.ts";
import type { Statements } from "./statements.ts";
import type { StreamTable } from "./stream-table.ts";

/** Aggregates are of so much event time. */
export const RESOLUTION_US = 60_000_000;
/** A group has so many blocks, stored bytes and events at most: its data is in memory until it is swapped. */
const MAX_BLOCKS = 256;
const MAX_BYTES = 2 * 1024 * 1024;
const MAX_EVENTS = 400_000;
/** A swap stands in the log as a whole: of its limit, the bytes of a group. */
const LOG_SHARE = 1 / 4;
/** And so many bytes or blocks at least: of a few events there would be as many aggregates. */
const MIN_BYTES = 64 * 1024;
const MIN_BLOCKS = 16;
/** Aggregates that take more of what their events took are not worth the events. */
const WORTH_SHARE = 0.5;

/** Finds the oldest events that nobody has yet, and puts their aggregates in their place. */
export class Downsampling {
  readonly #db: Connection;
  readonly #sql: Statements;
  readonly #streams: StreamTable;
  readonly #oldest: OldestBlocks;
  /** By stream: blocks before this seq were tried in vain since the start. */
  readonly #triedBefore = new Map<number, number>();
  #maxBlocks = MAX_BLOCKS;
  #maxBytes = MAX_BYTES;

  constructor(db: Connection, sql: Statements, streams: StreamTable) {
    this.#db = db;
    this.#sql = sql;
    this.#streams = streams;
    this.#oldest = new OldestBlocks(db);
  }

  /** Groups have no more blocks and bytes than a log of so many bytes takes. */
  limitTo(blocks: number, walLimitBytes: number): void {
    this.#maxBlocks = Math.min(MAX_BLOCKS, Math.max(MIN_BLOCKS, blocks));
    this.#maxBytes = Math.min(MAX_BYTES, Math.floor(walLimitBytes * LOG_SHARE));
  }

  hasCandidates(upToSeq: number): boolean {
    return this.#candidates(upToSeq) !== null;
  }

  /** Whether there are events up to a seq that nobody has yet. */
  hasEvents(upToSeq: number): boolean {
    return [...this.#streams.entries()].some(({ id }) => this.#oldest.raw(id, 0, upToSeq, 1).length > 0);
  }

  /** The oldest group of blocks up to a seq, with its data; null when there is none. */
  list(upToSeq: number): DownsamplingGroup | null {
    const group = this.#candidates(upToSeq);
    if (group === null) return null;
    const blocks = group.rows.map(({ seq }) => this.#open(seq));
    return { stream: group.stream, seqs: group.rows.map(({ seq }) => seq), blocks };
  }

  /**
   * Puts a block of aggregates in the place of events, in one transaction with their rows of the ledger. False, with
   * nothing done, when some are gone or on their way to the hub, or the aggregates are hardly smaller.
   */
  swap({ stream, seqs, into, nowUs }: DownsamplingSwap, check: StepCheck = () => undefined): boolean {
    const { id } = this.#streams.entry(stream);
    const first = seqs[0];
    const last = seqs.at(-1);
    if (first === undefined || last === undefined) return false;
    const rows = this.#oldest.raw(id, first, last, seqs.length + 1);
    if (rows.length !== seqs.length || rows.some(({ seq }, index) => seq !== seqs[index])) return false;
    const bytes = rows.reduce((sum, row) => sum + row.bytes, 0);
    if (into === null || into.data.length > bytes * WORTH_SHARE) {
      this.#triedBefore.set(id, last + 1);
      return false;
    }
    this.#sql.seal.prepare();
    this.#db.transaction(() => {
      for (const { seq } of rows) {
        check(0);
        this.#sql.deleteBlock.run(seq);
      }
      check(into.data.length);
      insertBlock(this.#sql, { seq: first, streamId: id, arrivalUs: rows[0]!.arrivalUs }, into);
      this.#sql.markDownsampled.run(RESOLUTION_US, first);
      recordLoss(this.#sql, {
        streamId: id,
        fromUs: Math.min(...rows.map(({ minUs }) => minUs)),
        toUs: Math.max(...rows.map(({ maxUs }) => maxUs)),
        count: rows.reduce((sum, { count }) => sum + count, 0),
        bytes,
        reason: "downsampled",
        atUs: nowUs,
      });
      check("end");
    })();
    this.#streams.countRemoved(id, rows.length - 1, bytes - into.data.length);
    return true;
  }

  /** A group that could not be swapped is left as it is until the next start. */
  passOver({ stream, seqs }: Pick<DownsamplingSwap, "stream" | "seqs">): void {
    const last = seqs.at(-1);
    if (last !== undefined) this.#triedBefore.set(this.#streams.entry(stream).id, last + 1);
  }

  #open(seq: number): StoredBlock {
    const row = this.#sql.readBlock.get(seq) as BlockRow & { readonly streamId: number };
    return storedBlock(row, this.#sql.seal, blockPlace(row.streamId, seq));
  }

  #candidates(upToSeq: number): { readonly stream: string; readonly rows: readonly OldBlock[] } | null {
    const heads = [...this.#streams.entries()].flatMap(({ id, name }) => {
      const [first] = this.#oldest.raw(id, this.#triedBefore.get(id) ?? 0, upToSeq, 1);
      return first === undefined ? [] : [{ id, name, seq: first.seq }];
    });
    const olderHalfUs = this.#olderHalfUs(upToSeq);
    for (const { id, name, seq } of heads.sort((a, b) => a.seq - b.seq)) {
      const rows = this.#group(id, seq, upToSeq, olderHalfUs);
      if (rows !== null) return { stream: name, rows };
    }
    return null;
  }

  /**
   * Events that arrived up to here are the older half of the time that is held. Newer ones are left to be, though what
   * is older may be of a kind that aggregates do not make smaller: then it is that kind's turn to be given up.
   */
  #olderHalfUs(upToSeq: number): number {
    const newest = this.#sql.newestArrival.get() as { arrivalUs: number } | undefined;
    let oldestUs = Number.POSITIVE_INFINITY;
    for (const { id } of this.#streams.entries()) {
      const [first] = this.#oldest.raw(id, 0, upToSeq, 1);
      if (first !== undefined) oldestUs = Math.min(oldestUs, first.arrivalUs);
    }
    return newest === undefined ? oldestUs : oldestUs + Math.max(0, newest.arrivalUs - oldestUs) / 2;
  }

  #group(
    streamId: number,
    fromSeq: number,
    upToSeq: number,
    olderHalfUs: number,
  ): readonly OldBlock[] | null {
    const group: OldBlock[] = [];
    let bytes = 0;
    let events = 0;
    for (const row of this.#oldest.raw(streamId, fromSeq, upToSeq, this.#maxBlocks)) {
      if (row.arrivalUs > olderHalfUs) break;
      if (group.length > 0 && (bytes + row.bytes > this.#maxBytes || events + row.count > MAX_EVENTS)) break;
      group.push(row);
      bytes += row.bytes;
      events += row.count;
    }
    return bytes >= MIN_BYTES || group.length >= MIN_BLOCKS ? group : null;
  }
}
