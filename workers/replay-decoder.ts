import type { BlockHeader } from "./core/block-header.ts";
import { type BatchHandle, decodeBlock, emptyBatch, newBatch, readHeader, resetBatch } from "./core/codec.ts";
import { decodeOnly } from "./core/decode-columns.ts";
import type { CoreModule } from "./core/module.ts";
import type { StoredBlock } from "./messages.ts";
import { release } from "./move.ts";

/** The columns of a block, with the stream's name in front: equal bytes say equal columns in the same order. */
interface Columns {
  readonly count: number;
  readonly names: Uint8Array;
  /** Those that are decoded; null: all of them. */
  readonly fields: readonly string[] | null;
}

/**
 * Decodes blocks of the log into a batch, which is the same for all. Blocks with the columns of the one before find the texts
 * that it had: these are not interned again, and the window thread knows keys by them.
 */
export class ReplayDecoder {
  readonly #core: CoreModule;
  readonly batch: BatchHandle;
  /** Those of the batch; null: they may be any. */
  #columns: Columns | null = null;

  constructor(core: CoreModule) {
    this.#core = core;
    this.batch = newBatch(core);
  }

  /**
   * The batch of a block. `fields`: those to decode, the others are not in it; null: all of them.
   * @throws BlockError when it is damaged
   */
  decode(bytes: Uint8Array, fields: readonly string[] | null): BatchHandle {
    const columns = columnsOf(bytes, readHeader(bytes), fields);
    this.#empty(columns);
    this.#append(bytes, fields);
    this.#columns = columns;
    return this.batch;
  }

  /**
   * The batch of blocks that follow one another, one after the other. What it comes to is what the blocks come to one by one, for
   * all have the same columns, so that none is widened: numbers beside texts would be texts. null when a block does not go with the others, or is not what was told of it.
   * @throws BlockError when one is damaged, or they are too large together
   */
  decodeRun(
    blocks: readonly StoredBlock[],
    inflate: (block: StoredBlock) => Uint8Array<ArrayBuffer>,
    fields: readonly string[] | null,
  ): BatchHandle | null {
    let columns: Columns | null = null;
    for (const block of blocks) {
      const bytes = inflate(block);
      const head = readHeader(bytes);
      const own = columnsOf(bytes, head, fields);
      if (!isAsTold(head, block) || (columns !== null && !isEqual(columns, own))) return null;
      if (columns === null) this.#empty(own);
      columns ??= own;
      this.#append(bytes, fields);
      this.#columns = columns;
      if (bytes !== block.data) release(bytes.buffer);
    }
    return this.batch;
  }

  #empty(columns: Columns): void {
    if (this.#columns !== null && isEqual(this.#columns, columns)) emptyBatch(this.#core, this.batch);
    else resetBatch(this.#core, this.batch);
    this.#columns = null;
  }

  /** Unless it fails, the batch then has the block's columns: on failure it may have others. */
  #append(bytes: Uint8Array, fields: readonly string[] | null): void {
    this.#columns = null;
    if (fields === null) decodeBlock(this.#core, bytes, this.batch);
    else decodeOnly(this.#core, bytes, this.batch, fields);
  }
}

function columnsOf(
  bytes: Uint8Array,
  { columns, namesAt, namesEnd }: BlockHeader,
  fields: Columns["fields"],
): Columns {
  return { count: columns, names: bytes.slice(namesAt, namesEnd), fields };
}

function isEqual(a: Columns, b: Columns): boolean {
  return a.fields === b.fields && a.count === b.count && Buffer.compare(a.names, b.names) === 0;
}

function isAsTold(head: BlockHeader, { count, minUs, maxUs }: StoredBlock): boolean {
  return head.count === count && head.minUs === BigInt(minUs) && head.maxUs === BigInt(maxUs);
}
