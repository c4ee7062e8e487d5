import { MillraceError } from "./errors.ts";
import { releaseBytes } from "./move.ts";
import { portableCodec } from "./zstd.ts";

/**
 * A checkpoint's pieces as they are stored: bytes that belong together are compressed and cut into frames, so that no row of
 * the store is large. A frame, little-endian: kind u8, 1 when another one follows for the same bytes u8, nothing u16, number
 * of the query in the head u32, length before compression u32 (0: not compressed); then the bytes.
 */
export type Frame = Uint8Array<ArrayBuffer>;

/** The head: everything but the records; or records of the windows of one query. */
export type FrameKind = "head" | "records";

const HEAD_BYTES = 12;
/** Not more than a commit takes beside senders' operations. */
const FRAME_BYTES = 256 * 1024;
const ZSTD_LEVEL = 1;
/** What one run of bytes may grow to. */
const MAX_BYTES = 2 ** 31 - 1;
const KINDS: readonly FrameKind[] = ["head", "records"];

const codec = await portableCodec();

/** `part`: of records, the number of their query in the head. The head is packed already. */
export function framesOf(kind: FrameKind, part: number, bytes: Uint8Array): Frame[] {
  const packed = kind === "head" ? bytes : codec.compress(bytes, ZSTD_LEVEL);
  const frames: Frame[] = [];
  for (let at = 0; at === 0 || at < packed.length; at += FRAME_BYTES) {
    const content = packed.subarray(at, at + FRAME_BYTES);
    const frame = new Uint8Array(HEAD_BYTES + content.length);
    const view = new DataView(frame.buffer);
    view.setUint8(0, KINDS.indexOf(kind));
    view.setUint8(1, at + FRAME_BYTES < packed.length ? 1 : 0);
    view.setUint32(4, part, true);
    view.setUint32(8, kind === "head" ? 0 : bytes.length, true);
    frame.set(content, HEAD_BYTES);
    frames.push(frame);
  }
  if (packed !== bytes) releaseBytes(packed);
  return frames;
}

export interface Framed {
  readonly kind: FrameKind;
  readonly part: number;
  readonly bytes: Uint8Array;
}

/** Puts frames together again, in the order in which they were made. */
export class FrameReader {
  #before: Uint8Array[] = [];

  /**
   * What has become whole by this frame; null while more of it is to come.
   * @throws E_CHECKPOINT_DAMAGED when it is no frame
   */
  push(frame: Uint8Array): Framed | null {
    const kind = frame.length < HEAD_BYTES ? undefined : KINDS[frame[0]!];
    if (kind === undefined)
      throw new MillraceError("E_CHECKPOINT_DAMAGED", "a piece of the checkpoint is damaged");
    this.#before.push(frame.subarray(HEAD_BYTES));
    if (frame[1] === 1) return null;
    const view = new DataView(frame.buffer, frame.byteOffset, HEAD_BYTES);
    const packed = this.#before.length === 1 ? this.#before[0]! : Buffer.concat(this.#before);
    this.#before = [];
    const length = Math.min(view.getUint32(8, true), MAX_BYTES);
    return {
      kind,
      part: view.getUint32(4, true),
      bytes: length === 0 ? packed : codec.decompress(packed, length),
    };
  }
}
