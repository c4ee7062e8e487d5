import { MillraceError } from "../errors.ts";
import { release, releaseBytes } from "../move.ts";
import type { Codec } from "../zstd.ts";
import { rawFrameBytes, writeRawFrame } from "../zstd-frame.ts";
import type { Batch, BatchHeader, BatchItem, RowsKind } from "./batch.ts";
import { BATCH_VERSION } from "./batch-version.ts";
import { crc32c } from "./crc32c.ts";
import { readBlockMeta, readHeader, readRowsMeta } from "./frame-meta.ts";
import { type MergedBlocks, mergedMeta, readMergedMeta } from "./merged-blocks.ts";

/** The batch on the wire, as docs/sync-protocol.md specifies it: frames between a head and a checksum, in zstd. */

export type BatchErrorCode =
  | "E_BATCH_MAGIC"
  | "E_BATCH_VERSION"
  | "E_BATCH_TRUNCATED"
  | "E_BATCH_CHECKSUM"
  | "E_BATCH_CORRUPT"
  | "E_BATCH_TOO_LARGE";

const EXPLANATIONS: Readonly<Record<BatchErrorCode, string>> = {
  E_BATCH_MAGIC: "this is no batch: its content does not begin with MRSB",
  E_BATCH_VERSION: "the batch was written by a later release; bring the hub to that release first",
  E_BATCH_TRUNCATED: "the batch is cut off: it ends before its checksum",
  E_BATCH_CHECKSUM: "the batch is damaged: its CRC-32C does not match",
  E_BATCH_CORRUPT: "the batch's content contradicts itself",
  E_BATCH_TOO_LARGE: "the batch holds more than is taken at once; send smaller ones",
};

/** A batch cannot be read. */
export class BatchError extends MillraceError {
  constructor(code: BatchErrorCode, detail?: string) {
    super(code, detail === undefined ? EXPLANATIONS[code] : `${EXPLANATIONS[code]} (${detail})`);
    this.name = "BatchError";
  }
}

export interface BatchLimits {
  /** Of the content, once decompressed. */
  readonly maxContentBytes: number;
  /** The content is no more than so many times what came over the wire, beyond its first MiB. */
  readonly maxRatio: number;
  readonly maxItems: number;
}

export const DEFAULT_BATCH_LIMITS: BatchLimits = {
  maxContentBytes: 64 * 1024 * 1024,
  // Rows of results that differ in a number each come to about 100.
  maxRatio: 1_000,
  maxItems: 100_000,
};

/** "MRSB", little-endian */
const MAGIC = 0x4253524d;
/** A batch that holds attributes is of version 2, so that a hub which knows none keeps it waiting; others are of 1. */
const VERSION = 1;
const VERSION_WITH_ATTRIBUTES = 2;
/** One with merged blocks, of 3, is sent to hubs alone that have said they read it. */
const MERGED_VERSION = BATCH_VERSION;
const HEAD_BYTES = 8;
const FRAME_HEAD_BYTES = 5;
const META_LENGTH_BYTES = 4;
const CHECKSUM_BYTES = 4;
/** Below this a ratio says nothing: a few rows of text shrink as they like. */
const RATIO_FREE_BYTES = 1024 * 1024;
/** Blocks are compressed already, and rows come down well at any level. */
const ZSTD_LEVEL = 1;

const FRAME = {
  end: 0,
  header: 1,
  block: 2,
  results: 3,
  alerts: 4,
  losses: 5,
  attributes: 6,
  merged: 7,
} as const;
const ROWS_KINDS: ReadonlyMap<number, RowsKind> = new Map([
  [FRAME.results, "results"],
  [FRAME.alerts, "alerts"],
  [FRAME.losses, "losses"],
  [FRAME.attributes, "attributes"],
]);

const utf8 = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Blocks in zstd from this size on are not worth a second look by zstd. */
const MIN_RAW_BYTES = 8 * 1024;
/** A shorter piece between such blocks, which is a meta, goes with them. */
const MIN_PIECE_BYTES = 1024;

/**
 * The batch as it goes over the wire: frames of zstd, those of blocks that are compressed already as they are. Such a block is
 * copied once: what is sent is made beside ingest, which has other use for the memory's bandwidth.
 */
export function packBatch(codec: Codec, batch: Batch): Uint8Array<ArrayBuffer> {
  const pieces = piecesOf(layOut(batch)).map(({ parts, isRaw }) =>
    isRaw ? { parts, isRaw, bytes: rawFrameBytes(lengthOf(parts)) } : compressed(codec, parts),
  );
  const packed = new Uint8Array(pieces.reduce((sum, { bytes }) => sum + bytes, 0));
  let at = 0;
  for (const { parts, isRaw } of pieces) {
    if (isRaw) at = writeRawFrame(packed, at, parts);
    else {
      for (const part of parts) {
        packed.set(part, at);
        at += part.length;
        releaseBytes(part);
      }
    }
  }
  return packed;
}

function compressed(codec: Codec, parts: readonly Uint8Array[]) {
  const content = joined(parts);
  const frame = codec.compress(content, ZSTD_LEVEL);
  release(content.buffer);
  return { parts: [frame], isRaw: false, bytes: frame.length };
}

