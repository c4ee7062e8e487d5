import { decodeBlock, encodeBatch, newBatch, readColumns, readHeader, resetBatch } from "./core/codec.ts";
import { type CoreModule, instantiateCore } from "./core/module.ts";
import { MillraceError } from "./errors.ts";
import type { ResultRow, StoredBlock } from "./messages.ts";
import { decodeCursor, encodeCursor } from "./query/cursor.ts";
import { eventWriter } from "./query/event-json.ts";
import { type EventPosition, mergeEvents } from "./query/event-merge.ts";
import { Reader } from "./store/reader.ts";
import { formatTime } from "./time-format.ts";
import { portableCodec } from "./zstd.ts";

/** A page of NDJSON, where the next one starts, and the blocks that could not be read. */
export interface Page {
  readonly ndjson: Uint8Array;
  readonly next: string | null;
  readonly skippedBlocks: readonly { readonly seq: number; readonly reason: string }[];
}

export interface EventsTask {
  readonly stream: string;
  readonly timeField: string;
  readonly keyFields: readonly string[];
  readonly fromUs: number | null;
  readonly toUs: number | null;
  readonly key: string | null;
  readonly limit: number;
  readonly after: string | null;
}

export interface ResultsTask {
  readonly query: string;
  readonly fromUs: number | null;
  readonly toUs: number | null;
  readonly key: string | null;
  readonly kind: string | null;
  readonly revisions: "latest" | "all";
  readonly limit: number;
  readonly after: string | null;
}

export interface ListTask {
  readonly stream: string | null;
  readonly limit: number;
  readonly after: string | null;
}

/** Level of merged blocks: they are written once, in the background, and kept. */
const MERGED_ZSTD_LEVEL = 3;

const core: CoreModule = instantiateCore();
const codec = await portableCodec();
const utf8 = new TextEncoder();
let reader: Reader | null = null;

export function open(dir: string): void {
  reader = new Reader(dir);
}

/** Events of [fromUs, toUs) in the order of event time. */
export function events(task: EventsTask): Page {
  const store = opened();
  const after = task.after === null ? null : eventCursor(task.after);
  const fromUs = after === null ? task.fromUs : Math.max(task.fromUs ?? after.timeUs, after.timeUs);
  const skippedBlocks: { seq: number; reason: string }[] = [];
  const merged = mergeEvents({
    core,
    ranges: store.blocksOverlapping(task.stream, fromUs, task.toUs),
    load: (seq) => store.block(seq),
    decompress,
    onBadBlock: (seq, cause) => skippedBlocks.push({ seq, reason: String(cause) }),
  });
  const lines: string[] = [];
  const writers = new WeakMap<object, { write: (row: number) => string; hasKey: (row: number) => boolean }>();
  let last: EventPosition | null = null;
  let next: string | null = null;
  for (const event of merged) {
    if (task.toUs !== null && event.timeUs >= task.toUs) break;
    if (fromUs !== null && event.timeUs < fromUs) continue;
    if (after !== null && !isBehind(event, after)) continue;
    let block = writers.get(event.reader);
    if (block === undefined) {
      const write = eventWriter(event.reader, task.timeField);
      block = { write, hasKey: keyFilter(event.reader, task.keyFields, task.key) };
      writers.set(event.reader, block);
    }
    if (!block.hasKey(event.row)) continue;
    if (lines.length === task.limit) {
      if (last !== null) next = encodeCursor([last.timeUs, last.seq, last.row]);
      break;
    }
    lines.push(block.write(event.row));
    last = { timeUs: event.timeUs, seq: event.seq, row: event.row };
  }
  return { ndjson: ndjsonOf(lines), next, skippedBlocks };
}

export function results(task: ResultsTask): Page {
  const [startUs, key, endUs, revision] = task.after === null ? [] : decodeCursor(task.after, 4);
  const after =
    startUs === undefined
      ? null
      : { startUs: Number(startUs), key: String(key), endUs: Number(endUs), revision: Number(revision) };
  const rows = opened().results({ ...task, limit: task.limit + 1, after });
  const shown = rows.slice(0, task.limit);
  const last = shown[shown.length - 1];
  const hasMore = rows.length > shown.length && last !== undefined;
  const next = hasMore ? encodeCursor([last.startUs, last.key, last.endUs, last.revision]) : null;
  return { ndjson: ndjsonOf(shown.map(resultJson)), next, skippedBlocks: [] };
}

