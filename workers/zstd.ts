import * as zlib from "node:zlib";
import type { ZstdBinding, ZstdSimple, ZstdStreaming } from "zstd-codec";
import { MillraceError } from "./errors.ts";
import { release } from "./move.ts";
import { splitFrames, type ZstdFrame } from "./zstd-frame.ts";

/**
 * Compression around blocks, bodies and snapshots. Both implementations write and read standard zstd frames. What they make has a
 * buffer to itself, so that `release(made.buffer)` gives its memory back; it is no `Buffer`, whose `slice` would go with it.
 */
export interface Codec {
  readonly name: "node:zlib" | "zstd-codec";
  /** `level` 1 (fast) … 19 (small). All of its buffer. */
  compress(bytes: Uint8Array, level: number): Uint8Array<ArrayBuffer>;
  /**
   * Never makes more than `maxBytes`, whatever the data claims. The buffer may be longer than what is in it.
   * @throws MillraceError E_TOO_LARGE when there would be more, E_ZSTD when the data is damaged.
   */
  decompress(bytes: Uint8Array, maxBytes: number): Uint8Array<ArrayBuffer>;
}

let portable: Promise<Codec> | null = null;

/** `node:zlib`'s zstd where this Node has it (22.15 and later), else the WebAssembly one. */
export async function portableCodec(): Promise<Codec> {
  portable ??= typeof zlib.zstdCompressSync === "function" ? Promise.resolve(nativeCodec()) : wasmCodec();
  return portable;
}

/** zstd as part of Node itself. */
export function nativeCodec(): Codec {
  return {
    name: "node:zlib",
    compress: (bytes, level) => {
      const packed = zlib.zstdCompressSync(bytes, {
        params: { [zlib.constants.ZSTD_c_compressionLevel]: level },
        chunkSize: Math.max(mostCompressed(bytes.length), OWN_BUFFER_BYTES),
      });
      // It is a small part of the room that was made for it.
      const exact = joined([packed]);
      if (exact.buffer !== packed.buffer) release(packed.buffer);
      return exact;
    },
    decompress: (bytes, maxBytes) => {
      // Node stops after one frame and says nothing of what follows: so each is given to it by itself.
      let left = maxBytes;
      const made: Uint8Array<ArrayBuffer>[] = [];
      const parts = contentFrames(bytes).flatMap((frame) => {
        if (frame.maxContentBytes <= left && frame.rawParts !== null) {
          // What stands in the data as it is needs no call.
          left -= frame.maxContentBytes;
          return frame.rawParts;
        }
        const content = decompressNative(frame, left, maxBytes);
        left -= content.length;
        made.push(content);
        return [content];
      });
      const [only] = made;
      if (parts.length === 1 && only !== undefined && only.length >= only.buffer.byteLength / 2)
        return new Uint8Array(only.buffer, only.byteOffset, only.length);
      const whole = joined(parts);
      for (const { buffer } of made) if (buffer !== whole.buffer) release(buffer);
      return whole;
    },
  };
}

/** Room for a frame that does not tell its size; more of it is made as often as needed. */
const CHUNK_BYTES = 16 * 1024;
/** Node cuts what is smaller from a pool, all of which stays as long as one piece of it does. */
const OWN_BUFFER_BYTES = Buffer.poolSize >>> 1;

/** As `ZSTD_COMPRESSBOUND` has it, and a byte more: Node makes a second chunk when the first is full. */
function mostCompressed(bytes: number): number {
  return bytes + (bytes >>> 8) + 64 + 1;
}

function decompressNative(frame: ZstdFrame, leftBytes: number, maxBytes: number): Uint8Array<ArrayBuffer> {
  try {
    // What a frame says of its content may be a lie; no more than its blocks can hold is believed.
    const told = Math.min(frame.contentBytes ?? CHUNK_BYTES, frame.maxContentBytes, leftBytes);
    // Node takes no limit of 0; one byte is let through and then found to be too much.
    const content = zlib.zstdDecompressSync(frame.bytes, {
      maxOutputLength: Math.max(leftBytes, 1),
      // In one piece it is half the work. The byte more is for the second chunk that Node makes when the first is full.
      chunkSize: Math.max(told + 1, OWN_BUFFER_BYTES),
    });
    if (content.length > leftBytes) throw tooLarge(maxBytes);
    return content;
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause;
    if (cause instanceof Error && "code" in cause && cause.code === "ERR_BUFFER_TOO_LARGE")
      throw tooLarge(maxBytes);
    throw damaged(cause);
  }
}