/** Of the content, one behind the other. */
interface Part {
  readonly bytes: Uint8Array;
  /** Whether zstd can do nothing about it. */
  readonly isPacked: boolean;
}

interface Piece {
  readonly parts: Uint8Array[];
  readonly isRaw: boolean;
}

/** The content from its beginning to its end, cut around what is packed. */
function piecesOf(content: readonly Part[]): Piece[] {
  const pieces: Piece[] = [];
  let between: Uint8Array[] = [];
  for (const { bytes, isPacked } of content) {
    if (!isPacked) {
      between.push(bytes);
      continue;
    }
    const before = pieces.at(-1);
    if (before !== undefined && lengthOf(between) < MIN_PIECE_BYTES) before.parts.push(...between, bytes);
    else {
      if (between.length > 0) pieces.push({ parts: between, isRaw: false });
      pieces.push({ parts: [bytes], isRaw: true });
    }
    between = [];
  }
  if (between.length > 0) pieces.push({ parts: between, isRaw: false });
  return pieces;
}

function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengthOf(parts));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** @throws BatchError, whatever the bytes are; E_ZSTD when it is the compression that is damaged */
export function unpackBatch(codec: Codec, bytes: Uint8Array, limits = DEFAULT_BATCH_LIMITS): Batch {
  const { maxContentBytes, maxRatio } = limits;
  const most = Math.min(maxContentBytes, Math.max(RATIO_FREE_BYTES, bytes.length * maxRatio));
  return decodeContent(decompress(codec, bytes, most), limits);
}

/** The content: what is in the zstd frame. */
export function encodeContent(batch: Batch): Uint8Array<ArrayBuffer> {
  return joined(layOut(batch).map(({ bytes }) => bytes));
}

function layOut({ header, items, merged = [] }: Batch): Part[] {
  const frames = [
    { kind: FRAME.header, meta: utf8.encode(JSON.stringify(header)), body: null, isPacked: false },
    ...merged.map(encodeMerged),
    ...items.map(encodeItem),
  ];
  const hasAttributes = items.some(({ kind }) => kind === "attributes");
  const version = hasAttributes ? VERSION_WITH_ATTRIBUTES : VERSION;
  const content: Part[] = [contentHead(merged.length === 0 ? version : MERGED_VERSION)];
  for (const frame of frames) {
    content.push(frameHead(frame));
    if (frame.body === null) continue;
    const isPacked = frame.isPacked && frame.body.length >= MIN_RAW_BYTES;
    content.push({ bytes: frame.body, isPacked });
  }
  const end = new Uint8Array(FRAME_HEAD_BYTES);
  const view = new DataView(end.buffer);
  view.setUint8(0, FRAME.end);
  view.setUint32(1, CHECKSUM_BYTES, true);
  content.push({ bytes: end, isPacked: false });
  const checksum = new Uint8Array(CHECKSUM_BYTES);
  const crc = content.reduce((sum, { bytes }) => crc32c(bytes, sum), 0);
  new DataView(checksum.buffer).setUint32(0, crc, true);
  return [...content, { bytes: checksum, isPacked: false }];
}

