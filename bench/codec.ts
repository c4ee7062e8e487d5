import {
  type BatchHandle,
  decodeBlock,
  encodeBatch,
  newBatch,
  readColumns,
  resetBatch,
} from "../workers/core/codec.ts";
import { type CoreModule, instantiateCore } from "../workers/core/module.ts";
import { nativeCodec } from "../workers/zstd.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { type ColumnData, makeColumns } from "./support/columns.ts";
import { dispose, fill, PARQUET_LEVEL, parquetSize } from "./support/data-set.ts";

/**
 * What each kind of column takes: bytes an event, and how fast it is encoded and decoded, against NDJSON with zstd and
 * Parquet with zstd of the same column.
 */

const DEFAULT_EVENTS = 64_000;
const DEFAULT_BATCH = 4_000;
const DEFAULT_SECONDS = 0.5;
/** As blocks are stored. */
const BLOCK_LEVEL = 1;
const NDJSON_LEVEL = PARQUET_LEVEL;
const MOST_BYTES = 2 ** 30;
const STREAM = { stream: "columns" };

const zstd = nativeCodec();

/** The batches of a column in all their forms. */
interface Forms {
  readonly batches: readonly BatchHandle[];
  readonly blocks: readonly Uint8Array[];
  readonly packed: readonly Uint8Array[];
  readonly lines: readonly string[];
  readonly packedLines: readonly Uint8Array[];
}

export async function run({ seconds, settings }: BenchOptions): Promise<BenchReport> {
  const core = instantiateCore();
  const events = Number(settings.get("events") ?? DEFAULT_EVENTS);
  const batchEvents = Number(settings.get("batch") ?? DEFAULT_BATCH);
  const minMs = (seconds ?? DEFAULT_SECONDS) * 1_000;
  const failures: string[] = [];
  const rows = makeColumns(events).map((data) => measure(core, data, batchEvents, minMs, failures));
  return {
    name: "codec",
    rows,
    notes: [
      `${events.toLocaleString("en-US")} events a column in batches of ${batchEvents.toLocaleString("en-US")}; bytes an event. A column that is not of times has regular times beside it, in every form.`,
      `block+zstd: as stored, zstd ${BLOCK_LEVEL}; ndjson+zstd and parquet+zstd: zstd ${PARQUET_LEVEL}, Parquet as in \`size\`.`,
      "MB/s: of the plain values, times included (8 bytes a time or number, 1 a boolean, UTF-8 of texts and JSON, none for a null), so that the ways compare; CPU time of one thread.",
      "encode, decode: the codec alone. with zstd: batch to stored bytes and back. ndjson: lines to zstd (the lines are there already), and from zstd to objects by JSON.parse.",
    ],
    failures,
  };
}

function measure(
  core: CoreModule,
  data: ColumnData,
  batchEvents: number,
  minMs: number,
  failures: string[],
): Record<string, string | number> {
  const forms = makeForms(core, data, batchEvents);
  const { batches, blocks, packed, lines, packedLines } = forms;
  const events = data.timesMs.length;
  const into = newBatch(core);
  const decode = (block: Uint8Array): void => {
    resetBatch(core, into);
    decodeBlock(core, block, into);
  };
  failures.push(...findDifferences(core, data, forms, batchEvents, into));
  const perSecond = (work: () => void): number => data.plainBytes / 1e3 / cpuMsOf(work, minMs);
  const row = {
    column: data.name,
    "plain B": data.plainBytes / events,
    "block B": bytesOf(blocks) / events,
    "block+zstd B": bytesOf(packed) / events,
    "ndjson+zstd B": bytesOf(packedLines) / events,
    "parquet+zstd B": parquetSize(data, batchEvents) / events,
    "encode MB/s": perSecond(() => {
      for (const batch of batches) encodeBatch(core, batch, STREAM);
    }),
    "decode MB/s": perSecond(() => {
      for (const block of blocks) decode(block);
    }),
    "encode with zstd MB/s": perSecond(() => {
      for (const batch of batches) zstd.compress(encodeBatch(core, batch, STREAM), BLOCK_LEVEL);
    }),
    "decode with zstd MB/s": perSecond(() => {
      for (const bytes of packed) decode(zstd.decompress(bytes, MOST_BYTES));
    }),
    "ndjson encode MB/s": perSecond(() => {
      for (const text of lines) zstd.compress(Buffer.from(text), NDJSON_LEVEL);
    }),
    "ndjson decode MB/s": perSecond(() => {
      for (const bytes of packedLines) parseLines(zstd.decompress(bytes, MOST_BYTES));
    }),
  };
  for (const batch of [...batches, into]) dispose(core, batch);
  return row;
}

function makeForms(core: CoreModule, data: ColumnData, batchEvents: number): Forms {
  const events = data.timesMs.length;
  const starts = Array.from({ length: Math.ceil(events / batchEvents) }, (_, i) => i * batchEvents);
  const endOf = (start: number): number => Math.min(events, start + batchEvents);
  const batches = starts.map((start) => fill(core, data, start, endOf(start)));
  const blocks = batches.map((batch) => encodeBatch(core, batch, STREAM));
  const lines = starts.map((start) =>
    Array.from({ length: endOf(start) - start }, (_, i) => data.text(start + i)).join(""),
  );
  return {
    batches,
    blocks,
    packed: blocks.map((block) => zstd.compress(block, BLOCK_LEVEL)),
    lines,
    packedLines: lines.map((text) => zstd.compress(Buffer.from(text), NDJSON_LEVEL)),
  };
}

/** What comes back must be what went in: a fast codec that loses something is no codec. */
function findDifferences(
  core: CoreModule,
  data: ColumnData,
  { packed }: Forms,
  batchEvents: number,
  into: BatchHandle,
): string[] {
  const field = data.fields[0];
  for (const [index, bytes] of packed.entries()) {
    resetBatch(core, into);
    decodeBlock(core, zstd.decompress(bytes, MOST_BYTES), into);
    const { rows, times, columns, extraAt } = readColumns(core, into);
    const read = field?.kind === "undeclared" ? extraAt : (row: number) => columns[0]?.valueAt(row);
    for (let row = 0; row < rows; row++) {
      const event = index * batchEvents + row;
      const isSame =
        times[row] === BigInt(data.timesMs[event] ?? 0) * 1_000n &&
        (field === undefined || read(row) === field.values[event]);
      if (!isSame) return [`${data.name}: event ${event} is not what it was`];
    }
    const expected = Math.min(batchEvents, data.timesMs.length - index * batchEvents);
    if (rows !== expected) return [`${data.name}: ${rows} events came back of ${expected}`];
  }
  return [];
}

function parseLines(bytes: Uint8Array): unknown[] {
  return Buffer.from(bytes)
    .toString("utf8")
    .split("\n")
    .slice(0, -1)
    .map((line): unknown => JSON.parse(line));
}

const bytesOf = (parts: readonly Uint8Array[]): number => parts.reduce((sum, { length }) => sum + length, 0);

/** CPU time of one call, in ms: the machine's other work is left out. */
function cpuMsOf(work: () => void, minMs: number): number {
  work();
  let calls = 0;
  let spentMs = 0;
  const before = process.cpuUsage();
  while (spentMs < minMs) {
    work();
    calls++;
    const { user, system } = process.cpuUsage(before);
    spentMs = (user + system) / 1_000;
  }
  return spentMs / calls;
}
