import type { StoredBlock } from "../messages.ts";
import type { LateBlock } from "../store/reader.ts";
import { formatTime } from "../time-format.ts";
import type { OpenedBlock } from "./block-decoder.ts";
import { createEventWriter } from "./event-json.ts";
import { encodeLines } from "./lines.ts";
import {
  type LateCursor,
  type LateTask,
  MAX_PAGE_CHARACTERS,
  type Page,
  type SkippedBlock,
} from "./tasks.ts";

/** `Reader` is one. */
export interface LateStore {
  late(stream: string, fromId: number, limit: number): readonly LateBlock[];
}

/** `BlockDecoder` is one. */
interface BlockOpener {
  open(block: StoredBlock): OpenedBlock;
}

/** Blocks in memory together. */
const CHUNK_BLOCKS = 8;

/**
 * A page of the late side output, in the order in which events were set aside: who reads on from the last page's end
 * misses none.
 */
export function readLate(store: LateStore, opener: BlockOpener, task: LateTask): Page<LateCursor> {
  const { stream, timeField, limit, after } = task;
  const lines: string[] = [];
  const skippedBlocks: SkippedBlock[] = [];
  let last = after;
  let characters = 0;
  for (const late of lateBlocks(store, stream, after?.id ?? 0)) {
    const { id, sourceSeq, reason, appliedUs, block } = late;
    const opened = opener.open(block);
    if (opened.kind === "unreadable") {
      const { code, message } = opened;
      skippedBlocks.push({ where: "late", stream, seq: sourceSeq, count: block.count, code, message });
      continue;
    }
    const write = createEventWriter(opened.rows, timeField);
    const applied = appliedUs === null ? "" : `,"applied":"${formatTime(appliedUs)}"`;
    const end = `,"reason":"${reason}","at":"${formatTime(late.atUs)}"${applied}}`;
    for (let row = after?.id === id ? after.row + 1 : 0; row < opened.rows.rows; row++) {
      if (lines.length >= limit || characters >= MAX_PAGE_CHARACTERS) {
        return { ndjson: encodeLines(lines), next: last, skippedBlocks };
      }
      const json = `{"event":${write(row)}${end}`;
      lines.push(json);
      characters += json.length;
      last = { id, row };
    }
  }
  return { ndjson: encodeLines(lines), next: null, skippedBlocks };
}

/** Blocks from an id on, a few at a time. */
function* lateBlocks(store: LateStore, stream: string, fromId: number): Generator<LateBlock, void, void> {
  let nextId = fromId;
  while (true) {
    const chunk = store.late(stream, nextId, CHUNK_BLOCKS);
    yield* chunk;
    if (chunk.length < CHUNK_BLOCKS) return;
    nextId = chunk.at(-1)!.id + 1;
  }
}