/** The frames with content; at least one frame must be there. */
function contentFrames(bytes: Uint8Array): ZstdFrame[] {
  const frames = splitFrames(bytes);
  if (frames === null || frames.length === 0) throw damaged();
  return frames.filter((frame) => !frame.isSkippable);
}

/** The WebAssembly zstd lives in 16 MiB and dies for good when they do not suffice: so it gets what surely fits. */
const WASM_FRAME_BYTES = 2 ** 20;
const WASM_MAX_LEVEL = 9;
const WASM_MAX_WINDOW_BYTES = 8 * 2 ** 20;
const WASM_INPUT_BYTES = 64 * 2 ** 10;

/**
 * zstd compiled to WebAssembly, for a Node without its own. Compresses to frames of 1 MiB at levels up to 9 (higher
 * ones count as 9) and reads windows up to 8 MiB, which is every level up to 19.
 */
export async function wasmCodec(): Promise<Codec> {
  const { ZstdCodec } = (await import("zstd-codec")).default;
  const binding = await new Promise<ZstdBinding>((resolve) => ZstdCodec.run(resolve));
  const simple = new binding.Simple();
  const streaming = new binding.Streaming();
  return {
    name: "zstd-codec",
    compress: (bytes, level) =>
      joined(slices(bytes, WASM_FRAME_BYTES).map((slice) => compressFrame(simple, slice, level))),
    decompress: (bytes, maxBytes) => {
      const frames = contentFrames(bytes);
      refuseLarge(frames, maxBytes);
      const whole = joined(frames.map((frame) => decompressFrame(streaming, frame)));
      if (whole.length > maxBytes) throw tooLarge(maxBytes);
      return whole;
    },
  };
}

/** At least one slice, be it empty. */
function slices(bytes: Uint8Array, sliceBytes: number): Uint8Array[] {
  const count = Math.max(1, Math.ceil(bytes.length / sliceBytes));
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * sliceBytes, (i + 1) * sliceBytes));
}

/** All parts, one after the other, in a buffer of just that length: a part's own when there is one. */
function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const [only] = parts;
  if (parts.length === 1 && only?.buffer instanceof ArrayBuffer && only.buffer.byteLength === only.length)
    return new Uint8Array(only.buffer);
  const whole = Buffer.allocUnsafeSlow(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return new Uint8Array(whole.buffer);
}

function compressFrame(simple: ZstdSimple, bytes: Uint8Array, level: number): Uint8Array {
  const packed = simple.compress(bytes, Math.min(level, WASM_MAX_LEVEL));
  if (packed === null) throw new MillraceError("E_ZSTD", `zstd could not compress ${bytes.length} bytes`);
  return packed;
}

/**
 * Frames that do not tell their size are bounded by their blocks, which may be shorter than they could be: such data
 * is decompressed when the bound is within this multiple, and measured then.
 */
const UNTOLD_SIZE_ALLOWANCE = 4;

function refuseLarge(frames: readonly ZstdFrame[], maxBytes: number): void {
  let told = 0;
  let bound = 0;
  for (const { contentBytes, maxContentBytes } of frames) {
    if (contentBytes === null) bound += maxContentBytes;
    else told += contentBytes;
  }
  if (told > maxBytes || told + bound > maxBytes * UNTOLD_SIZE_ALLOWANCE + 2 ** 20) throw tooLarge(maxBytes);
}

function decompressFrame(streaming: ZstdStreaming, frame: ZstdFrame): Uint8Array {
  const { bytes, contentBytes, maxContentBytes, windowBytes } = frame;
  if (contentBytes === 0) return new Uint8Array(0);
  // A frame that claims more than its blocks can hold must not make room for it.
  if (contentBytes !== null && contentBytes > maxContentBytes) throw damaged();
  if (windowBytes > WASM_MAX_WINDOW_BYTES) {
    throw new MillraceError(
      "E_ZSTD",
      `the zstd data needs a window of ${windowBytes} bytes, ${WASM_MAX_WINDOW_BYTES} are possible; compress at a level up to 19`,
    );
  }
  const content = streaming.decompressChunks(
    slices(bytes, WASM_INPUT_BYTES),
    contentBytes ?? maxContentBytes,
  );
  if (content === null || (contentBytes !== null && content.length !== contentBytes)) throw damaged();
  return content;
}

function tooLarge(maxBytes: number): MillraceError {
  return new MillraceError("E_TOO_LARGE", `the zstd data holds more than the ${maxBytes} bytes allowed`);
}

function damaged(cause?: unknown): MillraceError {
  return new MillraceError("E_ZSTD", "the zstd data is damaged or cut off", { cause });
}
