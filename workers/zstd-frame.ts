/** Where frames and blocks lie in zstd data, by RFC 8878 §3.1: enough to know sizes before decompressing. */

/** One frame. A skippable frame has neither content nor blocks. */
export interface ZstdFrame {
  readonly bytes: Uint8Array;
  /** What the frame says its content takes, or null when it does not say. */
  readonly contentBytes: number | null;
  /** The content takes no more than this. */
  readonly maxContentBytes: number;
  /** How far back a reader must remember. */
  readonly windowBytes: number;
  readonly isSkippable: boolean;
  /** Where the content stands when the frame holds it as it is, without a checksum: views, in order. */
  readonly rawParts: readonly Uint8Array[] | null;
}

const MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const MAX_BLOCK_BYTES = 128 * 1024;
const BLOCK_RAW = 0;
const BLOCK_RLE = 1;
const BLOCK_RESERVED = 3;
const HAS_CHECKSUM = 4;
const CHECKSUM_BYTES = 4;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;

const NO_CONTENT = { contentBytes: 0, maxContentBytes: 0, windowBytes: 0, rawParts: null };

/** The frames of zstd data, or null when it is no zstd data or ends too early. */
export function splitFrames(bytes: Uint8Array): ZstdFrame[] | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frames: ZstdFrame[] = [];
  let at = 0;
  try {
    while (at < bytes.length) {
      const magic = view.getUint32(at, true);
      const isSkippable = (magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC;
      if (!isSkippable && magic !== MAGIC) return null;
      const { end, ...sizes } = isSkippable
        ? { end: at + 8 + view.getUint32(at + 4, true), ...NO_CONTENT }
        : measureFrame(bytes, view, at);
      if (end > bytes.length) return null;
      frames.push({ bytes: bytes.subarray(at, end), isSkippable, ...sizes });
      at = end;
    }
  } catch (cause) {
    // A DataView read beyond the end: the data is cut off.
    if (cause instanceof RangeError) return null;
    throw cause;
  }
  return frames;
}

/** 128 KiB: exponent 7, mantissa 0. */
const WINDOW_OF_A_BLOCK = 7 << 3;
/** No single segment, no checksum, the content's size in four bytes. */
const RAW_DESCRIPTOR = 2 << 6;
const RAW_HEAD_BYTES = 4 + 1 + 1 + 4;
const BLOCK_HEAD_BYTES = 3;

/** What `writeRawFrame` writes for so many bytes of content, of which there is at least one. */
export function rawFrameBytes(contentBytes: number): number {
  return RAW_HEAD_BYTES + Math.ceil(contentBytes / MAX_BLOCK_BYTES) * BLOCK_HEAD_BYTES + contentBytes;
}

/**
 * Writes a frame that holds bytes as they are (§3.1.1.2.2), for what is compressed already: those of the parts, one behind the other.
 * Costs a copy. @returns where it ends
 */
export function writeRawFrame(into: Uint8Array, start: number, parts: readonly Uint8Array[]): number {
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
  const contentBytes = parts.reduce((sum, part) => sum + part.length, 0);
  view.setUint32(start, MAGIC, true);
  view.setUint8(start + 4, RAW_DESCRIPTOR);
  view.setUint8(start + 5, WINDOW_OF_A_BLOCK);
  view.setUint32(start + 6, contentBytes, true);
  let [at, left, room] = [start + RAW_HEAD_BYTES, contentBytes, 0];
  for (const part of parts) {
    for (let from = 0; from < part.length; ) {
      if (room === 0) {
        room = Math.min(left, MAX_BLOCK_BYTES);
        const head = (room << 3) | (BLOCK_RAW << 1) | Number(room === left);
        view.setUint16(at, head & 0xffff, true);
        view.setUint8(at + 2, head >> 16);
        at += BLOCK_HEAD_BYTES;
        left -= room;
      }
      const piece = part.subarray(from, from + room);
      into.set(piece, at);
      at += piece.length;
      from += piece.length;
      room -= piece.length;
    }
  }
  return at;
}

function measureFrame(
  bytes: Uint8Array,
  view: DataView,
  start: number,
): Omit<ZstdFrame, "bytes" | "isSkippable"> & { readonly end: number } {
  const descriptor = view.getUint8(start + 4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  let at = start + 5 + (isSingleSegment ? 0 : 1) + (DICTIONARY_ID_BYTES[descriptor & 3] ?? 0);
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 2 ** sizeFlag;
  const contentBytes = readContentSize(view, at, sizeBytes);
  const windowBytes = isSingleSegment ? (contentBytes ?? 0) : readWindowSize(view.getUint8(start + 5));
  at += sizeBytes;
  let maxContentBytes = 0;
  let isLast = false;
  const rawParts: Uint8Array[] = [];
  let isRaw = (descriptor & HAS_CHECKSUM) === 0;
  while (!isLast) {
    const head = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    isLast = (head & 1) !== 0;
    const type = (head >> 1) & 3;
    const size = head >> 3;
    if (type === BLOCK_RESERVED) throw new RangeError("reserved block type");
    const end = at + BLOCK_HEAD_BYTES + (type === BLOCK_RLE ? 1 : size);
    isRaw &&= type === BLOCK_RAW;
    if (isRaw) rawParts.push(bytes.subarray(at + BLOCK_HEAD_BYTES, end));
    at = end;
    maxContentBytes += type === BLOCK_RAW || type === BLOCK_RLE ? size : MAX_BLOCK_BYTES;
  }
  if (descriptor & HAS_CHECKSUM) at += CHECKSUM_BYTES;
  isRaw &&= contentBytes === maxContentBytes;
  return { end: at, contentBytes, maxContentBytes, windowBytes, rawParts: isRaw ? rawParts : null };
}

/** RFC 8878 §3.1.1.1.2 */
function readWindowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}

function readContentSize(view: DataView, at: number, sizeBytes: number): number | null {
  switch (sizeBytes) {
    case 1:
      return view.getUint8(at);
    case 2:
      return view.getUint16(at, true) + 256;
    case 4:
      return view.getUint32(at, true);
    case 8:
      return Number(view.getBigUint64(at, true));
    default:
      return null;
  }
}
