import { type BatchHandle, decodeBlock, encodeOrdered, newBatch, resetBatch } from "../core/codec.ts";
import { type CoreModule, instantiateCore } from "../core/module.ts";
import { MillraceError } from "../errors.ts";
import { release } from "../move.ts";
import type { Codec } from "../zstd.ts";
import type { BatchItem, BlockItem } from "./batch.ts";
import { blockDigest } from "./block-digest.ts";
import { MAX_MERGED_PARTS, MAX_MERGED_ROWS, type MergedBlocks } from "./merged-blocks.ts";
import type { TimeCredit } from "./time-credit.ts";

/** Fewer rows are not worth their while. */
const MIN_MERGED_ROWS = 256;
/** The form that did better last time is taken for so many merges before both are tried again. */
const TRUSTED_MERGES = 16;
const ZSTD_LEVEL = 1;
/** WASM memory only grows: beyond this the core is exchanged for a new one. */
const KEPT_MEMORY_BYTES = 64 * 1024 * 1024;

/** How a stream's rows came out smaller: in the order they came, or ordered by time and key. */
interface Preference {
  readonly isOrdered: boolean;
  left: number;
}

export interface Merged {
  /** What stays as it was. */
  readonly items: readonly BatchItem[];
  readonly merged: readonly MergedBlocks[];
}

/** Makes one block of several of a stream, for the wire. Cost: 200 to 300 ns an event. */
export class BlockMerger {
  readonly #codec: Codec;
  readonly #preferences = new Map<string, Preference>();
  #core: CoreModule = instantiateCore();
  #batch: BatchHandle = newBatch(this.#core);

  constructor(codec: Codec) {
    this.#codec = codec;
  }

  /**
   * Merges blocks of the same stream, as long as there is credit (null: without end). What cannot be read stays as it is, for the
   * hub to say so.
   */
  merge(items: readonly BatchItem[], credit: TimeCredit | null): Merged {
    const left: BatchItem[] = [];
    const merged: MergedBlocks[] = [];
    for (const group of groupsOf(items)) {
      const whole = isWorthMerging(group) ? this.#mergeFor(credit, group) : null;
      if (whole === null) left.push(...group);
      else merged.push(whole);
    }
    return { items: [...left, ...items.filter(({ kind }) => kind !== "block")], merged };
  }

  #mergeFor(credit: TimeCredit | null, blocks: readonly BlockItem[]): MergedBlocks | null {
    if (credit === null) return this.#merge(blocks);
    return credit.isLeft ? credit.spend(() => this.#merge(blocks)) : null;
  }

  #merge(blocks: readonly BlockItem[]): MergedBlocks | null {
    const { stream, resolutionUs } = blocks[0]!;
    try {
      this.#reset();
      for (const { codec, data, encodedBytes } of blocks) {
        const inflated = codec === "zstd" ? this.#codec.decompress(data, encodedBytes) : null;
        decodeBlock(this.#core, inflated ?? data, this.#batch);
        if (inflated !== null) release(inflated.buffer);
      }
    } catch (cause) {
      this.#renew();
      if (cause instanceof MillraceError) return null;
      throw cause;
    }
    const encoded = this.#encode(
      stream,
      blocks.map(({ count }) => count),
    );
    const packed = this.#codec.compress(encoded, ZSTD_LEVEL);
    const isSmaller = packed.length < encoded.length;
    const data = isSmaller ? packed : encoded;
    if (data.length >= blocks.reduce((sum, block) => sum + block.data.length, 0)) return null;
    return {
      stream,
      resolutionUs,
      codec: isSmaller ? "zstd" : "none",
      encodedBytes: encoded.length,
      parts: blocks.map((block) => ({
        id: block.id,
        arrivalUs: block.arrivalUs,
        count: block.count,
        digest: blockDigest(block.data),
      })),
      data,
    };
  }

  /** In the smaller of two forms. */
  #encode(stream: string, counts: readonly number[]): Uint8Array<ArrayBuffer> {
    const known = this.#preferences.get(stream);
    if (known !== undefined && known.left > 0) {
      known.left--;
      return encodeOrdered(this.#core, this.#batch, stream, known.isOrdered ? counts : []);
    }
    const ordered = encodeOrdered(this.#core, this.#batch, stream, counts);
    const plain = encodeOrdered(this.#core, this.#batch, stream, []);
    const isOrdered = ordered.length < plain.length;
    this.#preferences.set(stream, { isOrdered, left: TRUSTED_MERGES });
    return isOrdered ? ordered : plain;
  }

  #reset(): void {
    if (this.#core.memory.buffer.byteLength > KEPT_MEMORY_BYTES) this.#renew();
    else resetBatch(this.#core, this.#batch);
  }

  #renew(): void {
    this.#core = instantiateCore();
    this.#batch = newBatch(this.#core);
  }
}

function isWorthMerging(group: readonly BlockItem[]): boolean {
  return group.reduce((sum, { count }) => sum + count, 0) >= MIN_MERGED_ROWS;
}

/** The blocks by stream, in runs of what one merged block may hold. */
function groupsOf(items: readonly BatchItem[]): readonly (readonly BlockItem[])[] {
  const open = new Map<string, { blocks: BlockItem[]; rows: number }>();
  const groups: BlockItem[][] = [];
  for (const item of items) {
    if (item.kind !== "block") continue;
    const name = `${item.resolutionUs} ${item.stream}`;
    let group = open.get(name);
    const fits =
      group !== undefined &&
      group.blocks.length < MAX_MERGED_PARTS &&
      group.rows + item.count <= MAX_MERGED_ROWS;
    if (group === undefined || !fits) {
      group = { blocks: [], rows: 0 };
      open.set(name, group);
      groups.push(group.blocks);
    }
    group.blocks.push(item);
    group.rows += item.count;
  }
  return groups;
}
