import { addPackedSums } from "../core/event-sums.ts";
import { MillraceError } from "../errors.ts";
import type { StoredBlock } from "../messages.ts";
import { blockPlace, blockSumsPlace } from "../seal/places.ts";
import { type BlockRow, insertBlock, storedBlock } from "./block-row.ts";
import type { StepCheck } from "./cap-guard.ts";
import type { Connection } from "./database.ts";
import type { Statements } from "./statements.ts";
import type { StreamTable } from "./stream-table.ts";

/** Blocks of one stream worth merging, in the order of their seqs. */
export interface SmallBlocks {
  readonly stream: string;
  readonly seqs: readonly number[];
  readonly blocks: readonly StoredBlock[];
}

/** Groups listed at once: their data is read on the thread that commits, and is in memory until they are merged. */
const MAX_GROUPS = 2;
const MAX_MERGED_BLOCKS = 256;
/** Events that are merged into one block, about: all are in memory at once, some 100 bytes each where every one has texts of its own. */
const MERGED_EVENTS = 100_000;
/** A shorter run waits until it has grown, so that each event is written again only a few times. */
const MIN_MERGED_BLOCKS = 16;
/** A block of this share of the target, or of the events, or more stays as it is. */
const SMALL_SHARE = 0.5;

/** About what two groups take of blocks of 8 KiB. */
const LOOKED_UP_AT_ONCE = 64;
/** Seqs that one pass over the index of a stream brings: it looks at all of the stream's blocks, however few are asked for. */
const SEQS_AT_ONCE = 4_096;

interface SmallBlock {
  readonly seq: number;
  readonly bytes: number;
  readonly count: number;
  readonly state: string;
  readonly resolutionUs: number;
}

/** Finds small blocks and puts merged ones in their place. */
export class Compaction {
  readonly #db: Connection;
  readonly #sql: Statements;
  readonly #streams: StreamTable;

  constructor(db: Connection, sql: Statements, streams: StreamTable) {
    this.#db = db;
    this.#sql = sql;
    this.#streams = streams;
  }

  /**
   * Runs of small blocks up to `upToSeq`, and never beyond the oldest checkpoint kept: what comes after it is the
   * log that a replay from either checkpoint reads. Each run reaches `targetBytes` of stored data, or is of many events,
   * or is long: of `mostAtOnce` blocks at most.
   */
  listSmall(upToSeq: number, targetBytes: number, mostAtOnce = MAX_MERGED_BLOCKS): SmallBlocks[] {
    const { seq: oldest } = this.#sql.oldestCheckpoint.get() as { seq: number };
    const most = Math.min(mostAtOnce, MAX_MERGED_BLOCKS);
    const groups: SmallBlocks[] = [];
    for (const { id, name } of this.#streams.entries()) {
      for (const seqs of this.#runs(id, Math.min(upToSeq, oldest), targetBytes, most)) {
        const blocks = seqs.map((seq) =>
          storedBlock(this.#sql.readBlock.get(seq) as BlockRow, this.#sql.seal, blockPlace(id, seq)),
        );
        groups.push({ stream: name, seqs, blocks });
        if (groups.length === MAX_GROUPS) return groups;
      }
    }
    return groups;
  }

  /**
   * Puts one block in the place of several of its stream, in one transaction; it takes the least seq and that one's
   * arrival. Does nothing, and says so by `false`, unless all of them are still there, in one state, and hold as many
   * events.
   */
  swap(seqs: readonly number[], into: StoredBlock, check: StepCheck = () => undefined): boolean {
    type Row = {
      streamId: number;
      arrivalUs: number;
      count: number;
      bytes: number;
      state: string;
      resolutionUs: number;
      sums: Uint8Array | null;
    };
    const ordered = [...new Set(seqs)].sort((a, b) => a - b);
    const rows = ordered.map((seq) => this.#sql.describeBlock.get(seq) as Row | undefined);
    const first = rows[0];
    if (first === undefined) return false;
    const isWhole = rows.every(
      (row) =>
        row !== undefined &&
        row.streamId === first.streamId &&
        isAlike(row, first) &&
        row.state !== "syncing",
    );
    const count = rows.reduce((sum, row) => sum + (row?.count ?? 0), 0);
    if (!isWhole || count !== into.count) return false;
    const sums = this.#sumsOf(rows.map((row, index) => ({ seq: ordered[index]!, sums: row?.sums ?? null })));
    this.#sql.seal.prepare();
    this.#db.transaction(() => {
      for (const seq of ordered) {
        check(0);
        this.#sql.deleteBlock.run(seq);
      }
      check(into.data.length);
      insertBlock(
        this.#sql,
        { seq: ordered[0]!, streamId: first.streamId, arrivalUs: first.arrivalUs },
        sums === null ? into : { ...into, sums },
      );
      if (first.state !== "pending" || first.resolutionUs !== 0)
        this.#sql.markMerged.run(first.state, first.resolutionUs, ordered[0]!);
      check("end");
    })();
    const bytes = rows.reduce((sum, row) => sum + (row?.bytes ?? 0), 0);
    this.#streams.countRemoved(first.streamId, rows.length - 1, bytes - into.data.length);
    return true;
  }

