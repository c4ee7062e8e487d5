import {
  type BatchHandle,
  decodeBlock,
  encodeRange,
  newBatch,
  readHeader,
  resetBatch,
} from "../core/codec.ts";
import { type CoreModule, instantiateCore } from "../core/module.ts";
import { batchTimeRange } from "../core/rows.ts";
import { MillraceError } from "../errors.ts";
import type { BlockItem } from "../sync/batch.ts";
import { BatchError } from "../sync/batch-format.ts";
import type { MergedBlocks } from "../sync/merged-blocks.ts";
import type { Codec } from "../zstd.ts";

/** WASM memory only grows: beyond this the core is exchanged for a new one. */
const KEPT_MEMORY_BYTES = 64 * 1024 * 1024;

/** Takes blocks apart that an edge has merged for the wire. */
export class BlockSplitter {
  readonly #codec: Codec;
  #core: CoreModule = instantiateCore();
  #batch: BatchHandle = newBatch(this.#core);

  constructor(codec: Codec) {
    this.#codec = codec;
  }

  /**
   * The blocks, each with its events in the order they have in the merged one.
   * @throws BatchError, or MillraceError E_BAD_BLOCK when the merged block cannot be read
   */
  split(merged: MergedBlocks): BlockItem[] {
    const { stream, resolutionUs, parts } = merged;
    const rows = this.#decode(merged);
    if (rows !== parts.reduce((sum, { count }) => sum + count, 0))
      throw new BatchError("E_BATCH_CORRUPT", "merged blocks hold other counts than is said of them");
    let from = 0;
    return parts.map(({ id, arrivalUs, count, digest }) => {
      const data = encodeRange(this.#core, this.#batch, stream, { from, count });
      from += count;
      const { minUs, maxUs } = readHeader(data);
      return {
        kind: "block",
        id,
        stream,
        arrivalUs,
        count,
        minUs: Number(minUs),
        maxUs: Number(maxUs),
        codec: "none",
        encodedBytes: data.length,
        resolutionUs,
        data,
        digest,
      };
    });
  }

  #decode({ stream, codec, data, encodedBytes, parts }: MergedBlocks): number {
    try {
      if (this.#core.memory.buffer.byteLength > KEPT_MEMORY_BYTES) this.#renew();
      else resetBatch(this.#core, this.#batch);
      const bytes = codec === "zstd" ? this.#codec.decompress(data, encodedBytes) : data;
      decodeBlock(this.#core, bytes, this.#batch);
      return batchTimeRange(this.#core, this.#batch).rows;
    } catch (cause) {
      this.#renew();
      if (!(cause instanceof MillraceError)) throw cause;
      if (cause.code === "E_BLOCK_VERSION") throw new BatchError("E_BATCH_VERSION");
      const what = `blocks ${parts[0]!.id} to ${parts.at(-1)!.id} of stream ${stream}`;
      throw new MillraceError("E_BAD_BLOCK", `${what} cannot be taken: ${cause.message}`);
    }
  }

  #renew(): void {
    this.#core = instantiateCore();
    this.#batch = newBatch(this.#core);
  }
}
