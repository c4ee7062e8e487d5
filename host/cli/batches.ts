import { createReadStream } from "node:fs";
import {
  createSplitter,
  type SendFormat,
  type SourceRecord,
  type Splitter,
  sniffFormat,
} from "./splitters.ts";

/** A file, or stdin. */
export interface Source {
  /** How messages call it. */
  readonly label: string;
  /** Part of the idempotency keys of its batches. */
  readonly identity: string;
  /** null when it is not known before the end. */
  readonly sizeBytes: number | null;
  /** Whether records may be sent before a batch is full, when no more are there. Never where cuts must be repeatable. */
  readonly isLive: boolean;
  open(): AsyncIterable<Uint8Array>;
}

/** One request's worth of records. */
export interface Batch {
  readonly index: number;
  readonly contentType: "application/x-ndjson" | "text/csv";
  readonly body: Uint8Array<ArrayBuffer>;
  readonly records: number;
  /** Bytes of the source that it stands for. */
  readonly sourceBytes: number;
  /** Where each record starts in the source. */
  readonly lines: readonly number[];
  /** Lines of the body before its first record. */
  readonly headerLines: number;
}

/** A batch is full when it has either. */
export interface BatchSize {
  readonly records: number;
  readonly bytes: number;
}

const CHUNK_BYTES = 1024 * 1024;
const LIVE_WAIT_MS = 100;

export function fileSource(path: string, label: string, sizeBytes: number): Source {
  const open = (): AsyncIterable<Buffer> => createReadStream(path, { highWaterMark: CHUNK_BYTES });
  return { label, identity: path, sizeBytes, isLive: false, open };
}

/** Without a name, stdin's batches are new in every run. */
export function stdinSource(name: string | null, run: string): Source {
  const identity = name === null ? `stdin:${run}` : `stdin:${name}`;
  return { label: "stdin", identity, sizeBytes: null, isLive: name === null, open: () => process.stdin };
}

/** A source's records in batches, cut by content alone (but for live sources), so that a second run cuts the same. */
export async function* readBatches(
  source: Source,
  format: SendFormat | null,
  size: BatchSize,
): AsyncGenerator<Batch> {
  const chunks = source.open()[Symbol.asyncIterator]();
  let splitter: Splitter | null = null;
  let kind: SendFormat = format ?? "ndjson";
  let index = 0;
  let waiting: SourceRecord[] = [];
  let waitingBytes = 0;
  const flush = (): Batch => {
    const batch = assemble(index++, waiting, kind, splitter?.prefix ?? new Uint8Array(0));
    waiting = [];
    waitingBytes = 0;
    return batch;
  };
  const take = function* (records: readonly SourceRecord[]): Generator<Batch> {
    for (const record of records) {
      waiting.push(record);
      waitingBytes += record.bytes.length;
      if (waiting.length >= size.records || waitingBytes >= size.bytes) yield flush();
    }
  };
  let next = chunks.next();
  while (true) {
    if (source.isLive && waiting.length > 0 && !(await isSoon(next))) yield flush();
    const { done, value } = await next;
    if (done) break;
    next = chunks.next();
    // A rejection is met where it is awaited, not while a batch is on its way.
    next.catch(() => {});
    if (splitter === null) {
      kind = format ?? sniffFormat(value, source.label);
      splitter = createSplitter(kind);
    }
    yield* take(splitter.push(value));
  }
  if (splitter !== null) yield* take(splitter.end());
  if (waiting.length > 0) yield flush();
}

function assemble(
  index: number,
  records: readonly SourceRecord[],
  format: SendFormat,
  prefix: Uint8Array,
): Batch {
  const parts = records.map(({ bytes }) => bytes);
  return {
    index,
    contentType: format === "csv" ? "text/csv" : "application/x-ndjson",
    body: new Uint8Array(Buffer.concat([prefix, ...parts])),
    records: records.length,
    sourceBytes: parts.reduce((sum, bytes) => sum + bytes.length, 0),
    lines: records.map(({ line }) => line),
    headerLines: prefix.length === 0 ? 0 : 1,
  };
}

async function isSoon(next: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const wait = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), LIVE_WAIT_MS);
  });
  try {
    return await Promise.race([next.then(() => true), wait]);
  } finally {
    clearTimeout(timer);
  }
}
