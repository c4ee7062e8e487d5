import { type BatchHandle, decodeBlock, newBatch, resetBatch } from "../core/codec.ts";
import { type CoreModule, instantiateCore } from "../core/module.ts";
import { batchTimeRange, setSkewed } from "../core/rows.ts";
import { MillraceError } from "../errors.ts";
import type { StoredBlock } from "../messages.ts";
import type { Codec } from "../zstd.ts";

/** A core with one batch, which holds the stored block that was opened last. */
export class StoredBatch {
  readonly core: CoreModule = instantiateCore();
  readonly batch: BatchHandle = newBatch(this.core);
  readonly #codec: Codec;

  constructor(codec: Codec) {
    this.#codec = codec;
  }

  /** @returns false when the block cannot be read. */
  open({ codec, data, encodedBytes }: StoredBlock): boolean {
    try {
      resetBatch(this.core, this.batch);
      decodeBlock(
        this.core,
        codec === "zstd" ? this.#codec.decompress(data, encodedBytes) : data,
        this.batch,
      );
      return true;
    } catch (cause) {
      if (cause instanceof MillraceError) return false;
      throw cause;
    }
  }

  /** Lets clock-skewed events count as others do. */
  unskew(): void {
    setSkewed(this.core, this.batch, new Uint8Array(batchTimeRange(this.core, this.batch).rows));
  }
}