function contentHead(version: number): Part {
  const bytes = new Uint8Array(HEAD_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint8(4, version);
  return { bytes, isPacked: false };
}

/** All of a frame that stands in front of its body. */
function frameHead(frame: Frame): Part {
  const { kind, meta, body } = frame;
  const metaAt = FRAME_HEAD_BYTES + (body === null ? 0 : META_LENGTH_BYTES);
  const bytes = new Uint8Array(metaAt + meta.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, kind);
  view.setUint32(1, frameBytes(frame) - FRAME_HEAD_BYTES, true);
  if (body !== null) view.setUint32(FRAME_HEAD_BYTES, meta.length, true);
  bytes.set(meta, metaAt);
  return { bytes, isPacked: false };
}

/** Reads the content. Items are views of it. @throws BatchError */
export function decodeContent(content: Uint8Array, limits = DEFAULT_BATCH_LIMITS): Batch {
  checkEnds(content);
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const end = content.length - CHECKSUM_BYTES - FRAME_HEAD_BYTES;
  let header: BatchHeader | null = null;
  const items: BatchItem[] = [];
  const merged: MergedBlocks[] = [];
  let count = 0;
  let at = HEAD_BYTES;
  while (at < end) {
    if (at + FRAME_HEAD_BYTES > end) throw new BatchError("E_BATCH_CORRUPT", "a frame is cut off");
    const kind = view.getUint8(at);
    const length = view.getUint32(at + 1, true);
    at += FRAME_HEAD_BYTES;
    if (length > end - at) throw new BatchError("E_BATCH_CORRUPT", "a frame is longer than the batch");
    const payload = content.subarray(at, at + length);
    at += length;
    if (header === null) {
      if (kind !== FRAME.header) throw new BatchError("E_BATCH_CORRUPT", "it has no header");
      header = readHeader(parseMeta(payload), corrupt);
      continue;
    }
    const version = view.getUint8(4);
    if (kind === FRAME.attributes && version === VERSION)
      throw new BatchError("E_BATCH_CORRUPT", "attributes in a batch of version 1");
    if (kind === FRAME.merged && version === MERGED_VERSION) {
      const { meta, body } = splitPayload(payload);
      merged.push({ ...readMergedMeta(meta, corrupt), data: body });
      count += merged.at(-1)!.parts.length;
    } else {
      items.push(decodeItem(kind, payload));
      count++;
    }
    if (count > limits.maxItems)
      throw new BatchError("E_BATCH_TOO_LARGE", `more than ${limits.maxItems} items`);
  }
  if (header === null) throw new BatchError("E_BATCH_CORRUPT", "it has no header");
  return merged.length === 0 ? { header, items } : { header, items, merged };
}

function decompress(codec: Codec, bytes: Uint8Array, maxBytes: number): Uint8Array {
  try {
    return codec.decompress(bytes, maxBytes);
  } catch (cause) {
    if (cause instanceof MillraceError && cause.code === "E_TOO_LARGE")
      throw new BatchError("E_BATCH_TOO_LARGE", `${bytes.length} bytes hold more than ${maxBytes}`);
    throw cause;
  }
}

interface Frame {
  readonly kind: number;
  readonly meta: Uint8Array;
  /** null: the frame is its meta alone. */
  readonly body: Uint8Array | null;
  /** Whether its body is compressed already. */
  readonly isPacked: boolean;
}

function frameBytes({ meta, body }: Pick<Frame, "meta" | "body">): number {
  return FRAME_HEAD_BYTES + meta.length + (body === null ? 0 : META_LENGTH_BYTES + body.length);
}

function encodeMerged(merged: MergedBlocks): Frame {
  const meta = utf8.encode(JSON.stringify(mergedMeta(merged)));
  return { kind: FRAME.merged, meta, body: merged.data, isPacked: merged.codec === "zstd" };
}

function encodeItem(item: BatchItem): Frame {
  if (item.kind === "block") {
    const { kind: _kind, data, ...meta } = item;
    return {
      kind: FRAME.block,
      meta: utf8.encode(JSON.stringify(meta)),
      body: data,
      isPacked: item.codec === "zstd",
    };
  }
  const { kind, ndjson, ...meta } = item;
  return { kind: FRAME[kind], meta: utf8.encode(JSON.stringify(meta)), body: ndjson, isPacked: false };
}

function decodeItem(kind: number, payload: Uint8Array): BatchItem {
  const rowsKind = ROWS_KINDS.get(kind);
  if (kind !== FRAME.block && rowsKind === undefined)
    throw new BatchError("E_BATCH_CORRUPT", `a frame is of kind ${kind}`);
  const { meta, body } = splitPayload(payload);
  return rowsKind === undefined
    ? { kind: "block", ...readBlockMeta(meta, corrupt), data: body }
    : { kind: rowsKind, ...readRowsMeta(meta, corrupt), ndjson: body };
}

function splitPayload(payload: Uint8Array): { readonly meta: unknown; readonly body: Uint8Array } {
  if (payload.length < META_LENGTH_BYTES) throw new BatchError("E_BATCH_CORRUPT", "a frame has no meta");
  const metaBytes = new DataView(payload.buffer, payload.byteOffset).getUint32(0, true);
  if (metaBytes > payload.length - META_LENGTH_BYTES)
    throw new BatchError("E_BATCH_CORRUPT", "a frame's meta is longer than the frame");
  const bodyAt = META_LENGTH_BYTES + metaBytes;
  return { meta: parseMeta(payload.subarray(META_LENGTH_BYTES, bodyAt)), body: payload.subarray(bodyAt) };
}

/** Head and checksum: what is behind it can be trusted to be what was written, though not to make sense. */
function checkEnds(content: Uint8Array): void {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  if (content.length < 4 || view.getUint32(0, true) !== MAGIC) throw new BatchError("E_BATCH_MAGIC");
  if (content.length < HEAD_BYTES) throw new BatchError("E_BATCH_TRUNCATED");
  const version = view.getUint8(4);
  if (version < VERSION || version > BATCH_VERSION) throw new BatchError("E_BATCH_VERSION");
  const end = content.length - CHECKSUM_BYTES - FRAME_HEAD_BYTES;
  if (end < HEAD_BYTES) throw new BatchError("E_BATCH_TRUNCATED");
  if (view.getUint8(end) !== FRAME.end || view.getUint32(end + 1, true) !== CHECKSUM_BYTES)
    throw new BatchError("E_BATCH_TRUNCATED");
  const checked = content.subarray(0, content.length - CHECKSUM_BYTES);
  if (view.getUint32(checked.length, true) !== crc32c(checked)) throw new BatchError("E_BATCH_CHECKSUM");
}

function parseMeta(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(strict.decode(bytes)) as unknown;
  } catch {
    throw new BatchError("E_BATCH_CORRUPT", "a meta is no JSON");
  }
}

function corrupt(what: string): never {
  throw new BatchError("E_BATCH_CORRUPT", what);
}
