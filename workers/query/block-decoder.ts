import {
  type BatchHandle,
  type BatchReader,
  decodeBlock,
  disposeBatch,
  emptyBatch,
  encodeBatch,
  newBatch,
  readColumns,
  readHeader,
  reserveRows,
  resetBatch,
} from "../core/codec.ts";
import { decodeOnly } from "../core/decode-columns.ts";
import {
  addToDownsampler,
  createDownsampler,
  type DownsamplerHandle,
  disposeDownsampler,
  writeAggregates,
} from "../core/downsampler.ts";
import { keysOf } from "../core/key-filter.ts";
import { type CoreModule, instantiateCore } from "../core/module.ts";
import { MillraceError } from "../errors.ts";
import type { StoredBlock } from "../messages.ts";
import { release } from "../move.ts";
import { fieldsOf } from "../schema.ts";
import type { Codec } from "../zstd.ts";
import type { Downsampling, TakenBlocks } from "./tasks.ts";

/** WASM memory only grows: after a block that needed more than this, the core is exchanged for a new one. */
const KEPT_MEMORY_BYTES = 64 * 1024 * 1024;
/** Merged blocks are written once and read often; made in the background. */
const MERGED_ZSTD_LEVEL = 3;
/** As a batch of the core may have. More is damage to a count: room is made for all before the first block is read. */
const MOST_MERGED_EVENTS = 1 << 23;
/** The filter of a block's keys takes at most this part of what the block does. */
const MAX_KEYS_SHARE = 16;

export type OpenedBlock =
  | { readonly kind: "rows"; readonly rows: BatchReader }
  | { readonly kind: "unreadable"; readonly code: string; readonly message: string };

/** Aggregates in the making, in this decoder's core. */
interface OwnDownsampling extends Downsampling {
  readonly handle: DownsamplerHandle;
  /** Of the block at hand. Texts keep their ids from one block to the next of the same columns. */
  readonly batch: BatchHandle;
  schemaId: number | null;
  /** The aggregates as rows, once all blocks are there. */
  written: BatchHandle | null;
}

/** Decodes stored blocks, one at a time, into one batch: what was opened before is gone. */
export class BlockDecoder {
  readonly #codec: Codec;
  #core: CoreModule;
  #batch: BatchHandle;
  #downsampling: OwnDownsampling | null = null;

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
    } catch (cause) {
      if (!(cause instanceof MillraceError)) this.#renew();
      throw cause;
    } finally {
      this.#reset();
    }
  }

  /** Begins a block of aggregates of the events of several blocks; one that was begun before is given up. */
  beginDownsampling(task: Downsampling): void {
    this.#giveUpDownsampling();
    this.#reset();
    const handle = createDownsampler(this.#core, task.keyFields, task.resolutionUs);
    this.#downsampling = { ...task, handle, batch: newBatch(this.#core), schemaId: null, written: null };
  }

  /**
   * Takes in the next blocks, in the order of their seqs, or the first of them: until more would take too much memory. Other blocks
   * may be opened or merged between two calls.
   * @throws MillraceError when one of them cannot be read; then it is given up.
   */
  addToDownsampling(blocks: readonly StoredBlock[]): TakenBlocks {
    return this.#downsample((task) => {
      let taken = 0;
      let isFull = false;
      for (const block of blocks) {
        if (isFull) break;
        this.#unpack(block, (bytes) => this.#decodeNumbers(bytes, task));
        isFull = addToDownsampler(this.#core, task.handle, task.batch);
        taken++;
      }
      return { taken, isFull };
    });
  }

  /** No block follows: the aggregates become rows, which are encoded by the next step. */
  writeDownsampling(): void {
    this.#downsample((task) => {
      task.written ??= writeAggregates(this.#core, task.handle);
    });
  }

  /**
   * The block of the aggregates that are written; nothing of them is held from then on.
   * @throws MillraceError E_DOWNSAMPLE when a field of the key is named as a column of aggregates is
   */
  endDownsampling(): StoredBlock {
    const made = this.#downsample(({ written, stream }) => {
      if (written === null) throw new MillraceError("E_DOWNSAMPLE", "aggregates were not written yet");
      return this.#store(encodeBatch(this.#core, written, { stream }));
    });
    this.#giveUpDownsampling();
    this.#reset();
    const fields = fieldsOf(made.schema);
    if (new Set(fields.map(({ name }) => name)).size < fields.length)
      throw new MillraceError(
        "E_DOWNSAMPLE",
        "aggregates and the key have fields of the same name: the events stay",
      );
    return made;
  }

  #giveUpDownsampling(): void {
    if (this.#downsampling === null) return;
    const { handle, batch, written } = this.#downsampling;
    disposeDownsampler(this.#core, handle);
    disposeBatch(this.#core, batch);
    if (written !== null) disposeBatch(this.#core, written);
    this.#downsampling = null;
  }

  /** The columns of numbers and of the key. */
  #decodeNumbers(bytes: Uint8Array, task: OwnDownsampling): void {
    const { schemaId, schema } = readHeader(bytes);
    // Columns of other types would make them wider, and their values other ones.
    if (schemaId === task.schemaId) emptyBatch(this.#core, task.batch);
    else resetBatch(this.#core, task.batch);
    task.schemaId = schemaId;
    const numbers = schema.flatMap(({ name, type }) => (type === "int" || type === "float" ? [name] : []));
    decodeOnly(this.#core, bytes, task.batch, [...task.keyFields, ...numbers]);
  }

  #downsample<T>(step: (task: OwnDownsampling) => T): T {
    if (this.#downsampling === null)
      throw new MillraceError("E_DOWNSAMPLE_LOST", "aggregates in the making were lost");
    try {
      return step(this.#downsampling);
    } catch (cause) {
      if (cause instanceof MillraceError) {
        this.#giveUpDownsampling();
        this.#reset();
        // Whatever stands in a core that has stopped is not to be trusted.
      } else this.#renew();
      throw cause;
    }
  }

  #merge(blocks: readonly StoredBlock[], stream: string): StoredBlock {
    this.#reset();
    const expected = blocks.reduce((sum, { count }) => sum + count, 0);
    if (expected > MOST_MERGED_EVENTS)
      throw new MillraceError(
        "E_MERGE",
        `${blocks.length} blocks of stream ${stream} are said to hold ${expected} events together; they stay apart`,
      );
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
    this.#unpack(block, (bytes) => decodeBlock(this.#core, bytes, this.#batch));
  }

  #unpack(block: StoredBlock, use: (bytes: Uint8Array) => void): void {
    const bytes =
      block.codec === "zstd" ? this.#codec.decompress(block.data, block.encodedBytes) : block.data;
    use(bytes);
    if (bytes !== block.data) release(bytes.buffer);
  }

  #reset(): void {
    if (this.memoryBytes > KEPT_MEMORY_BYTES && this.#downsampling === null) this.#renew();
    else resetBatch(this.#core, this.#batch);
  }

  #renew(): void {
    this.#downsampling = null;
    this.#core = instantiateCore();
    this.#batch = newBatch(this.#core);
  }
}
