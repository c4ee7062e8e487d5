import {
  type BatchHandle,
  type BatchReader,
  decodeBlock,
  encodeBatch,
  newBatch,
  readColumns,
  readHeader,
  reserveRows,
  resetBatch,
} from "../core/codec.ts";
import { keysOf } from "../core/key-filter.ts";
import { type CoreModule, instantiateCore } from "../core/module.ts";
import { MillraceError } from "../errors.ts";
import type { StoredBlock } from "../messages.ts";
import { release } from "../move.ts";
import type { Codec } from "../zstd.ts";
import { Downsampler } from "./downsample.ts";
import type { DownsampleTask } from "./tasks.ts";

/** WASM memory only grows: after a block that needed more than this, the core is exchanged for a new one. */
const KEPT_MEMORY_BYTES = 64 * 1024 * 1024;
/** Merged blocks are written once and read often; made in the background. */
const MERGED_ZSTD_LEVEL = 3;
/** The filter of a block's keys takes at most this part of what the block does. */
const MAX_KEYS_SHARE = 16;

export type OpenedBlock =
  | { readonly kind: "rows"; readonly rows: BatchReader }
  | { readonly kind: "unreadable"; readonly code: string; readonly message: string };

/** Decodes stored blocks, one at a time, into one batch: what was opened before is gone. */
export class BlockDecoder {
  readonly #codec: Codec;
  #core: CoreModule;
  #batch: BatchHandle;

  constructor(codec: Codec) {
    this.#codec = codec;
    this.#core = instantiateCore();
    this.#batch = newBatch(this.#core);
  }

  /** The core's memory now. */
  get memoryBytes(): number {
    return this.#core.memory.buffer.byteLength;
  }

  /** The block's rows, valid until the next call; or why it cannot be read, which harms nothing else. */
  open(block: StoredBlock): OpenedBlock {
    try {
      this.#reset();
      this.#append(block);
      return { kind: "rows", rows: readColumns(this.#core, this.#batch) };
    } catch (cause) {
      if (cause instanceof MillraceError)
        return { kind: "unreadable", code: cause.code, message: cause.message };
      this.#renew();
      return { kind: "unreadable", code: "E_BLOCK_UNREADABLE", message: String(cause) };
    }
  }

  /**
   * One block with the rows of several, in their order. It is decoded again before it is given out: it will stand
   * in the place of blocks that are then deleted. Says also which keys it may hold in the fields.
   * @throws MillraceError when one of them cannot be read or together they are too large.
   */
  merge(blocks: readonly StoredBlock[], stream: string, keyFields: readonly string[] = []): StoredBlock {
    try {
      const merged = this.#merge(blocks, stream);
      if (keyFields.length === 0) return merged;
      // The batch holds the merged block alone.
      const keys = keysOf(this.#core, this.#batch, keyFields, merged.data.length / MAX_KEYS_SHARE);
      return keys === null ? merged : { ...merged, keys };
    } finally {
      this.#reset();
    }
  }

  /**
   * One block of aggregates of the events of several blocks (see `Downsampler`).
   * @throws MillraceError when one of them cannot be read
   */
  downsample(
    blocks: readonly StoredBlock[],
    { stream, keyFields, resolutionUs }: Omit<DownsampleTask, "blocks">,
  ): StoredBlock {
    const downsampler = new Downsampler(keyFields, resolutionUs);
    try {
      for (const block of blocks) {
        this.#reset();
        this.#append(block);
        downsampler.add(readColumns(this.#core, this.#batch));
      }
      return this.#store(encodeBatch(this.#core, downsampler.write(this.#core), { stream }));
    } finally {
      // With the batch that was built: nothing else frees it.
      this.#renew();
    }
  }

  #merge(blocks: readonly StoredBlock[], stream: string): StoredBlock {
    this.#reset();
    const expected = blocks.reduce((sum, { count }) => sum + count, 0);
    reserveRows(this.#core, this.#batch, expected);
    for (const block of blocks) this.#append(block);
    const encoded = encodeBatch(this.#core, this.#batch, { stream });
    const merged = this.#store(encoded);
    this.#reset();
    this.#append(merged);
    const { rows } = readColumns(this.#core, this.#batch);
    if (rows !== expected || merged.count !== expected) {
      throw new MillraceError(
        "E_MERGE",
        `${blocks.length} blocks of stream ${stream} with ${expected} events became one of ${rows}; they stay apart`,
      );
    }
    return merged;
  }

  #store(encoded: Uint8Array<ArrayBuffer>): StoredBlock {
    const { count, minUs, maxUs, schema } = readHeader(encoded);
    const encodedBytes = encoded.length;
    const packed = this.#codec.compress(encoded, MERGED_ZSTD_LEVEL);
    const isSmaller = packed.length < encoded.length;
    release((isSmaller ? encoded : packed).buffer);
    return {
      data: isSmaller ? packed : encoded,
      codec: isSmaller ? "zstd" : "none",
      encodedBytes,
      count,
      minUs: Number(minUs),
      maxUs: Number(maxUs),
      schema,
    };
  }

  #append(block: StoredBlock): void {
    const bytes =
      block.codec === "zstd" ? this.#codec.decompress(block.data, block.encodedBytes) : block.data;
    decodeBlock(this.#core, bytes, this.#batch);
    if (bytes !== block.data) release(bytes.buffer);
  }

  #reset(): void {
    if (this.memoryBytes > KEPT_MEMORY_BYTES) this.#renew();
    else resetBatch(this.#core, this.#batch);
  }

  #renew(): void {
    this.#core = instantiateCore();
    this.#batch = newBatch(this.#core);
  }
}