/** Events set aside, in the order in which that happened. */
export function late(task: { stream: string; timeField: string; limit: number; after: string | null }): Page {
  const [fromSeq = 0, fromReason = "", fromRow = 0] = task.after === null ? [] : decodeCursor(task.after, 3);
  const lines: string[] = [];
  const skippedBlocks: { seq: number; reason: string }[] = [];
  let next: string | null = null;
  // A block of the side output has at least one event, so this many blocks fill a page.
  const blocks = opened().late(task.stream, Number(fromSeq), task.limit + 2);
  for (const { sourceSeq, reason, atUs, block } of blocks) {
    const isFirst = sourceSeq === fromSeq && reason === fromReason;
    if (sourceSeq === fromSeq && reason < String(fromReason)) continue;
    const batch = newBatch(core);
    try {
      decodeBlock(core, decompress(block), batch);
      const view = readColumns(core, batch);
      const write = eventWriter(view, task.timeField);
      for (let row = isFirst ? Number(fromRow) : 0; row < view.rows; row++) {
        if (lines.length === task.limit) {
          next = encodeCursor([sourceSeq, reason, row]);
          break;
        }
        lines.push(`{"event":${write(row)},"reason":"${reason}","at":"${formatTime(atUs)}"}`);
      }
    } catch (cause) {
      skippedBlocks.push({ seq: sourceSeq, reason: String(cause) });
    } finally {
      resetBatch(core, batch);
      dispose(batch);
    }
    if (next !== null) break;
  }
  return { ndjson: ndjsonOf(lines), next, skippedBlocks };
}

export function deadLetters(task: ListTask): Page {
  const [afterId = 0] = task.after === null ? [] : decodeCursor(task.after, 1);
  const rows = opened().deadLetters(task.stream, Number(afterId), task.limit + 1);
  return listPage(rows, task.limit, ({ id: _id, atUs, ...row }) => ({ ...row, at: formatTime(atUs) }));
}

export function losses(task: ListTask): Page {
  const [afterId = 0] = task.after === null ? [] : decodeCursor(task.after, 1);
  const rows = opened().losses(task.stream, Number(afterId), task.limit + 1);
  return listPage(rows, task.limit, ({ id: _id, fromUs, toUs, atUs, ...row }) => ({
    ...row,
    from: formatTime(fromUs),
    to: formatTime(toUs),
    at: formatTime(atUs),
  }));
}

/** One block with the events of several, in their order. */
export function merge(task: { readonly blocks: readonly StoredBlock[]; readonly stream: string }): StoredBlock {
  const batch = newBatch(core);
  try {
    for (const block of task.blocks) decodeBlock(core, decompress(block), batch);
    const encoded = encodeBatch(core, batch, { stream: task.stream });
    const { count, minUs, maxUs, schema } = readHeader(encoded);
    return {
      data: new Uint8Array(codec.compress(encoded, MERGED_ZSTD_LEVEL)),
      codec: "zstd",
      encodedBytes: encoded.length,
      count,
      minUs: Number(minUs),
      maxUs: Number(maxUs),
      schema,
    };
  } finally {
    dispose(batch);
  }
}

export function close(): void {
  reader?.close();
  reader = null;
}

function opened(): Reader {
  if (reader === null) throw new MillraceError("E_STORE_CLOSED", "the store is not open for reading");
  return reader;
}

function decompress(block: StoredBlock): Uint8Array {
  return block.codec === "zstd" ? codec.decompress(block.data, block.encodedBytes) : block.data;
}

function dispose(batch: number): void {
  (core.exports as unknown as { batchDispose(batch: number): void }).batchDispose(batch);
}

function eventCursor(text: string): EventPosition {
  const [timeUs, seq, row] = decodeCursor(text, 3);
  return { timeUs: Number(timeUs), seq: Number(seq), row: Number(row) };
}

function isBehind(event: EventPosition, after: EventPosition): boolean {
  return event.timeUs - after.timeUs || event.seq - after.seq || event.row - after.row
    ? (event.timeUs - after.timeUs || event.seq - after.seq || event.row - after.row) > 0
    : false;
}

/** Whether a row's key, the first of its key fields that is present, reads as `key`. */
function keyFilter(
  batch: ReturnType<typeof readColumns>,
  keyFields: readonly string[],
  key: string | null,
): (row: number) => boolean {
  if (key === null) return () => true;
  const columns = keyFields.flatMap((field) => batch.columns.filter((column) => column.name === field));
  return (row) => {
    for (const column of columns) {
      const value = column.valueAt(row);
      if (value !== null) return String(value) === key;
    }
    return false;
  };
}

function listPage<T extends { readonly id: number }>(rows: readonly T[], limit: number, shape: (row: T) => object): Page {
  const shown = rows.slice(0, limit);
  const last = shown[shown.length - 1];
  const next = rows.length > shown.length && last !== undefined ? encodeCursor([last.id]) : null;
  return { ndjson: ndjsonOf(shown.map((row) => JSON.stringify(shape(row)))), next, skippedBlocks: [] };
}

function resultJson({ query, startUs, endUs, key, values, revision, kind }: ResultRow): string {
  const window = `{"start":"${formatTime(startUs)}","end":"${formatTime(endUs)}"}`;
  return `{"query":${JSON.stringify(query)},"window":${window},"key":${key},"values":${values},"revision":${revision},"kind":"${kind}"}`;
}

function ndjsonOf(lines: readonly string[]): Uint8Array {
  return utf8.encode(lines.length === 0 ? "" : `${lines.join("\n")}\n`);
}
