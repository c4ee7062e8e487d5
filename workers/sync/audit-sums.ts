import { type BatchHandle, decodeBlock, newBatch, resetBatch } from "../core/codec.ts";
import { addHashes, type HourSum, NO_HASH, sumEvents } from "../core/event-sums.ts";
import { type CoreModule, instantiateCore } from "../core/module.ts";
import type { Codec } from "../zstd.ts";
import type { BlockItem } from "./batch.ts";

/** What the events of a stream in an hour come to: at an edge those that a sink has, at a hub those that are held. */
export interface StreamSum extends HourSum {
  readonly stream: string;
  /** Above 0: of aggregates of so long a time each, which events became that had to go. */
  readonly resolutionUs: number;
}

/** As books have it. */
export interface BookedSum extends Omit<StreamSum, "hash"> {
  /** null: not known, as that of some events was booked by another version of the function, or not at all. */
  readonly hash: string | null;
}

/** Sums of any number of blocks, by stream, kind and hour. */
export class SumTable {
  readonly #sums = new Map<string, StreamSum>();

  add(stream: string, resolutionUs: number, sums: readonly HourSum[]): void {
    for (const { hourUs, count, hash } of sums) {
      const name = `${stream} ${resolutionUs} ${hourUs}`;
      const known = this.#sums.get(name) ?? { count: 0, hash: NO_HASH };
      const sum = { count: known.count + count, hash: addHashes(known.hash, hash) };
      this.#sums.set(name, { stream, resolutionUs, hourUs, ...sum });
    }
  }

  /** In the order of stream, hour and resolution. */
  list(): StreamSum[] {
    return [...this.#sums.values()].sort(compareSums);
  }
}

type SumPlace = Pick<StreamSum, "stream" | "hourUs" | "resolutionUs">;

export function compareSums(a: SumPlace, b: SumPlace): number {
  if (a.stream !== b.stream) return a.stream < b.stream ? -1 : 1;
  return a.hourUs - b.hourUs || a.resolutionUs - b.resolutionUs;
}

/** WASM memory only grows: after a block that needed more than this, the core is exchanged for a new one. */
const KEPT_MEMORY_BYTES = 64 * 1024 * 1024;

/** Sums up the events of stored blocks. Cost: decoding a block, and a pass over each of its columns. */
export class BlockSummer {
  readonly #codec: Codec;
  #core: CoreModule;
  #batch: BatchHandle;

  constructor(codec: Codec) {
    this.#codec = codec;
    this.#core = instantiateCore();
    this.#batch = newBatch(this.#core);
  }

  /** @throws MillraceError when the block cannot be read */
  sum({ codec, data, encodedBytes }: Pick<BlockItem, "codec" | "data" | "encodedBytes">): HourSum[] {
    if (this.#core.memory.buffer.byteLength > KEPT_MEMORY_BYTES) this.#renew();
    else resetBatch(this.#core, this.#batch);
    const bytes = codec === "zstd" ? this.#codec.decompress(data, encodedBytes) : data;
    try {
      decodeBlock(this.#core, bytes, this.#batch);
      return sumEvents(this.#core, this.#batch);
    } catch (cause) {
      // It may have broken off in the middle of anything.
      this.#renew();
      throw cause;
    }
  }

  #renew(): void {
    this.#core = instantiateCore();
    this.#batch = newBatch(this.#core);
  }
}
