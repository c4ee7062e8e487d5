import type { LateBlock } from "../store/reader.ts";
import { createEventWriter } from "./event-json.ts";
import type { BlockOpener } from "./events.ts";
import { formatTime } from "./iso-time.ts";
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
  late(stream: string, fromSeq: number, limit: number): readonly LateBlock[];
}

/** Blocks in memory together. More than the two that one source may leave, so that every read gets further. */
const CHUNK_BLOCKS = 8;

/** A page of the late side output, in the order of the blocks the events came with. */
export function readLate(store: LateStore, opener: BlockOpener, task: LateTask): Page<LateCursor> {
  const { stream, timeField, limit } = task;
  const lines: string[] = [];
  const skippedBlocks: SkippedBlock[] = [];
  let last = task.after;
  let characters = 0;
  for (const late of lateBlocks(store, stream, task.after)) {
    const { sourceSeq, reason, block } = late;
    const opened = opener.open(block);
    if (opened.kind === "unreadable") {
      const { code, message } = opened;
      skippedBlocks.push({ where: "late", stream, seq: sourceSeq, count: block.count, code, message });
      continue;
    }
    const write = createEventWriter(opened.rows, timeField);
    const end = `,"reason":"${reason}","at":"${formatTime(late.atUs)}"}`;
    for (let row = firstRow(late, task.after); row < opened.rows.rows; row++) {
      if (lines.length >= limit || characters >= MAX_PAGE_CHARACTERS) {
        return { ndjson: encodeLines(lines), next: last, skippedBlocks };
      }
      const json = `{"event":${write(row)}${end}`;
      lines.push(json);
      characters += json.length;
      last = { sourceSeq, reason, row };
    }
  }
  return { ndjson: encodeLines(lines), next: null, skippedBlocks };
}

/** Blocks from the cursor's own on, a few at a time. */
function* lateBlocks(
  store: LateStore,
  stream: string,
  after: LateCursor | null,
): Generator<LateBlock, void, void> {
  let fromSeq = after?.sourceSeq ?? 0;
  let passed: { readonly sourceSeq: number; readonly reason: string } | null = null;
  while (true) {
    const chunk = store.late(stream, fromSeq, CHUNK_BLOCKS);
    for (const block of chunk) {
      if (passed !== null && !isBehind(block, passed)) continue;
      passed = block;
      if (after === null || block.reason === after.reason || isBehind(block, after)) yield block;
    }
    if (chunk.length < CHUNK_BLOCKS) return;
    fromSeq = chunk.at(-1)!.sourceSeq;
  }
}

/** The order of the side output: by source, then by the reason's text. */
function isBehind(
  a: { readonly sourceSeq: number; readonly reason: string },
  b: { readonly sourceSeq: number; readonly reason: string },
): boolean {
  return a.sourceSeq > b.sourceSeq || (a.sourceSeq === b.sourceSeq && a.reason > b.reason);
}

function firstRow({ sourceSeq, reason }: LateBlock, after: LateCursor | null): number {
  return after !== null && sourceSeq === after.sourceSeq && reason === after.reason ? after.row + 1 : 0;
}
