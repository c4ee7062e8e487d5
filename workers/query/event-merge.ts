import { type BatchReader, decodeBlock, newBatch, readColumns } from "../core/codec.ts";
import type { CoreModule } from "../core/module.ts";
import type { StoredBlock } from "../messages.ts";
import type { BlockRange } from "../store/reader.ts";

/** A position in the order of (event time, seq, row). */
export interface EventPosition {
  readonly timeUs: number;
  readonly seq: number;
  readonly row: number;
}

/** One decoded block: its rows in the order of time, and how far they are read. */
interface OpenBlock {
  readonly seq: number;
  readonly batch: number;
  readonly reader: BatchReader;
  readonly order: Uint32Array;
  at: number;
}

export interface MergeParts {
  readonly core: CoreModule;
  /** Ordered by their earliest event. */
  readonly ranges: readonly BlockRange[];
  readonly load: (seq: number) => StoredBlock | null;
  readonly decompress: (block: StoredBlock) => Uint8Array;
  readonly onBadBlock: (seq: number, cause: unknown) => void;
}

/** An event in its block. `reader` is valid until the next step. */
export interface MergedEvent extends EventPosition {
  readonly reader: BatchReader;
}

/**
 * The events of overlapping blocks in the order of (time, seq, row). A block is decoded when the merge reaches its
 * earliest event and let go after its last, so that only blocks that overlap in time are in memory together. A
 * block that cannot be decoded is reported and skipped.
 */
export function* mergeEvents(parts: MergeParts): Generator<MergedEvent, void, void> {
  const open: OpenBlock[] = [];
  let next = 0;
  try {
    while (true) {
      const head = open[0];
      const upcoming = parts.ranges[next];
      if (upcoming !== undefined && (head === undefined || upcoming.minUs <= timeOf(head))) {
        next++;
        const block = openBlock(parts, upcoming.seq);
        if (block !== null) insert(open, block);
        continue;
      }
      if (head === undefined) return;
      const row = head.order[head.at]!;
      yield { timeUs: timeOf(head), seq: head.seq, row, reader: head.reader };
      open.shift();
      head.at++;
      if (head.at < head.order.length) insert(open, head);
      else disposeBatch(parts.core, head.batch);
    }
  } finally {
    for (const block of open) disposeBatch(parts.core, block.batch);
  }
}

function openBlock(parts: MergeParts, seq: number): OpenBlock | null {
  const stored = parts.load(seq);
  if (stored === null) return null;
  const batch = newBatch(parts.core);
  try {
    decodeBlock(parts.core, parts.decompress(stored), batch);
    const reader = readColumns(parts.core, batch);
    const order = Uint32Array.from({ length: reader.rows }, (_, row) => row);
    const { times } = reader;
    order.sort((a, b) => Number(times[a]! - times[b]!) || a - b);
    return { seq, batch, reader, order, at: 0 };
  } catch (cause) {
    disposeBatch(parts.core, batch);
    parts.onBadBlock(seq, cause);
    return null;
  }
}

function disposeBatch(core: CoreModule, batch: number): void {
  (core.exports as unknown as { batchDispose(batch: number): void }).batchDispose(batch);
}

function timeOf(block: OpenBlock): number {
  return Number(block.reader.times[block.order[block.at]!]);
}

function insert(open: OpenBlock[], block: OpenBlock): void {
  const time = timeOf(block);
  let low = 0;
  let high = open.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const other = open[middle]!;
    const otherTime = timeOf(other);
    if (otherTime < time || (otherTime === time && other.seq < block.seq)) low = middle + 1;
    else high = middle;
  }
  open.splice(low, 0, block);
}