  /** Null when one of the blocks has none that can be read: they are made of the merged block when they are wanted. */
  #sumsOf(rows: readonly { readonly seq: number; readonly sums: Uint8Array | null }[]) {
    const parts: Uint8Array[] = [];
    try {
      for (const { seq, sums } of rows) {
        if (sums === null) return null;
        parts.push(this.#sql.seal.openBytes(blockSumsPlace(seq), sums));
      }
    } catch (cause) {
      if (cause instanceof MillraceError) return null;
      throw cause;
    }
    return addPackedSums(parts);
  }

  *#runs(streamId: number, upToSeq: number, targetBytes: number, most: number): Generator<readonly number[]> {
    let seqs: number[] = [];
    let bytes = 0;
    let events = 0;
    let before: SmallBlock | null = null;
    for (const row of this.#small(streamId, upToSeq, targetBytes * SMALL_SHARE)) {
      if (before !== null && !isAlike(row, before)) {
        if (seqs.length >= MIN_MERGED_BLOCKS) yield seqs;
        seqs = [];
        bytes = 0;
        events = 0;
      }
      before = row;
      seqs.push(row.seq);
      bytes += row.bytes;
      events += row.count;
      if (bytes < targetBytes && events < MERGED_EVENTS && seqs.length < most) continue;
      yield seqs;
      seqs = [];
      bytes = 0;
      events = 0;
    }
    if (seqs.length >= MIN_MERGED_BLOCKS) yield seqs;
  }

  /**
   * Small blocks that may be merged, in the order of their seqs; only as many are looked up as are asked for, for what says so
   * stands behind a block's data, and thousands may wait where a group takes 16.
   */
  *#small(streamId: number, upToSeq: number, maxBytes: number): Generator<SmallBlock> {
    const maxEvents = MERGED_EVENTS * SMALL_SHARE;
    for (let lastSeq = 0; ; ) {
      const found = this.#sql.smallSeqs.all(
        streamId,
        lastSeq,
        upToSeq,
        maxBytes,
        maxEvents,
        SEQS_AT_ONCE,
      ) as { seq: number }[];
      const seqs = found.map(({ seq }) => seq);
      for (let from = 0; from < seqs.length; from += LOOKED_UP_AT_ONCE)
        yield* this.#sql.smallBlocks.all(
          JSON.stringify(seqs.slice(from, from + LOOKED_UP_AT_ONCE)),
        ) as SmallBlock[];
      if (seqs.length < SEQS_AT_ONCE) return;
      lastSeq = seqs[seqs.length - 1]!;
    }
  }
}

/** Whether blocks are of one state, and both of events or both of aggregates: only then may they become one. */
function isAlike(
  a: { readonly state: string; readonly resolutionUs: number },
  b: { readonly state: string; readonly resolutionUs: number },
): boolean {
  return a.state === b.state && a.resolutionUs === b.resolutionUs;
}
